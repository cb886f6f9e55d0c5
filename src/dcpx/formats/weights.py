"""What every source of weights is to a conversion: names, dtypes and shapes, and parts of tensors to read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import torch

from ..errors import DcpxError, LoadError, Where
from .nesting import Path, check_places

__all__ = ["PART", "Cast", "Entry", "Names", "Source", "chosen", "new_paths", "parts_of", "read_ahead", "room_for"]

PART = 64 << 20
"""Bytes of tensors that are held at once on their way from one format to another."""

Names: TypeAlias = Mapping[str, str] | Callable[[str], "str | None"]
"""New names for old ones. A table leaves what isn't in it as it is; a function may return None to leave a tensor
out."""


class Entry(NamedTuple):
    """A tensor of a source; `nbytes` of its elements."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    nbytes: int

    def cast(self, dtype: torch.dtype | None) -> Entry:
        """As it is stored if what is floating point is cast to `dtype`; the same with None."""
        if dtype is None or not self.dtype.is_floating_point:
            return self
        return self._replace(dtype=dtype, nbytes=self.nbytes // self.dtype.itemsize * dtype.itemsize)


class Cast:
    """What is floating point as `dtype`, and everything else as it is; nothing is cast with None. `overflowed` are the
    names of tensors of which finite elements became infinite."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.dtype = dtype
        self.overflowed: dict[str, None] = {}

    def entry(self, entry: Entry) -> Entry:
        """The entry as it will be stored."""
        return entry.cast(self.dtype)

    def of(self, name: str, part: torch.Tensor) -> torch.Tensor:
        """A part of the tensor of this name."""
        if self.dtype is None or not part.is_floating_point() or part.dtype == self.dtype:
            return part
        cast = part.to(self.dtype)
        if torch.finfo(self.dtype).max < torch.finfo(part.dtype).max:
            lost = (~cast.to(torch.float32).isfinite()).sum() > (~part.isfinite()).sum()
            if lost:
                self.overflowed[name] = None
        return cast


class Source(ABC):
    """Where weights come from. A context manager, at whose end its files are closed."""

    place: str
    """Where it lies, for an error."""

    entries: dict[str, Entry]
    """Its tensors by their names, in the order in which they are best read."""

    objects: dict[str, Any]
    """What is in it beside tensors, by its name; such as the format can hold."""

    paths: dict[str, Path]
    """Where in a nested state a name stands, of those for which it is known."""

    empty: list[Path]
    """Where in a nested state there is an empty dictionary, as far as that is known."""

    refused: dict[str, DcpxError]
    """What is in it that can't be read, and why: an error only for whoever wants it."""

    note: dict[str, str]
    """What a format keeps beside the tensors, as text."""

    @property
    def user(self) -> dict[str, Any] | None:
        """What a checkpoint of it keeps as what the user said."""
        return {"safetensors": self.note} if self.note else None

    @abstractmethod
    def read(self, wanted: list[tuple[str, int, int]]) -> list[torch.Tensor]:
        """Rows of tensors, each given by name, first row and number of rows: contiguous tensors of the stored dtype.
        A tensor without dimensions has one row. Raises LoadError, CorruptError or another DcpxError."""

    def rows(self, wanted: list[tuple[str, int, int]]) -> list[Entry]:
        """The same as entries of so many rows."""
        found = []
        for name, _, count in wanted:
            entry = self.entries[name]
            if entry.shape:
                stride = entry.nbytes // entry.shape[0] if entry.shape[0] else 0
                entry = entry._replace(shape=(count, *entry.shape[1:]), nbytes=stride * count)
            found.append(entry)
        return found

    @property
    def steps(self) -> bool:
        """Whether a few rows of a tensor can be read for less than all of it."""
        return True

    def close(self) -> None:  # noqa: B027 (most have nothing open)
        """Close what is open."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def parts_of(source: Source, names: list[str]) -> Iterator[list[tuple[str, int, int]]]:
    """All rows of these tensors in lists of about PART bytes, in order; one row is never parted."""
    part: list[tuple[str, int, int]] = []
    size = 0
    for name in names:
        entry = source.entries[name]
        rows = entry.shape[0] if entry.shape else 1
        if entry.nbytes <= PART or not source.steps or rows == 0:
            pieces = [(0, rows)]
        else:
            step = max(PART // max(entry.nbytes // rows, 1), 1)
            pieces = [(row, min(step, rows - row)) for row in range(0, rows, step)]
        for row, count in pieces:
            nbytes = entry.nbytes * count // rows if rows else 0
            if part and size + nbytes > PART:
                yield part
                part, size = [], 0
            part.append((name, row, count))
            size += nbytes
    if part:
        yield part


_ALIGNMENT = 64
"""Bytes: where a tensor may begin."""


def room_for(entries: list[Entry]) -> list[torch.Tensor]:
    """Empty contiguous tensors. They lie in one piece of memory, which goes back to the system with the last of them:
    pieces of their own sizes would leave the heap in holes."""
    sizes = [-(-entry.nbytes // _ALIGNMENT) * _ALIGNMENT for entry in entries]
    memory = torch.empty(sum(sizes), dtype=torch.uint8)
    return [
        part[: entry.nbytes].view(entry.dtype).view(entry.shape)
        for part, entry in zip(memory.split(sizes), entries, strict=True)
    ]


def read_ahead(source: Source, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """The same parts as tensors, each with its name. The next ones are read while these are worked on."""
    with ThreadPoolExecutor(1, "dcpx-read") as reader:
        coming: list[tuple[list[tuple[str, int, int]], Future[list[torch.Tensor]]]] = []
        for part in parts_of(source, names):
            coming.append((part, reader.submit(source.read, part)))
            if len(coming) > 1:
                yield from _named(*coming.pop(0))
        for part, found in coming:
            yield from _named(part, found)


def _named(part: list[tuple[str, int, int]], found: Future[list[torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    for (name, _, _), tensor in zip(part, found.result(), strict=True):
        yield name, tensor


def chosen(source: Source, names: Names | None) -> dict[str, str]:
    """The new names of the tensors that are wanted, by their old ones. LoadError where two get one name, or a table
    names a tensor that isn't there."""
    if isinstance(names, Mapping):
        known = source.entries.keys() | source.objects.keys() | source.refused.keys()
        if absent := sorted(names.keys() - known):
            cause = f"the table of names has {absent[0]!r}, which isn't there (of {len(absent)} such)"
            raise LoadError(cause, Where(source.place), "Correct the table, or leave it out")
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for old in (*source.entries, *source.objects, *source.refused):
        new = _new_name(names, old, source.place)
        if new is None:
            continue
        if old in source.refused:
            raise source.refused[old]
        if new in taken:
            cause = f"{taken[new]!r} and {old!r} both get the name {new!r}"
            raise LoadError(cause, Where(source.place, new), "Give them names of their own")
        taken[new] = old
        found[old] = new
    if not found:
        raise LoadError("there is nothing to convert", Where(source.place), "Choose other names")
    check_places(new_paths(source, found), source.paths, source.place)
    return found


def _new_name(names: Names | None, old: str, place: str) -> str | None:
    try:
        new = names(old) if callable(names) else (names or {}).get(old, old)
    except Exception as error:
        cause = f"names({old!r}) raised {type(error).__name__}: {error}"
        raise LoadError(cause, Where(place, old), "Mend the function") from error
    if new is not None and not isinstance(new, str):
        raise LoadError(f"it gets the name {new!r}, which is no text", Where(place, old), "Give it text, or None")
    return new


def new_paths(source: Source, names: Mapping[str, str]) -> dict[str, Path]:
    """Where in a nested state each new name stands: who keeps its name keeps its place."""
    return {new: source.paths.get(old, (new,)) if new == old else (new,) for old, new in names.items()}
