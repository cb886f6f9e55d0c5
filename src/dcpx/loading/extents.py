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
"""How long an exact answer is looked for. Beyond, tensors are taken to overlap if their address ranges do."""


class Extent(NamedTuple):
    """The memory of a strided tensor's elements: addresses from `begin` to before `end`.

    `sizes` are those of its dimensions in elements, `strides` in bytes, and `width` the bytes of an element. A
    contiguous tensor has no bytes between its elements: `sizes` and `strides` are empty then.
    """

    begin: int
    end: int
    sizes: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    width: int = 1

    def meets(self, other: Extent) -> bool:
        """Whether both have a byte in common.

        The answer is exact for tensors of the same strides and not very many dimensions. Others are said to meet if
        their address ranges overlap.
        """
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
        # They meet where an element of each lies at the same address: so many steps apart in every dimension.
        return len(dimensions) > _MOST_DIMENSIONS or _reaches(other.begin - self.begin, dimensions, self.width)


def _reaches(distance: int, dimensions: list[tuple[int, int, int]], width: int) -> bool:
    """Whether a sum of steps comes closer than `width` to `distance`, all in bytes.

    Each dimension is (stride, size, theirs): its steps are `stride` long, and there may be from 1 - theirs to size - 1
    of them.
    """
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
    """Whether it is a plain tensor of torch's, whose elements lie in its storage, so that slices of it are views."""
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
    """The memory that is written when the tensor is: its storage and where in memory its elements lie, or those of each
    tensor that a subclass says it consists of.

    LoadError if that memory was freed, or if there never was any.
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
