"""`extract`: a tensor of a checkpoint, or a slice of it, as NumPy holds it."""

from __future__ import annotations

import html
import json
import os
import struct
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import EllipsisType
from typing import IO, TypeAlias

import numpy as np

from ..catalog.limits import Limits
from ..errors import LoadError, UnsupportedError, Where
from ..store.address import StorageOptions
from ..streams import write_all
from .elements import Elements, StoredTensor
from .numbers import Array, is_numeric, numbers_of
from .opened import open_checkpoint
from .output import new_file
from .shown import visible
from .tables import shape_text

__all__ = ["Extracted", "extract"]

_SAFETENSORS = {
    "bool": "BOOL",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "complex64": "C64",
    **{f"{sign}int{bits}": f"{letter}{bits}" for sign, letter in (("", "I"), ("u", "U")) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
}
"""Its names of dtypes, by torch's."""

Index: TypeAlias = "slice | int | EllipsisType"
Slices: TypeAlias = "tuple[Index, ...]"

_LINE = 4
"""Elements at each end of a dimension that is shown shortened."""


@dataclass(frozen=True)
class Extracted:
    """A tensor, or a slice of one. `held` are its elements in their carrier, bit for bit: of NumPy's own dtype where it
    has torch's `dtype`, else unsigned integers of the same size."""

    name: str
    dtype: str
    held: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.held.shape)

    @property
    def numbers(self) -> Array:
        """What the elements stand for; float32 or complex64 where NumPy lacks the dtype. UnsupportedError for what is
        no number."""
        return numbers_of(self.dtype, self.held)

    def to_text(self) -> str:
        """The numbers as NumPy prints them, long dimensions shortened; integers of their bits where they are none."""
        shown = self.numbers if is_numeric(self.dtype) else self.held
        return np.array2string(shown, threshold=1000, edgeitems=_LINE)

    def write_npy(self, output: IO[bytes]) -> None:
        """Write the numbers in NumPy's format; nothing in it is a pickle."""
        numbers = np.ascontiguousarray(self.numbers).reshape(self.shape)
        header = np.lib.format.header_data_from_array_1_0(numbers)
        np.lib.format.write_array_header_1_0(output, header)
        # Not by NumPy's own writer, which tells of a pipe that was closed, or a full disk, as of something else.
        write_all(output, numbers.reshape(-1).view(np.uint8).data)

    def write_safetensors(self, output: IO[bytes]) -> None:
        """Write the elements, bit for bit, as a safetensors file with this one tensor. UnsupportedError for a dtype
        that the format doesn't have."""
        if self.dtype not in _SAFETENSORS:
            raise UnsupportedError(
                f"safetensors has no torch.{self.dtype}", Where(item=self.name), "Write an .npy file"
            )
        entry = {"dtype": _SAFETENSORS[self.dtype], "shape": self.shape, "data_offsets": [0, self.held.nbytes]}
        header = json.dumps({self.name: entry}).encode()
        header += b" " * (-len(header) % 8)
        output.write(struct.pack("<Q", len(header)) + header)
        write_all(output, np.ascontiguousarray(self.held).reshape(-1).view(np.uint8).data)

    def save(self, path: Path) -> None:
        """Write a new file, `.npy` or `.safetensors`, which is there whole or not at all. ValueError for another
        suffix, UnsupportedError for a dtype that it doesn't have, SaveError where it can't be written."""
        writers = {".npy": self.write_npy, ".safetensors": self.write_safetensors}
        suffix = path.suffix.lower()
        if suffix not in writers:
            raise ValueError(f"{path} must end in {' or '.join(writers)}")
        with new_file(path) as file:
            writers[suffix](file)

    def _repr_html_(self) -> str:
        head = f"{visible(self.name)}: {self.dtype} {shape_text(self.shape)}"
        return f"<pre>{html.escape(head)}\n{html.escape(self.to_text())}</pre>"


def extract(
    path: str | os.PathLike[str],
    name: str,
    where: str | Slices | Index = "",
    *,
    rank: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    storage_options: StorageOptions | None = None,
) -> Extracted:
    """The tensor `name` of the checkpoint at `path`, or the part of it that `where` says, as NumPy has it: integers,
    slices and an ellipsis, or text such as "0:10,:" or "-1". Reads and decodes what it needs, without torch, and
    verifies that. `rank` says whose it is to be where each rank has saved a checkpoint of its own.

    Raises LoadError for a name that isn't there, a slice that the tensor doesn't have, and a tensor of several ranks
    without `rank`; UnsupportedError for an object and a tensor that is more than its elements; ValueError for what is
    no slice; and else as `inspect`.
    """
    index = _index(where)
    opened = open_checkpoint(path, limits=limits, storage_options=storage_options)
    elements = Elements(opened, limits=limits)
    tensor = _chosen(elements, name, rank)
    low, high, rest = _box(tensor, index)
    return Extracted(name, tensor.dtype, np.asarray(elements.box(tensor, low, high)[rest]))


def _chosen(elements: Elements, name: str, rank: int | None) -> StoredTensor:
    opened = elements.opened
    found = [tensor for tensor in elements.tensors() if tensor.name == name]
    if rank is not None:
        found = [tensor for tensor in found if tensor.rank == rank]
    if len(found) == 1:
        return found[0]
    if found:
        ranks = ", ".join(str(tensor.rank) for tensor in found)
        raise LoadError(f"each of the ranks {ranks} has saved its own", Where(opened.path, name), "Say which, by rank")
    stored = {fqn for one in opened.pointers for fqn in one.pointed.metadata.state_dict_metadata}
    if name not in stored:
        nearest = ", ".join(map(repr, get_close_matches(name, stored)))
        raise LoadError(
            f"there is no item {name!r}" + (f"; the nearest are {nearest}" if nearest else ""),
            Where(opened.path),
            "Name one that dcpx.inspect lists",
        )
    if any(name == tensor.name for tensor in elements.tensors()):
        raise LoadError(f"rank {rank} has saved none of its own", Where(opened.path, name), "Name another rank")
    raise UnsupportedError("it is an object, not a tensor", Where(opened.path, name), "Load it with dcpx.load")


def _index(where: object) -> Slices:
    """Integers, slices and at most one ellipsis; ValueError for anything else."""
    found = _parsed(where) if isinstance(where, str) else where if isinstance(where, tuple) else (where,)
    for one in found:
        edges = (one.start, one.stop, one.step) if isinstance(one, slice) else (one,)
        if any(not isinstance(edge, int | EllipsisType | None) or isinstance(edge, bool) for edge in edges):
            raise ValueError(f"{where!r} is no slice: it must be of integers, slices of them, and an ellipsis")
        if isinstance(one, slice) and one.step == 0:
            raise ValueError("a slice's step can't be 0")
    if None in found or found.count(...) > 1:
        raise ValueError(f"{where!r} is no slice: it may have one ellipsis, and no None")
    return found


def _parsed(text: str) -> Slices:
    """What stands between the brackets in NumPy."""
    found: list[Index] = []
    for part in text.split(",") if text.strip() else []:
        edges = part.strip().split(":")
        try:
            numbers = [int(edge) if edge.strip() else None for edge in edges] if edges != ["..."] else []
        except ValueError:
            numbers = [None]
        if not numbers:
            found.append(...)
        elif len(numbers) == 1 and numbers[0] is not None:
            found.append(numbers[0])
        elif 2 <= len(numbers) <= 3:
            found.append(slice(*numbers))
        else:
            raise ValueError(f"{text!r} is no slice: it must be such as '0:10,:' or '-1'")
    return tuple(found)


def _box(tensor: StoredTensor, where: Slices) -> tuple[list[int], list[int], tuple[slice | int, ...]]:
    """Where the slices begin and end in each dimension, and what of that is to be taken, as an index."""
    given = len(where) - where.count(...)
    if given > len(tensor.shape):
        cause = f"{given} slices were given of a tensor with {len(tensor.shape)} dimensions, {tensor.shape}"
        raise LoadError(cause, Where(item=tensor.name), "Give at most one for each")
    filled = (slice(None),) * (len(tensor.shape) - given)
    at = where.index(...) if ... in where else len(where)
    low, high = [], []
    rest: list[slice | int] = []
    for axis, one in enumerate((*where[:at], *filled, *where[at + 1 :])):
        size = tensor.shape[axis]
        if isinstance(one, slice):
            taken = range(size)[one]
            first, last = (min(taken[0], taken[-1]), max(taken[0], taken[-1])) if taken else (0, -1)
            low.append(first)
            high.append(last + 1)
            rest.append(slice(None, None, taken.step))
        elif isinstance(one, int) and -size <= one < size:
            low.append(one % size)
            high.append(one % size + 1)
            rest.append(0)
        else:
            cause = f"index {one} is outside dimension {axis}, which has {size}"
            raise LoadError(cause, Where(item=tensor.name), "Give one that is within")
    return low, high, tuple(rest)
