"""The elements of a checkpoint's tensors as NumPy arrays, read without torch, verified, and a piece at a time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, TypeVar, cast

import numpy as np

from .. import kernels
from ..catalog.containers import open_item, read_up_to
from ..catalog.frames import HEAD, checked_hint, frame_map, holds_own_container, whole_elements
from ..catalog.items import StoredItem
from ..catalog.limits import Limits
from ..catalog.plain import TensorStorageMetadata
from ..errors import CorruptError, Where
from ..frame import TensorHint
from ..frame.map import FrameMap
from ..located import extension_errors, reading
from ..pickles.constants import ITEM_SIZES
from ..pickles.containers import locate_elements
from ..registry import ExtensionRegistry, default_registry
from ..store.source import FileSource
from .numbers import Array, carrier_of
from .opened import Opened, Pointer

__all__ = ["PIECE", "Elements", "Piece", "StoredTensor", "frame_in", "in_jobs", "pieces_of"]

PIECE = 4 << 20
"""Bytes of elements that are read and worked on at once."""

_JOB_PIECES = 256
"""Pieces of one job, however small they are."""

T = TypeVar("T")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a checkpoint and the parts in which it is stored. `rank` is that whose own checkpoint it is in."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parts: list[StoredItem]
    rank: int | None = None

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * ITEM_SIZES[self.dtype]

    @property
    def is_whole(self) -> bool:
        """Whether its parts, which don't overlap, leave no gaps."""
        return sum(math.prod(part.shape or ()) for part in self.parts) == self.numel


class Piece(NamedTuple):
    """Elements `begin` to before `end`, in C order, of a stored part."""

    part: StoredItem
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Bytes of these elements."""
        return (self.end - self.begin) * ITEM_SIZES[str(self.part.dtype)]


class _Direct(NamedTuple):
    """A frame whose elements are found by its hint."""

    frame: FrameMap
    hint: TensorHint


@dataclass
class Elements:
    """Reads the elements of one checkpoint's tensors; any number of threads may at once.

    What dcpx packed is read chunk by chunk. An item of stock DCP's or behind another extension is unfolded as a whole,
    and the last one of each thread is kept.
    """

    opened: Opened
    registry: ExtensionRegistry = field(default_factory=default_registry)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._kept = threading.local()

    def tensors(self) -> list[StoredTensor]:
        """All tensors, as the metadata has them."""
        return [tensor for pointer in self.opened.pointers for tensor in _tensors(pointer)]

    def pieces(self, tensor: StoredTensor) -> Iterator[Piece]:
        """All elements that are stored of it, in pieces of at most PIECE bytes; a part that must be unfolded as a whole
        is one piece."""
        for part in tensor.parts:
            yield from pieces_of(part)

    def read(self, piece: Piece) -> Array:
        """A piece's elements in their carrier, one dimension. CorruptError or another DcpxError, which names the item.

        UnsupportedError for a tensor that is more than its elements, such as a quantized one.
        """
        part = piece.part
        with closing(FileSource(self.opened.store, part.info.relative_path)) as source:
            with reading(source.name, part.name):
                direct = self._direct(source, part) if part.is_packed else None
                if direct is not None:
                    return _decoded(source, part, direct, piece.begin, piece.end)
                return self._whole(source, part)[piece.begin : piece.end]

    def box(self, tensor: StoredTensor, low: Sequence[int], high: Sequence[int]) -> Array:
        """The elements from `low` to before `high`, each with an index for each dimension, in their carrier.
        CorruptError where a part of them isn't stored, and as `read`."""
        shape = tuple(end - begin for begin, end in zip(low, high, strict=True))
        found = np.empty(shape, carrier_of(tensor.dtype))
        filled = 0
        for part in tensor.parts:
            begins = tuple(part.index.offset or (0,) * len(shape))
            sizes = part.shape or ()
            first = tuple(map(max, low, begins))
            last = tuple(min(end, begin + size) for end, begin, size in zip(high, begins, sizes, strict=True))
            if all(a < b for a, b in zip(first, last, strict=True)):
                where: Any = (*_slices(first, last, low), ...)
                target = found[where]
                inner = _slices(first, last, begins)
                self._fill(target, part, inner)
                filled += target.size
        if filled != found.size:
            cause = f"{found.size - filled} of the {found.size} elements aren't stored"
            raise CorruptError(cause, Where(item=tensor.name))
        return found

    def _fill(self, target: Array, part: StoredItem, inner: list[slice]) -> None:
        """Copy the elements that lie within `inner` of a part, rows of its first dimension that has several at once."""
        sizes = part.shape or ()
        strides = [math.prod(sizes[dimension + 1 :]) for dimension in range(len(sizes))]
        along = next((d for d, one in enumerate(inner) if one.stop - one.start > 1), len(sizes) - 1)
        if along < 0:  # without dimensions
            target[...] = self.read(Piece(part, 0, 1))[0]
            return
        base = sum(one.start * stride for one, stride in zip(inner[:along], strides, strict=False))
        row, rest = strides[along], (slice(None), *inner[along + 1 :])
        step = max(PIECE // max(row * target.itemsize, 1), 1) if part.is_packed else max(sizes[along], 1)
        rows = target.reshape(target.shape[along:])  # a view: the dimensions before have one index each
        for begin in range(inner[along].start, inner[along].stop, step):
            end = min(begin + step, inner[along].stop)
            read = self.read(Piece(part, base + begin * row, base + end * row))
            block = read.reshape(end - begin, *sizes[along + 1 :])[rest]
            rows[begin - inner[along].start : end - inner[along].start] = block

    def _direct(self, source: FileSource, part: StoredItem) -> _Direct | None:
        """The frame's map, if its elements can be read past the container; the last one of each thread is kept."""
        kept = getattr(self._kept, "direct", None)
        if kept is not None and kept[0] is part:
            return cast("_Direct | None", kept[1])
        frame = frame_in(source, part)
        hint = checked_hint(part, frame)
        direct = _Direct(frame, hint) if hint is not None and _is_own(source, part, frame, hint) else None
        self._kept.direct = part, direct
        return direct

    def _whole(self, source: FileSource, part: StoredItem) -> Array:
        """All elements of a part that is no frame of dcpx's own, one dimension, in C order."""
        kept = getattr(self._kept, "whole", None)
        if kept is not None and kept[0] is part:
            return cast(Array, kept[1])
        self._kept.whole = None
        stored = source.part(part.info.offset, part.info.length)
        part.check_stored(stored)
        most = self.limits.most_bytes(part)
        with extension_errors():
            content = read_up_to(open_item(stored, part, self.registry, most), most)
        located = locate_elements(cast(IO[bytes], content), part.check_tensor)
        assert part.dtype is not None
        assert part.shape is not None
        carrier = carrier_of(part.dtype)
        strides = tuple(step * carrier.itemsize for step in located.stride)
        held = np.ndarray(part.shape, carrier, content.getbuffer(), located.begin, strides)
        found = np.ascontiguousarray(held).reshape(-1)
        self._kept.whole = part, found
        return found


def pieces_of(part: StoredItem) -> Iterator[Piece]:
    """As `Elements.pieces`, of one part of a tensor."""
    count = math.prod(part.shape or ())
    step = max(PIECE // ITEM_SIZES[str(part.dtype)], 1) if part.is_packed else max(count, 1)
    for begin in range(0, count, step):
        yield Piece(part, begin, min(begin + step, count))


def frame_in(source: FileSource, part: StoredItem) -> FrameMap:
    """The map of a packed item, which must be the one that was asked for."""
    begin, size = part.info.offset, part.info.length

    def read_at(offset: int, count: int) -> bytes:
        return source.read(begin + offset, count)

    return frame_map(part, read_at(0, min(HEAD, size)), read_at, size)


def in_jobs(pieces: Iterable[T], nbytes: Callable[[T], int]) -> Iterator[list[T]]:
    """The pieces in lists, each of about PIECE bytes: many small ones are worth one job of a crew."""
    job: list[T] = []
    size = 0
    for piece in pieces:
        job.append(piece)
        size += nbytes(piece)
        if size >= PIECE or len(job) == _JOB_PIECES:
            yield job
            job, size = [], 0
    if job:
        yield job


def _slices(first: Sequence[int], last: Sequence[int], origin: Sequence[int]) -> list[slice]:
    return [slice(a - o, b - o) for a, b, o in zip(first, last, origin, strict=True)]


def _tensors(pointer: Pointer) -> Iterator[StoredTensor]:
    parts: dict[str, list[StoredItem]] = {}
    for item in pointer.items:
        parts.setdefault(item.index.fqn, []).append(item)
    for name, one in pointer.pointed.metadata.state_dict_metadata.items():
        if isinstance(one, TensorStorageMetadata):
            yield StoredTensor(name, str(one.properties.dtype), tuple(one.size), parts.get(name, []), pointer.rank)


def _is_own(source: FileSource, part: StoredItem, frame: FrameMap, hint: TensorHint) -> bool:
    """Whether the container around the elements is dcpx's own, so that the hint says where they are."""

    def record(number: int) -> memoryview:
        offset, size = frame.record(number)
        return memoryview(source.read(part.info.offset + offset, size))

    if frame.count == 1:
        return whole_elements(frame, hint, record) is not None
    return holds_own_container(frame, hint, record)


def _decoded(source: FileSource, part: StoredItem, direct: _Direct, begin: int, end: int) -> Array:
    frame, hint = direct
    carrier = carrier_of(hint.dtype)
    first, last = (hint.payload_offset + edge * carrier.itemsize for edge in (begin, end))
    numbers = frame.covering(first, last)
    if not numbers:
        return np.empty(0, carrier)
    start = frame.begins[numbers[0]]
    raw = np.empty(frame.begins[numbers[-1] + 1] - start, np.uint8)
    outs = [raw.data[frame.begins[number] - start : frame.begins[number + 1] - start] for number in numbers]
    for undone in _decode_natively(source, part, frame, numbers, outs):  # another codec's, or damaged: this says how
        offset, size = frame.record(numbers[undone])
        record = memoryview(source.read(part.info.offset + offset, size))
        frame.decode(numbers[undone], record, outs[undone])
    return raw[first - start : last - start].view(carrier)


def _decode_natively(
    source: FileSource, part: StoredItem, frame: FrameMap, numbers: range, outs: list[memoryview]
) -> list[int]:
    """Read, decode and verify as many of these adjacent chunks as the kernels can; the others' places in `numbers`."""
    records = [frame.record(number) for number in numbers]
    seals = [(out, number, *frame.seal(number)) for out, number in zip(outs, numbers, strict=True)]
    found = list(zip(records, seals, strict=True))
    if source.reads_chunks:
        return source.read_chunks([(part.info.offset + offset, size, *seal) for (offset, size), seal in found])
    begin, end = records[0][0], sum(records[-1])
    stored = memoryview(source.read(part.info.offset + begin, end - begin))
    return kernels.decode_chunks([(stored[at - begin : at - begin + size], *seal) for (at, size), seal in found])
