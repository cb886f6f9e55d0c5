"""What the direct path must know of a frame before it reads a tensor's elements out of it, past the container."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from .. import kernels
from ..codecs import CODECS
from ..codecs.container import AFTER, BEFORE, WHOLE, Container, Template, container
from ..codecs.dtypes import CODES, ITEM_SIZES
from ..errors import CorruptError
from ..frame import Header, ItemKey, TensorHint, check_codecs
from ..frame.chunks import KnownChunk
from ..frame.layout import PREFIX_SIZE, content_hash, header_size, pack_hint, pack_key, parse_header
from ..frame.map import FrameMap, codec_bits, read_final
from .items import StoredItem

__all__ = [
    "HEAD",
    "KNOWN_CODECS",
    "MOST_CHUNKS",
    "OWN_ELEMENTS",
    "OwnContainer",
    "checked_hint",
    "chunk_elements",
    "expected",
    "frame_form",
    "frame_map",
    "holds_own_container",
    "needed_chunks",
    "own_container",
    "runs",
    "whole_elements",
]


class Part(Protocol):
    """What is wanted of a tensor: elements from `begin` to before `end`, in C order, and not all of them."""

    @property
    def begin(self) -> int: ...

    @property
    def end(self) -> int: ...

    def wants(self, begin: int, end: int) -> bool:
        """Whether any of these elements is wanted."""
        ...


HEAD = 4 << 10
"""Bytes read at an item's beginning in the hope that they hold its header."""

MOST_CHUNKS = 512
"""Chunks of a job: each takes memory of its own, however small it is."""

OWN_ELEMENTS = 4 << 10
"""Bytes from which a tensor's elements have chunks of their own; those of a smaller one share the container's."""


KNOWN_CODECS = codec_bits(tuple(CODECS))


def expected(item: StoredItem) -> tuple[bytes, kernels.FrameForm, int | None] | None:
    """What `kernels.unpack_frames` holds a tensor's frame against: its key, its form, and its header's hash, if that is
    known. None for a tensor that no frame's header describes."""
    if item.shape is None or item.dtype is None or item.together:  # which of them the frame names, its header says
        return None
    try:
        found = frame_form(item.dtype, tuple(item.shape))
        key = pack_key(ItemKey(item.index.fqn, None if item.index.offset is None else tuple(item.index.offset)))
    except ValueError:
        return None
    seal = item.seal
    return key, found, int(seal.value, 16) if seal is not None and seal.kind == "header" else None


@lru_cache(4096)
def frame_form(dtype: str, shape: tuple[int, ...]) -> kernels.FrameForm:
    """What the kernels must know of the frames of all such tensors. ValueError where no header can describe them."""
    if dtype not in CODES:
        raise ValueError(f"no frame's header names {dtype}")
    own = own_container(dtype, shape)
    template = own.template
    return kernels.FrameForm(
        pack_hint(own.hint), template.arguments, template.before, template.after, template.nbytes, ITEM_SIZES[dtype]
    )


def frame_map(item: StoredItem, head: bytes, read_at: Callable[[int, int], bytes], size: int) -> FrameMap:
    """The map of an item's frame, once it's certain that it is the one asked for and no larger than it may be."""
    length = header_size(head[:PREFIX_SIZE])
    header: Header = parse_header(head[:length] if length <= len(head) else read_at(0, min(length, size)))
    check_codecs(header)
    item.check_identity(header)
    frame = FrameMap(header, read_final(read_at, header, size))
    if 0 <= item.most_bytes < frame.total:
        raise CorruptError(f"the item holds {frame.total} bytes, more than its shape needs")
    return frame


def checked_hint(item: StoredItem, frame: FrameMap) -> TensorHint | None:
    """The frame's hint, if it has one that the direct path can follow. CorruptError if it contradicts the metadata."""
    hint = frame.header.hint
    if hint is None:
        return None
    if hint.dtype != item.dtype or hint.shape != tuple(item.shape or ()):
        described = f"torch.{item.dtype} {tuple(item.shape or ())}"
        raise CorruptError(f"the frame holds a tensor {hint.dtype} {hint.shape}, the metadata says {described}")
    if hint.payload_offset + hint.nbytes > frame.total:
        raise CorruptError(f"the frame says that a tensor of {hint.nbytes} bytes begins at {hint.payload_offset}")
    width = ITEM_SIZES[hint.dtype]
    if any((begin - hint.payload_offset) % width for begin in frame.begins[1:-1]):
        return None  # another writer's chunks, some of which end within an element
    return hint


class OwnContainer(NamedTuple):
    """A tensor's container as dcpx writes it: as two chunks around those of its elements, or as one."""

    template: Template
    hint: TensorHint
    before: KnownChunk
    after: KnownChunk

    def whole(self, elements: memoryview) -> KnownChunk:
        """The container and its elements as one chunk."""
        template = self.template
        content = content_hash(memoryview(b"".join((template.before, elements, template.after))))
        return KnownChunk(Container.id, WHOLE, template.arguments + elements, template.size, content)


@lru_cache(4096)
def own_container(dtype: str, shape: tuple[int, ...]) -> OwnContainer:
    """The container of a tensor; `dtype` is torch's name."""
    template = container(dtype, shape)

    def part(parameter: int, raw: bytes) -> KnownChunk:
        return KnownChunk(Container.id, parameter, template.arguments, len(raw), content_hash(memoryview(raw)))

    hint = TensorHint(dtype, shape, len(template.before))
    return OwnContainer(template, hint, part(BEFORE, template.before), part(AFTER, template.after))


def holds_own_container(frame: FrameMap, hint: TensorHint, record: Callable[[int], bytes | memoryview]) -> bool:
    """Whether the first chunk and the last are those that dcpx writes around a tensor such as the hint's, so that all
    between them are its elements. What `kernels.unpack_frames` finds is the same."""
    own = own_container(hint.dtype, hint.shape)
    last = frame.count - 1
    return (
        last >= 1
        and Container.id in frame.header.codecs
        and hint.payload_offset == own.before.raw_size == frame.begins[1]
        and frame.begins[last] == hint.payload_offset + hint.nbytes
        and frame.index[0] == own.before.entry
        and frame.index[last] == own.after.entry
        and record(0) == own.before.record(0, frame.header)
        and record(last) == own.after.record(last, frame.header)
    )


def whole_elements(frame: FrameMap, hint: TensorHint, record: Callable[[int], memoryview]) -> memoryview | None:
    """The elements of a tensor that shares its only chunk with dcpx's own container, verified; None if it doesn't."""
    own = own_container(hint.dtype, hint.shape)
    if Container.id not in frame.header.codecs:
        return None
    if frame.count != 1 or frame.total != own.template.size or hint.payload_offset != own.before.raw_size:
        return None
    stored = record(0)
    elements = stored[len(stored) - hint.nbytes :]
    whole = own.whole(elements)
    return elements if frame.index[0] == whole.entry and stored == whole.record(0, frame.header) else None


def needed_chunks(targets: Iterable[Part], frame: FrameMap, hint: TensorHint) -> list[range]:
    """The chunks that hold something for any of the targets: adjacent ones together, ascending."""
    width = ITEM_SIZES[hint.dtype]
    needed = bytearray(frame.count)
    for target in targets:
        begin, end = (hint.payload_offset + width * edge for edge in (target.begin, target.end))
        for number in frame.covering(begin, end):
            if not needed[number] and target.wants(*chunk_elements(frame, number, hint)):
                needed[number] = 1
    found = []
    stop = 0
    while (start := needed.find(1, stop)) >= 0:
        stop = needed.find(0, start)
        stop = frame.count if stop < 0 else stop
        found.append(range(start, stop))
    return found


def chunk_elements(frame: FrameMap, number: int, hint: TensorHint) -> tuple[int, int]:
    """Which of the tensor's elements a chunk holds: the first, and behind the last, in C order."""
    edges = (edge - hint.payload_offset for edge in (frame.begins[number], frame.begins[number + 1]))
    first, last = (min(max(edge, 0), hint.nbytes) // ITEM_SIZES[hint.dtype] for edge in edges)
    return first, last


def runs(needed: list[range], frame: FrameMap, most: int) -> Iterator[range]:
    """The needed chunks in runs of adjacent ones, each as large as a job may be: `most` bytes, or MOST_CHUNKS. Where no
    chunk is needed, one empty run."""
    if not needed:
        yield range(0)
    for numbers in needed:
        start, size = numbers.start, 0
        for number in numbers:
            if number > start and (size >= most or number - start >= MOST_CHUNKS):
                yield range(start, number)
                start, size = number, 0
            size += frame.raw_size(number)
        yield range(start, numbers.stop)
