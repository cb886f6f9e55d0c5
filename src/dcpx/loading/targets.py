"""Targets: the tensors that a load fills."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext

import numpy as np
import torch
from torch.distributed.checkpoint.planner import LoadPlanner, ReadItem

from .. import kernels
from ..catalog.geometry import Box, boxes, intersect, span
from ..dcp.staging import bytes_of, is_plain, on_device
from ..errors import CorruptError, DcpxError, LoadError
from .extents import is_strided, memory_of, overlaps_itself

__all__ = ["Target", "count_as_changed"]


class Target:
    """One request's tensor, and which of the stored item's elements go there.

    They are those within `box`, offsets and sizes in the stored `shape`. The elements from `begin` to before `end`,
    counted in C order of that shape, contain them all. `memory_parts` are the storages that are written to, and where.

    A plain tensor of torch's is filled piece by piece, by any thread (`in_pieces`). Of any other, such as a subclass's,
    nobody knows whether a slice of it is a view, and whether its elements have memory of their own. What goes there is
    put together in a tensor of the stored dtype, and copied as a whole by `commit`, as stock DCP does.

    LoadError if the planner gives no tensor, or one of another shape than it asked for, or without memory. CorruptError
    if the stored tensor has no such part.
    """

    def __init__(self, request: ReadItem, planner: LoadPlanner, shape: torch.Size, dtype: torch.dtype) -> None:
        self.request = request
        self.box = Box(tuple(request.storage_offsets), tuple(request.lengths))
        self.tensor = tensor = _resolved(request, planner)
        self.pending = 0  # jobs that have yet to fill a part of it
        self._bytes: memoryview | None = None
        if tensor.size() != request.lengths:
            raise LoadError(f"the stored tensor gives {tuple(request.lengths)}, the target is {tuple(tensor.size())}")
        self._shape = shape
        self._dtype = dtype
        self.begin = self.end = 0
        self._apart = 1
        self._whole = request.lengths == shape and not any(request.storage_offsets)
        if self._whole:
            self.end = tensor.numel()
        else:
            self._take_part()
        self.memory_parts = memory_of(tensor)
        strided = is_strided(tensor)
        contiguous = strided and tensor.is_contiguous()
        self.in_pieces = contiguous or (strided and not overlaps_itself(tensor))
        self._filled = tensor if self.in_pieces else None
        self.on_device = self.in_pieces and on_device(tensor)  # the host can't write to what is filled
        self._direct = contiguous and tensor.dtype == dtype and not self.on_device and is_plain(tensor)

    def _take_part(self) -> None:
        """Set the range of elements of a target that takes a part. CorruptError if the stored tensor has no such
        part."""
        shape, box = self._shape, self.box
        if len(box.sizes) != len(shape) or any(
            offset < 0 or size < 0 or offset + size > limit
            for offset, size, limit in zip(box.offsets, box.sizes, shape, strict=True)
        ):
            raise CorruptError(f"a part of shape {box.sizes} at {box.offsets} of a tensor {tuple(shape)}")
        if 0 not in box.sizes:
            self.begin, self.end, self._apart = span(shape, box)

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes beside its tensor until it is committed."""
        return 0 if self.in_pieces else math.prod(self.box.sizes) * self._dtype.itemsize

    def prepare(self) -> None:
        """Take the memory that parts are put together in. To be called by one thread before the first `fill`;
        `fill_from` doesn't need it."""
        if self._filled is None:
            self._filled = torch.empty(self.box.sizes, dtype=self._dtype, device="cpu")
            self._direct = is_plain(self._filled)

    @property
    def _memory(self) -> memoryview:
        # No cached_property, whose lock (until Python 3.12) a fork may leave held for ever in the child.
        if self._bytes is None:
            assert self._filled is not None
            self._bytes = bytes_of(self._filled)
        return self._bytes

    @property
    def whole_memory(self) -> memoryview | None:
        """Its own bytes, if it holds all of the stored item's elements as they are stored; else None. To be asked for
        after `prepare`. RuntimeError where its storage has become too small."""
        return self._memory if self._direct and self._whole else None

    def commit(self, planner: LoadPlanner) -> None:
        """Hand the filled tensor back to the planner. LoadError if the tensor can't hold what was loaded, or if the
        planner fails."""
        if self._filled is not None and not self.in_pieces:
            _copy(self._filled, self.tensor)
            self._filled = None
        try:
            planner.commit_tensor(self.request, self.tensor)
        except DcpxError:
            raise
        except Exception as error:
            raise LoadError(f"the planner doesn't take what was loaded: {type(error).__name__}: {error}") from error

    def wants(self, begin: int, end: int) -> bool:
        """Whether any of the stored item's elements from `begin` to before `end` goes to the target."""
        if begin >= self.end or end <= self.begin:
            return False
        if min(end, self.end) - max(begin, self.begin) >= self._apart:
            return True  # of many elements some are its own
        return any(intersect(box, self.box) for box in boxes(self._shape, begin, end))

    def memory(self, begin: int, end: int) -> memoryview | None:
        """The target's own bytes for the stored item's elements from `begin` to before `end`. None unless it wants all
        of them, and holds them as they are stored."""
        if not (self._direct and self._apart == 1) or begin < self.begin or end > self.end:
            return None
        width = self._dtype.itemsize
        return self._memory[(begin - self.begin) * width : (end - self.begin) * width]

    def fill_from(self, stored: torch.Tensor) -> int:
        """Copy what the target wants of `stored`, the whole stored tensor; returns how many bytes that were.

        LoadError if the target can't hold it.
        """
        part = stored if self.box.sizes == tuple(stored.shape) else stored[self.box.slices()]
        if self.in_pieces:
            _copy(part, self.tensor)
        else:
            self._filled = part
        return part.nbytes

    def fill(self, raw: memoryview, begin: int) -> int:
        """Copy what the target wants of `raw`, the bytes of the stored item's elements from `begin` on.

        Returns how many bytes that were. Threads may fill a target side by side, each with other elements. LoadError if
        the target can't hold them.
        """
        width = self._dtype.itemsize
        end = begin + len(raw) // width
        if begin >= self.end or end <= self.begin:
            return 0
        if self._apart == 1:
            first, last = max(begin, self.begin), min(end, self.end)
            memory = self.memory(first, last)
            if memory is not None:
                memory[:] = raw[(first - begin) * width : (last - begin) * width]
                return len(memory)
        elif self._direct:
            return kernels.copy_part(raw, begin * width, self._memory, tuple(self._shape), *self.box, width)
        assert self._filled is not None
        elements = _elements(raw, self._dtype)
        copied = 0
        for box in boxes(self._shape, begin, end):
            count = math.prod(box.sizes)
            common = intersect(box, self.box)
            if common is not None:
                part = elements[:count].view(box.sizes)
                _copy(part[common.slices(box.offsets)], self._filled[common.slices(self.box.offsets)])
                copied += math.prod(common.sizes) * width
            elements = elements[count:]
        return copied


def _resolved(request: ReadItem, planner: LoadPlanner) -> torch.Tensor:
    try:
        return planner.resolve_tensor(request).detach()
    except DcpxError:
        raise
    except Exception as error:
        raise LoadError(f"the planner gives no tensor to fill: {type(error).__name__}: {error}") from error


def count_as_changed(targets: Iterable[Target]) -> None:
    """Tell autograd that the targets have changed, of which it doesn't learn when bytes are written to their memory. A
    `backward` that still needs what they held fails then, rather than compute with what was loaded."""
    torch.autograd.graph.increment_version([target.tensor for target in targets if target.in_pieces])


def _copy(part: torch.Tensor, target: torch.Tensor) -> None:
    try:
        # A tensor made in inference mode takes no copy outside of it, and which mode there is, is a thread's own.
        with torch.inference_mode() if target.is_inference() else nullcontext():
            try:
                target.copy_(part)
            except NotImplementedError:
                if type(target) is not torch.Tensor or target.dtype != part.dtype:
                    raise
                whole = _WHOLE[part.itemsize]  # some of torch's releases can't copy all of its dtypes
                target.view(whole).copy_(part.view(whole))
    except DcpxError:
        raise
    except Exception as error:
        raise LoadError(f"the target can't be filled: {type(error).__name__}: {error}") from error


_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""An integer of each size."""


def _elements(raw: memoryview, dtype: torch.dtype) -> torch.Tensor:
    """Bytes as elements. torch wants them aligned, and writable though it only reads them; others are copied."""
    array = np.frombuffer(raw, np.uint8)
    if array.ctypes.data % dtype.itemsize or not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(array).view(dtype)
