"""Folders for builds."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pagedex.building.build import build
from pagedex.building.options import Options
from pagedex.building.summary import Summary


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Writes files below a folder, which is returned."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def document(root: Path, out: Path, **options: object) -> Summary:
    """Builds with a cache beside the output."""
    return build(Options(str(root), str(out), cache=out.parent / "cache", **options))  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with the digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
