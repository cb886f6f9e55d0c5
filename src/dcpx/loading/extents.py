"""Extents: which bytes of memory a tensor lies in, and whether two tensors have bytes in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from ..dcp.private import as_plain, has_elements_of_its_own
from ..errors import LoadError

__all__ = ["Extent", "is_strided", "memory_of", "overlaps_itself"]

_GIVE_BACK = (
    "Give it memory before loading: with FSDP1 load what its state_dict() returns, or within summon_full_params; "
    "elsewhere resize the storage"
)

_MOST_SOLUTIONS = 64
_MOST_DIMENSIONS = 8
"""What an exact answer may take; beyond, tensors between whose edges the other lies are taken to overlap."""


class Extent(NamedTuple):
    """The memory of a strided tensor's elements, of `width` bytes each, from address `begin` to before `end`.

    `strides` are in bytes. Of a contiguous one all is said by its edges, and the rest left out.
    """

    begin: int
    end: int
    sizes: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    width: int = 1

    def meets(self, other: Extent) -> bool:
        """Whether both have a byte in common. Of tensors with other strides each, or very many dimensions, that is said
        as soon as one begins before the other ends."""
        if self.end <= other.begin or other.end <= self.begin:
            return False
        if not self.sizes or not other.sizes:
            return True
        if self.width != other.width or len(self.sizes) != len(other.sizes):
            return True
        dimensions = []
        for size, stride, theirs, their_stride in zip(
            self.sizes, self.strides, other.sizes, other.strides, strict=True
        ):
            if size > 1 and theirs > 1 and stride != their_stride:
                return True
            if size > 1 or theirs > 1:
                dimensions.append((stride if size > 1 else their_stride, size, theirs))
        dimensions.sort(reverse=True)
        # An element of each, so many steps apart in every dimension, that lie at one place.
        return len(dimensions) > _MOST_DIMENSIONS or _reaches(other.begin - self.begin, dimensions, self.width)


def _reaches(distance: int, dimensions: list[tuple[int, int, int]], width: int) -> bool:
    """Whether steps of these strides, in each dimension between 1 - its second size and its first size - 1, lead to
    less than `width` from `distance`."""
    if not dimensions:
        return abs(distance) < width
    (stride, size, theirs), *rest = dimensions
    if stride == 0:
        return _reaches(distance, rest, width)
    most = width - 1 + sum(step * (count - 1) for step, count, _ in rest)
    least = 1 - width - sum(step * (count - 1) for step, _, count in rest)
    first = max(-((most - distance) // stride), 1 - theirs)
    last = min((distance - least) // stride, size - 1)
    return last - first >= _MOST_SOLUTIONS or any(
        _reaches(distance - steps * stride, rest, width) for steps in range(first, last + 1)
    )


def is_strided(tensor: torch.Tensor) -> bool:
    """Whether the tensor is torch's own, with elements in its own memory: slices of it are views of the same."""
    return type(tensor) is torch.Tensor and tensor.layout is torch.strided and not tensor.is_quantized


def overlaps_itself(tensor: torch.Tensor) -> bool:
    """Whether elements of a strided tensor may share memory, as those of an expanded one do."""
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.size(), strict=True)):
        if size > 1:
            if stride < reach:
                return True
            reach += stride * (size - 1)
    return False


def memory_of(tensor: torch.Tensor) -> list[tuple[torch.UntypedStorage, Extent]]:
    """What is written when the tensor is: its storage, or those of the tensors that a subclass consists of, as far as
    it tells, and where in memory.

    Raises LoadError where that memory isn't there, because it was freed or never was.
    """
    if not is_strided(tensor):
        if has_elements_of_its_own(tensor):
            return memory_of(as_plain(tensor))
        return [pair for part in _parts(tensor) for pair in memory_of(part)]
    width = tensor.itemsize
    contiguous = tensor.is_contiguous()
    strides: tuple[int, ...] = () if contiguous else tuple([stride * width for stride in tensor.stride()])
    length = tensor.nbytes
    if length == 0:
        return []
    if not contiguous:
        length = width + sum([(size - 1) * stride for size, stride in zip(tensor.size(), strides, strict=True)])
    storage = tensor.untyped_storage()
    room = storage.nbytes()
    if room != length or not contiguous:
        room -= int(tensor.storage_offset()) * width
    if room < length:
        cause = f"the target's memory was freed: of the {length} bytes that it shows, {max(room, 0)} are there"
        raise LoadError(cause, None, _GIVE_BACK)
    begin = tensor.data_ptr()
    if not begin:
        raise LoadError("the target has no memory, as on the device meta", None, "Make it with to_empty(device=...)")
    if contiguous:
        return [(storage, Extent(begin, begin + length))]
    return [(storage, Extent(begin, begin + length, tuple(tensor.size()), strides, width))]


def _parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensors that a subclass says it consists of."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        names, _ = flatten()
        for name in names:
            part = getattr(tensor, name)
            if isinstance(part, torch.Tensor) and part is not tensor:
                yield part
