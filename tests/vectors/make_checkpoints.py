"""Writes the golden checkpoints, spec/vectors/checkpoints.tar.gz; run by hand. What is there already stays as it is.

    python tests/vectors/make_checkpoints.py

The archive has a folder for each checkpoint; checkpoints.json says what is in them, or why they are refused. They are
laid out by drafts.py, after spec/, and dcpx judges each of them before it is kept.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fault"))

from bad_checkpoints import BAD_FILES, BAD_MANIFESTS
from bad_pointers import BAD_POINTERS
from checkpoint_vectors import GOOD_CHECKPOINTS
from drafts import Draft
from judged import ARCHIVE, INDEX, judged, loaded, unpacked
from make_vectors import dumped
from xxhash import xxh3_128_hexdigest


def write(files: dict[str, bytes], path: Path) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def described(draft: Draft, path: Path) -> dict[str, Any]:
    """What a good checkpoint holds, as dcpx loads it."""
    shapes = {
        name: torch.empty(item.shape, dtype=getattr(torch, item.dtype)) for name, item in draft.items.items() if item
    }
    entry: dict[str, Any] = {} if draft.pointer == ".metadata" else {"pointer": draft.pointer}
    entry["tensors"] = {
        name: {"dtype": dtype, "shape": shape, "xxh3_128": xxh3_128_hexdigest(data)}
        for name, (dtype, shape, data) in loaded(path, shapes).items()
    }
    return entry | {"objects": [name for name, item in draft.items.items() if item is None]}


def make(folder: Path) -> tuple[dict[str, dict[str, bytes]], dict[str, dict[str, Any]]]:
    """Every checkpoint's files, and its entry in the index."""
    files: dict[str, dict[str, bytes]] = {}
    entries: dict[str, dict[str, Any]] = {}
    for name, (draft, what) in GOOD_CHECKPOINTS.items():
        files[name] = draft.make()
        path = write(files[name], folder / name)
        if errors := judged(path):
            raise SystemExit(f"{name} isn't whole: {errors}")
        entries[name] = {"what": what} | described(draft, path)
    for name, (draft, kind, why) in (BAD_POINTERS | BAD_MANIFESTS | BAD_FILES).items():
        files[name] = draft.make()
        if kind.__name__ not in (errors := judged(write(files[name], folder / name))):
            raise SystemExit(f"{name}: {errors}, not {kind.__name__}")
        entries[name] = {"error": kind.__name__, "why": why}
    return files, entries


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files, entries = make(Path(folder))
    known = json.loads(INDEX.read_text("utf-8")) if INDEX.exists() else {}
    kept = unpacked() if ARCHIVE.exists() else {}
    made = {f"{checkpoint}/{name}": data for checkpoint, of in files.items() for name, data in of.items()}
    changed = [name for name, data in kept.items() if made.get(name) != data]
    changed += [name for name, entry in known.items() if entries.get(name) != entry]
    if changed:
        raise SystemExit(f"frozen: {', '.join(changed)} would be another")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for name in [*kept, *(name for name in made if name not in kept)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(made[name])
            packed.addfile(entry, io.BytesIO(made[name]))
    ARCHIVE.write_bytes(gzip.compress(stream.getvalue(), 9, mtime=0))
    INDEX.write_text(dumped(known | entries), "utf-8")
    print(f"{len(entries) - len(known)} of {len(entries)} checkpoints made, {ARCHIVE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
