"""Files of `torch.save`, as a source of weights and as what weights are saved to."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint._nested_dict import flatten_state_dict, unflatten_state_dict

from ..errors import LoadError, SaveError, UnsupportedError, Where
from .weights import Entry, Source, read_ahead

__all__ = ["TorchSource", "save_torch"]


class TorchSource(Source):
    """A file of `torch.save`, mapped into memory; nothing that it says is run. Names of one memory are tensors of their
    own here."""

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self.note = {}
        try:
            state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except OSError as error:
            raise LoadError(f"{type(error).__name__}: {error}", Where(self.place)) from error
        except Exception as error:
            remedy = "Load it where it was made, and save plain tensors and values"
            cause = f"torch.load doesn't take it with weights_only=True: {str(error)[:300]}"
            raise UnsupportedError(cause, Where(self.place), remedy) from error
        if not isinstance(state, dict):
            raise UnsupportedError(f"it holds a {type(state).__name__}, not a dictionary", Where(self.place))
        flat, mappings = flatten_state_dict(state)
        self.paths = dict(mappings)
        self._tensors = {name: value.detach() for name, value in flat.items() if isinstance(value, torch.Tensor)}
        self.objects = {name: value for name, value in flat.items() if not isinstance(value, torch.Tensor)}
        for name, tensor in self._tensors.items():
            if tensor.layout is not torch.strided or tensor.is_quantized:
                cause = f"it is no plain tensor but {tensor.layout}, {tensor.dtype}"
                raise UnsupportedError(cause, Where(self.place, name), "Leave it out by names=")
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


def save_torch(source: Source, names: dict[str, str], path: Path, seen: Any, cast: torch.dtype | None) -> None:
    """Save what a source has by `torch.save`, nested as it was. The tensors are put together in a file beside `path`,
    not in memory, which is gone afterwards."""
    entries = {old: source.entries[old].cast(cast) for old in names if old in source.entries}
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
            ready = part.to(entries[old].dtype)
            rest[old][: ready.numel()] = ready.view(-1)
            rest[old] = rest[old][ready.numel() :]
            seen(old, ready)
        # A tensor of its own storage each: else every one would be saved with all of the scratch file.
        paths = {new: source.paths.get(old, (new,)) if old == new else (new,) for old, new in names.items()}
        torch.save(unflatten_state_dict({new: _alone(value) for new, value in flat.items()}, paths), path)
    except OSError as error:
        raise SaveError(f"{type(error).__name__}: {error}", Where(str(path))) from error
    finally:
        scratch.unlink(missing_ok=True)


_ALIGNMENT = 64


def _alone(value: Any) -> Any:
    """The tensor on a storage that is just its own bytes, where they lie."""
    if not isinstance(value, torch.Tensor) or value.numel() == 0:
        return value
    return torch.frombuffer(value.view(-1).view(torch.uint8).numpy().data, dtype=value.dtype).view(value.shape)
