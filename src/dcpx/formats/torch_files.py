"""Files of `torch.save`, as a source of weights and as what weights are saved to."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..errors import LoadError, SaveError, UnsupportedError, Where
from ..located import naming
from ..pickles.archive import open_archive
from .nesting import flattened, nested
from .weights import Cast, Entry, Source, new_paths, read_ahead

__all__ = ["TorchSource", "save_torch"]


class TorchSource(Source):
    """A file of `torch.save`, mapped into memory; nothing that it says is run, unless it is `ours`. Names of one memory
    are tensors of their own here."""

    def __init__(self, path: Path, *, ours: bool = False) -> None:
        self.place = str(path)
        self.note = {}
        state = _loaded(path, weights_only=not ours)
        if not isinstance(state, dict):
            cause = f"it holds a {type(state).__name__}, not a dictionary"
            raise UnsupportedError(cause, Where(self.place), "Save a dictionary of it")
        flat = flattened(state, self.place)
        self.paths, self.empty = flat.paths, flat.empty
        self._tensors = {name: value.detach() for name, value in flat.values.items() if isinstance(value, torch.Tensor)}
        self.objects = {name: value for name, value in flat.values.items() if not isinstance(value, torch.Tensor)}
        self.refused = {}
        for name, tensor in list(self._tensors.items()):
            if cause := _why_not(tensor):
                self.refused[name] = UnsupportedError(cause, Where(self.place, name), "Leave it out by names=")
                del self._tensors[name]
        self.entries = {
            name: Entry(name, tensor.dtype, tuple(tensor.shape), tensor.numel() * tensor.element_size())
            for name, tensor in self._tensors.items()
        }

    def read(self, wanted: list[tuple[str, int, int]]) -> list[torch.Tensor]:
        found = []
        for name, row, count in wanted:
            tensor = self._tensors[name]
            part = tensor[row : row + count] if tensor.dim() else tensor
            found.append(part.resolve_conj().resolve_neg().contiguous())
        return found


def _loaded(path: Path, *, weights_only: bool) -> Any:
    where = Where(str(path))
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=weights_only)
    except Exception as error:
        with naming(str(path)), suppress(OSError, UnsupportedError), open(path, "rb") as file:
            open_archive(file)  # which says what is damaged, if the file is
        if isinstance(error, OSError):
            raise LoadError(f"{type(error).__name__}: {error}", where) from error
        cause = f"torch.load doesn't take it with weights_only=True: {type(error).__name__}: {_first_line(error)}"
        raise UnsupportedError(cause, where, "Load it where it was made, and save plain tensors and values") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return "".join(character for character in lines[0] if character.isprintable())[:300]


def _why_not(tensor: torch.Tensor) -> str:
    """Why a tensor can't be converted; empty where it can."""
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_quantized:
        return f"it is no plain tensor but {'nested' if tensor.is_nested else tensor.layout}, {tensor.dtype}"
    if tensor.is_meta:
        return "it has no elements: it is on the device meta"
    needed, held = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if needed > held:
        return f"its elements share their memory: it has {needed} bytes, of which {held} are stored"
    return ""


def save_torch(source: Source, names: dict[str, str], path: Path, seen: Any, cast: Cast) -> None:
    """Save what a source has by `torch.save`, nested as it was. The tensors are put together in a file beside `path`,
    not in memory, which is gone afterwards."""
    entries = {old: cast.entry(source.entries[old]) for old in names if old in source.entries}
    scratch = path.with_name(f".{uuid.uuid4()}.elements")
    try:
        total = sum(-(-entry.nbytes // _ALIGNMENT) * _ALIGNMENT for entry in entries.values())
        with open(scratch, "xb") as file:
            if total:
                os.posix_fallocate(file.fileno(), 0, total)  # a disk without room is told now, not by a signal
        memory = torch.from_file(str(scratch), shared=True, size=total, dtype=torch.uint8) if total else None
        flat: dict[str, Any] = {names[old]: value for old, value in source.objects.items() if old in names}
        begin = 0
        rest: dict[str, torch.Tensor] = {}  # of each tensor, the elements that are yet to come
        for old, entry in entries.items():
            if entry.nbytes == 0 or memory is None:
                flat[names[old]] = torch.empty(entry.shape, dtype=entry.dtype)
            else:
                flat[names[old]] = memory[begin : begin + entry.nbytes].view(entry.dtype).view(entry.shape)
            rest[old] = flat[names[old]].view(-1)
            begin += -(-entry.nbytes // _ALIGNMENT) * _ALIGNMENT
        for old, part in read_ahead(source, list(entries)):
            ready = cast.of(old, part)
            rest[old][: ready.numel()] = ready.view(-1)
            rest[old] = rest[old][ready.numel() :]
            seen(old, ready)
        # A tensor of its own storage each: else every one would be saved with all of the scratch file.
        order = [names[old] for old in {**source.paths, **names} if old in names]  # as it was in the source
        alone = {new: _alone(flat[new]) for new in order}
        paths = new_paths(source, names)
        kept = {path[:end] for path in paths.values() for end in range(len(path))}
        empty = [path for path in source.empty if path[:-1] in kept]
        torch.save(nested(alone, paths, empty), path)
    except OSError as error:
        raise SaveError(f"{type(error).__name__}: {error}", Where(str(path))) from error
    except RuntimeError as error:
        if "inline_container" not in str(error):
            raise
        cause = f"torch.save couldn't write all of it, as where the disk is full: {_first_line(error)}"
        raise SaveError(cause, Where(str(path))) from error
    finally:
        scratch.unlink(missing_ok=True)


_ALIGNMENT = 64


def _alone(value: Any) -> Any:
    """The tensor on a storage that is just its own bytes, where they lie."""
    if not isinstance(value, torch.Tensor) or value.numel() == 0:
        return value
    return torch.frombuffer(value.view(-1).view(torch.uint8).numpy().data, dtype=value.dtype).view(value.shape)
