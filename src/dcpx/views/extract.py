"""`extract`: a tensor of a checkpoint, or a slice of it, as NumPy holds it."""

from __future__ import annotations

import json
import os
import struct
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..catalog.limits import Limits
from ..errors import LoadError, UnsupportedError, Where
from ..store.address import StorageOptions
from .elements import Elements, StoredTensor
from .numbers import Array, is_numeric, numbers_of
from .opened import open_checkpoint
from .selection import matching

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
        np.lib.format.write_array(output, np.asarray(self.numbers), allow_pickle=False)

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
        output.write(np.ascontiguousarray(self.held).reshape(-1).view(np.uint8).data)

    def save(self, path: Path) -> None:
        """Write a new file, `.npy` or `.safetensors`, which is there whole or not at all. ValueError for another
        suffix, OSError where it can't be written."""
        writers = {".npy": self.write_npy, ".safetensors": self.write_safetensors}
        if path.suffix not in writers:
            raise ValueError(f"{path} must end in {' or '.join(writers)}")
        if path.suffix == ".npy":
            _ = self.numbers  # what can't be written is refused before there is a file
        temporary = path.with_name(f".{uuid.uuid4()}{path.suffix}")
        try:
            with temporary.open("xb") as file:
                writers[path.suffix](file)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def extract(
    path: str | os.PathLike[str],
    name: str,
    where: str | tuple[slice | int, ...] = "",
    *,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    storage_options: StorageOptions | None = None,
) -> Extracted:
    """The tensor `name` of the checkpoint at `path`, or the part of it that `where` says: text such as "0:10,:" or
    "-1", or a tuple of slices of step 1 and integers. Reads and decodes what it needs, without torch, and verifies
    that.

    Raises LoadError for a name that isn't there or a slice that the tensor doesn't have, UnsupportedError for an object
    and a tensor that is more than its elements, and else as `inspect`.
    """
    opened = open_checkpoint(path, limits=limits, storage_options=storage_options)
    elements = Elements(opened, limits=limits)
    tensors = {tensor.name: tensor for tensor in elements.tensors()}
    if name not in tensors:
        objects = {fqn for one in opened.pointers for fqn in one.pointed.metadata.state_dict_metadata}
        if name in objects:
            raise UnsupportedError("it is an object, not a tensor", Where(opened.path, name), "Load it with dcpx.load")
        matching([*tensors, *objects], name.replace("[", "[[]"), opened.path)
    tensor = tensors[name]
    low, high, dropped = _box(tensor, _parsed(where) if isinstance(where, str) else where)
    found = elements.box(tensor, low, high)
    kept = tuple(size for axis, size in enumerate(found.shape) if axis not in dropped)
    return Extracted(name, tensor.dtype, found.reshape(kept))


def _parsed(text: str) -> tuple[slice | int, ...]:
    """What stands between the brackets in NumPy: integers and slices of step 1. ValueError for anything else."""
    found: list[slice | int] = []
    for part in text.split(",") if text.strip() else []:
        edges = part.strip().split(":")
        try:
            numbers = [int(edge) if edge.strip() else None for edge in edges]
        except ValueError:
            numbers = []
        if len(numbers) == 1 and numbers[0] is not None:
            found.append(numbers[0])
        elif len(numbers) == 2:
            found.append(slice(*numbers))
        else:
            raise ValueError(f"{text!r} is no slice: it must be such as '0:10,:' or '-1'")
    return tuple(found)


def _box(tensor: StoredTensor, where: Sequence[slice | int]) -> tuple[list[int], list[int], set[int]]:
    """Where the slices begin and end in each dimension, and which dimensions an integer takes away."""
    if len(where) > len(tensor.shape):
        cause = f"{len(where)} slices were given of a tensor with {len(tensor.shape)} dimensions, {tensor.shape}"
        raise LoadError(cause, Where(item=tensor.name), "Give at most one for each")
    low, high, dropped = [0] * len(tensor.shape), list(tensor.shape), set()
    for axis, one in enumerate(where):
        size = tensor.shape[axis]
        if isinstance(one, slice):
            low[axis], end, step = one.indices(size)
            if step != 1:
                raise ValueError("a slice's step must be 1")
            high[axis] = max(end, low[axis])
        elif -size <= one < size:
            low[axis] = one % size
            high[axis] = low[axis] + 1
            dropped.add(axis)
        else:
            cause = f"index {one} is outside dimension {axis}, which has {size}"
            raise LoadError(cause, Where(item=tensor.name), "Give one that is within")
    return low, high, dropped
