"""The golden checkpoints in their archive, and what dcpx makes of one: what it loads, and what it finds wrong."""

from __future__ import annotations

import tarfile
from pathlib import Path

import torch

import dcpx
from dcpx import DcpxError, ExtensionError, UnsupportedError

__all__ = ["ARCHIVE", "INDEX", "bytes_of", "judged", "kinds", "loaded", "unpacked"]

VECTORS = Path(__file__).resolve().parents[2] / "spec" / "vectors"
ARCHIVE, INDEX = VECTORS / "checkpoints.tar.gz", VECTORS / "checkpoints.json"

KINDS = (dcpx.TruncatedError, dcpx.CorruptError, UnsupportedError, dcpx.LimitError)


def unpacked() -> dict[str, bytes]:
    """All files of the archive, by the checkpoint's name, a slash, and their own."""
    with tarfile.open(ARCHIVE) as packed:
        opened = ((entry.name, packed.extractfile(entry)) for entry in packed)
        return {name: file.read() for name, file in opened if file is not None}


def kinds(error: DcpxError) -> list[str]:
    """The names of the kinds, in the words of spec/format.md, that an error is of: truncation is corruption, too."""
    if isinstance(error, ExtensionError):
        return ["UnsupportedError"]
    return [kind.__name__ for kind in KINDS if isinstance(error, kind)]


def judged(path: Path) -> list[str]:
    """The kinds of all that `verify` finds wrong."""
    report = dcpx.verify(path)
    return [kind for problem in [*report.problems, *report.refusals] for kind in kinds(problem.error)]


def loaded(path: Path, targets: dict[str, torch.Tensor]) -> dict[str, tuple[str, list[int], bytes]]:
    """The dtype, the shape and the bytes of the elements of each tensor that is loaded into these."""
    dcpx.load(dict(targets), path, rank_local=not (path / ".metadata").exists())
    return {
        name: (str(target.dtype).removeprefix("torch."), [*target.shape], bytes_of(target))
        for name, target in targets.items()
    }


def bytes_of(tensor: torch.Tensor) -> bytes:
    """A tensor's elements in C order."""
    whole = tensor.resolve_conj().resolve_neg().contiguous().flatten()
    return whole.view(torch.uint8).numpy().tobytes() if len(whole) else b""
