"""Packing: the items of a plan as frames, whose chunks are encoded side by side and written in order.

The frames are the same as `Pack`'s own stream writes, but are made without it: a tensor's elements are encoded where
they lie in memory, the container around them is known beforehand, and many small items make up one job.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.distributed.checkpoint.planner import WriteItem

from ..catalog.frames import OWN_ELEMENTS, OwnContainer, own_container
from ..catalog.manifest import Seal
from ..codecs.container import Container
from ..dcp.private import StorageInfo, tensor_bytes
from ..dcp.staging import DTYPES, Block, ahead, blocks, compact, is_plain, on_device
from ..extension import Item
from ..extensions.pack import Choice, Pack
from ..frame import OWN_CHUNK, Coding
from ..frame.builder import FrameBuilder
from ..frame.chunks import RawChunk, StoredChunk, encode_chunk
from ..located import writing
from ..parallel import Crew
from ..progress import Meter
from .changes import Changes
from .files import DataFiles
from .object_check import Resolver
from .results import StoredItemResult
from .streaming import resolved, stream_item

__all__ = ["pack_items"]

_BATCH_BYTES = 1 << 20
_BATCH_CHUNKS = 128
"""Raw bytes, or chunks, that make up a job for the workers."""

_AHEAD = 3
"""Blocks that are on their way from a device while one is being encoded."""


@dataclass
class _Record:
    """An item on its way to the file. One that gets no frame here is streamed when its turn comes."""

    item: WriteItem
    data: torch.Tensor | io.BytesIO
    frame: FrameBuilder | None = None
    choice: Choice | None = None
    container: OwnContainer | None = None
    offset: int = 0  # in its file, once it is begun
    stream_seal: Seal | None = None  # of a stream, once it is written
    version: int | None = None  # of the data, when it was taken up

    @property
    def seal(self) -> Seal:
        """What the manifest says of the bytes that were stored."""
        if self.frame is not None:
            return Seal.of_frame(self.frame.header.checksum)
        assert self.stream_seal is not None
        return self.stream_seal


class _Block(NamedTuple):
    """A block of a tensor's bytes, and whether it is the first, and the last. An object, and a tensor that is streamed,
    have one without bytes."""

    record: _Record
    block: Block | None
    first: bool
    last: bool


class _Piece(NamedTuple):
    """A part of an item's frame: bytes that are ready to be written, then a chunk to encode; either may be missing. An
    item that is streamed has one piece, without both."""

    record: _Record
    ready: bytes
    chunk: RawChunk | None
    first: bool
    last: bool
    copied: bool = False

    @property
    def elements(self) -> int:
        """Bytes of a tensor's elements that the piece holds, before they are encoded."""
        if not isinstance(self.record.data, torch.Tensor):
            return 0
        return tensor_bytes(self.record.item) if self.chunk is None else len(self.chunk.raw)

    @property
    def size(self) -> int:
        """Bytes that a worker has to encode, or to hand on."""
        return len(self.ready) if self.chunk is None else len(self.chunk.raw)


def pack_items(
    items: Iterable[WriteItem],
    planner: Resolver,
    pack: Pack,
    checkpoint: bytes | None,
    files: DataFiles,
    crew: Crew,
    meter: Meter,
    changes: Changes,
) -> list[StoredItemResult]:
    """Write all items through `pack`, in order, and return where they are.

    `checkpoint` is the save's UUID, 16 bytes, where every rank knows it. Beside the tensors themselves at most the
    crew's budget is held.
    """
    descriptors = [pack.get_descriptor()]
    results: list[StoredItemResult] = []
    pieces = _pieces(_blocks(items, planner, changes), pack, checkpoint)
    with closing(crew.map(_encode, _batches(pieces), _cost)) as encoded:
        for batch, stored in encoded:
            for piece, chunk in zip(batch, stored, strict=True):
                record = piece.record
                with writing(lambda: files.place, record.item.index.fqn, foreign=Exception):
                    _write(piece, chunk, pack, checkpoint, files)
                    if piece.last:
                        changes.end(record.item, record.data, record.version)
                        length = files.sink.position - record.offset
                        info = StorageInfo(files.name, record.offset, length, descriptors)
                        results.append(StoredItemResult(record.item.index, length, info, record.seal))
                        files.end_item()
            meter.add(sum(piece.elements for piece in batch), sum(piece.last for piece in batch))
    return results


def _write(piece: _Piece, stored: StoredChunk | None, pack: Pack, checkpoint: bytes | None, files: DataFiles) -> None:
    record, sink = piece.record, files.sink
    if piece.first:
        record.offset = sink.position
    if record.frame is None:
        data = record.data
        data = compact(data) if isinstance(data, torch.Tensor) else data
        record.stream_seal = stream_item(sink, record.item, data, pack, checkpoint)
        return
    sink.write(piece.ready)
    if stored is None:
        return
    sink.write(stored.header)
    sink.write(stored.payload)
    record.frame.add(stored)
    if piece.last:
        sink.write(_end(record.frame, record.container))


# --- on the workers -------------------------------------------------------------------------------------------------


def _encode(batch: list[_Piece]) -> tuple[list[_Piece], list[StoredChunk | None]]:
    return batch, [None if piece.chunk is None else encode_chunk(piece.chunk) for piece in batch]


# --- in the caller's thread: what is to be encoded ------------------------------------------------------------------


def _batches(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Adjacent pieces in lists, each large enough to make up a job."""
    batch: list[_Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += piece.size
        if size >= _BATCH_BYTES or len(batch) == _BATCH_CHUNKS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _cost(batch: list[_Piece]) -> int:
    """Bytes that a batch may hold: its encoded chunks, and the copies that they are made from."""
    return sum(piece.size * (2 if piece.copied else 1) for piece in batch)


def _blocks(items: Iterable[WriteItem], planner: Resolver, changes: Changes) -> Iterator[_Block]:
    """Every item's data, tensors block by block. To take a block starts its copy from a device."""
    for item in items:
        data = resolved(planner, item)
        if not isinstance(data, torch.Tensor):
            yield _Block(_Record(item, data), None, True, True)
            continue
        tensor = data.detach()
        record = _Record(item, tensor, version=changes.begin(tensor))
        if not is_plain(tensor):
            yield _Block(record, None, True, True)
            continue
        record.container = own_container(DTYPES[tensor.dtype], tuple(tensor.shape))
        first, waiting = True, None
        for block in _blocks_of(tensor):
            if waiting is not None:
                yield _Block(record, waiting, first, False)
                first = False
            waiting = block
        yield _Block(record, waiting, first, True)


def _blocks_of(tensor: torch.Tensor) -> Iterator[Block]:
    if 0 < tensor.nbytes < OWN_ELEMENTS and not on_device(tensor) and tensor.is_contiguous():
        # A copy of so little takes less than a view.
        yield Block(memoryview(ctypes.string_at(tensor.data_ptr(), tensor.nbytes)), copied=True)
    else:
        yield from blocks(tensor)


def _pieces(found: Iterable[_Block], pack: Pack, checkpoint: bytes | None) -> Iterator[_Piece]:
    for one in ahead(found, _AHEAD):
        record = one.record
        index = record.item.index
        offsets = None if index.offset is None else tuple(index.offset)
        if not isinstance(record.data, torch.Tensor):
            with writing(item=index.fqn, foreign=Exception):
                record.choice = pack.choose(Item(index.fqn, offsets, checkpoint=checkpoint))
            yield from _object_pieces(record, record.data, record.choice)
        elif one.block is None or record.container is None:
            yield _Piece(record, b"", None, True, True)
        else:
            tensor = record.data
            if one.first:
                dtype, shape = DTYPES[tensor.dtype], tuple(tensor.shape)
                with writing(item=index.fqn, foreign=Exception):
                    record.choice = pack.choose(Item(index.fqn, offsets, dtype, shape, True, checkpoint))
                record.frame = _frame(record.choice, record.container)
            one.block.wait()
            assert record.choice is not None
            assert record.frame is not None
            yield from _tensor_pieces(one, one.block, record.frame, record.choice, record.container)


def _frame(choice: Choice, own: OwnContainer) -> FrameBuilder:
    """The frame of a tensor in its container."""
    hint = choice.header.hint
    hint = None if hint is None else hint._replace(payload_offset=own.before.raw_size)
    return FrameBuilder(choice.header._replace(hint=hint, codecs=(*choice.header.codecs, Container.id)))


def _object_pieces(record: _Record, data: io.BytesIO, choice: Choice) -> Iterator[_Piece]:
    raw = memoryview(data.getvalue())  # no copy; a view of the BytesIO itself would outlive it in an error's traceback
    coding = choice.coding(None, raw) if len(raw) >= OWN_CHUNK else Coding(choice.rest)
    frame = record.frame = FrameBuilder(choice.header)
    chunks = list(frame.cut(raw, coding.encoder, coding.lanes, still=True))
    for number, chunk in enumerate(chunks, 1):
        ready = frame.head if number == 1 else b""
        yield _Piece(record, ready, chunk, number == 1, number == len(chunks), copied=True)
    if not chunks:
        yield _Piece(record, frame.head + frame.tail(), None, True, True)


def _tensor_pieces(
    one: _Block, block: Block, frame: FrameBuilder, choice: Choice, own: OwnContainer
) -> Iterator[_Piece]:
    """The pieces of one block: its chunks to encode, and as ready bytes the container around them, or all of a small
    tensor."""
    template = own.template
    if template.nbytes < OWN_ELEMENTS and template.size <= frame.header.chunk_size:
        yield _Piece(one.record, frame.head + frame.known(own.whole(block.data)) + frame.tail(), None, True, True)
        return
    ready = b""
    if one.first:
        ready = frame.head + frame.known(own.before)
    hint = frame.header.hint
    coding = choice.coding(None if hint is None else hint.dtype, block.data)
    chunks = list(frame.cut(block.data, coding.encoder, coding.lanes, still=block.copied))
    for number, raw in enumerate(chunks, 1):
        first, last = one.first and number == 1, one.last and number == len(chunks)
        yield _Piece(one.record, ready if number == 1 else b"", raw, first, last, block.copied)


def _end(frame: FrameBuilder, own: OwnContainer | None) -> bytes:
    """The bytes that follow an item's last chunk."""
    return frame.tail() if own is None else frame.known(own.after) + frame.tail()
