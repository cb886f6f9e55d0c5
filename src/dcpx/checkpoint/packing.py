"""Packing: the items of a plan as frames, whose chunks are encoded side by side and written in order.

The frames are those that `Pack`'s own stream writes. Here they are cut without it: the elements are coded where they
lie, the container around them is known without making it, and many small items make up one job.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch.distributed.checkpoint.planner import SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import WriteResult

from ..codecs import Lanes
from ..codecs.container import AFTER, BEFORE, WHOLE, Container, ContainerPart, container
from ..extensions.pack import Choice, Pack
from ..frame import OWN_CHUNK, Coding
from ..frame.builder import FrameBuilder
from ..frame.chunks import RawChunk, StoredChunk, encode_chunk
from ..parallel import Crew
from ..progress import Meter
from ._torch import StorageInfo
from .files import DataFiles
from .staging import Block, ahead, blocks, dtype_name, is_plain
from .streaming import describe, located, stream_item

__all__ = ["pack_items"]

_OWN_ELEMENTS = 4 << 10
"""Bytes: a tensor of this many has chunks of its own; a smaller one shares its only chunk with the container."""

_BATCH_BYTES = 1 << 20
_BATCH_CHUNKS = 128
"""Raw bytes, or chunks, that make up a job for the workers."""

_AHEAD = 3
"""Blocks that are on their way from a device while one is being encoded."""

_PLAIN = Lanes()


@dataclass
class _Record:
    """An item on its way to the file. Without a frame it is written as a stream when its turn comes."""

    item: WriteItem
    frame: FrameBuilder | None
    data: torch.Tensor | None = None
    offset: int | None = None  # in its file, once it is begun


class _Piece(NamedTuple):
    """A part of an item: one chunk, or none where the item is empty or a stream."""

    record: _Record
    chunk: RawChunk | None
    last: bool
    copied: bool = False

    @property
    def size(self) -> int:
        return 0 if self.chunk is None else len(self.chunk.raw)


class _Part(NamedTuple):
    """An item and one block of its elements; an object or a stream has no block."""

    item: WriteItem
    data: torch.Tensor | io.BytesIO
    block: Block | None
    begin: bool
    end: bool


def pack_items(
    items: Iterable[WriteItem],
    planner: SavePlanner,
    pack: Pack,
    checkpoint: bytes | None,
    files: DataFiles,
    crew: Crew,
    meter: Meter,
) -> list[WriteResult]:
    """Write all items through `pack`, in order, and return where they are.

    `checkpoint` is the save's UUID, 16 bytes, where every rank knows it. Beside the tensors themselves at most the
    crew's budget is held.
    """
    descriptors = [pack.get_descriptor()]
    results: list[WriteResult] = []
    pieces = _pieces(items, planner, pack, checkpoint)
    with closing(crew.map(_encode, _batches(pieces), _cost)) as encoded:
        for batch, stored in encoded:
            for piece, chunk in zip(batch, stored, strict=True):
                with located(files, piece.record.item):
                    _write(piece, chunk, pack, checkpoint, files)
                    if piece.last:
                        results.append(_result(piece.record, files, descriptors))
                        files.end_item()
            meter.add(sum(piece.size for piece in batch), sum(piece.last for piece in batch))
    return results


def _write(piece: _Piece, chunk: StoredChunk | None, pack: Pack, checkpoint: bytes | None, files: DataFiles) -> None:
    record, sink = piece.record, files.sink
    begun = record.offset is not None
    if not begun:
        record.offset = sink.position
    if record.frame is None:
        assert record.data is not None
        stream_item(sink, record.item, record.data, pack, checkpoint)
        return
    if not begun:
        sink.write(record.frame.head)
    if chunk is not None:
        sink.write(chunk.header)
        sink.write(chunk.payload)
        record.frame.add(chunk)
    if piece.last:
        sink.write(record.frame.tail())


def _result(record: _Record, files: DataFiles, descriptors: list[str]) -> WriteResult:
    assert record.offset is not None
    length = files.sink.position - record.offset
    info = StorageInfo(files.name, record.offset, length, transform_descriptors=descriptors)
    return WriteResult(index=record.item.index, size_in_bytes=length, storage_data=info)


def _batches(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Adjacent pieces in lists that are worth a worker's while."""
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
    """What a batch may hold: its encoded chunks, and the copies that they are made from."""
    return sum(piece.size * (2 if piece.copied else 1) for piece in batch)


def _encode(batch: list[_Piece]) -> tuple[list[_Piece], list[StoredChunk | None]]:
    return batch, [None if piece.chunk is None else encode_chunk(piece.chunk) for piece in batch]


def _parts(items: Iterable[WriteItem], planner: SavePlanner) -> Iterator[_Part]:
    """Every item's data, tensors block by block; making one starts its copy from a device."""
    for item in items:
        data = planner.resolve_data(item)
        if not isinstance(data, torch.Tensor) or not is_plain(data):
            yield _Part(item, data, None, True, True)
            continue
        tensor = data.detach()
        begin, waiting = True, None
        for block in blocks(tensor):
            if waiting is not None:
                yield _Part(item, tensor, waiting, begin, False)
                begin = False
            waiting = block
        yield _Part(item, tensor, waiting, begin, True)


def _pieces(items: Iterable[WriteItem], planner: SavePlanner, pack: Pack, checkpoint: bytes | None) -> Iterator[_Piece]:
    record = None
    for part in ahead(_parts(items, planner), _AHEAD):
        if part.begin:
            choice = pack.choose(describe(part.item, part.data, checkpoint))
        if not isinstance(part.data, torch.Tensor):
            yield from _object_pieces(part.item, part.data, choice)
        elif part.block is None:
            yield _Piece(_Record(part.item, None, part.data), None, True)
        else:
            part.block.wait()
            if part.begin:
                record = _Record(part.item, None)
            assert record is not None
            yield from _tensor_pieces(record, part, part.block, choice)


def _object_pieces(item: WriteItem, data: io.BytesIO, choice: Choice) -> Iterator[_Piece]:
    raw = data.getbuffer()
    coding = choice.coding(None, raw) if len(raw) >= OWN_CHUNK else Coding(choice.rest)
    frame = FrameBuilder(choice.header)
    record = _Record(item, frame)
    chunks = list(frame.cut(raw, coding.encoder, coding.lanes))
    for number, chunk in enumerate(chunks, 1):
        yield _Piece(record, chunk, number == len(chunks), copied=True)
    if not chunks:
        yield _Piece(record, None, True)


def _tensor_pieces(record: _Record, part: _Part, block: Block, choice: Choice) -> Iterator[_Piece]:
    """The chunks of one block, and of what the container has before the first and after the last."""
    tensor = part.data
    assert isinstance(tensor, torch.Tensor)
    template = container(dtype_name(tensor), tuple(tensor.shape))
    if part.begin:
        hint = choice.header.hint
        hint = None if hint is None else replace(hint, payload_offset=len(template.before))
        codecs = tuple(sorted({*choice.header.codecs, Container.id}))
        record.frame = FrameBuilder(replace(choice.header, hint=hint, codecs=codecs))
    frame = record.frame
    assert frame is not None
    if template.nbytes < _OWN_ELEMENTS and template.size <= choice.header.chunk_size:
        whole = memoryview(b"".join((template.before, block.data, template.after)))
        for chunk in frame.cut(whole, ContainerPart(template, WHOLE), _PLAIN):
            yield _Piece(record, chunk, True)
        return
    if part.begin:
        for chunk in frame.cut(memoryview(template.before), ContainerPart(template, BEFORE), _PLAIN):
            yield _Piece(record, chunk, False)
    coding = choice.coding(dtype_name(tensor), block.data)
    for chunk in frame.cut(block.data, coding.encoder, coding.lanes):
        yield _Piece(record, chunk, False, block.copied)
    if part.end:
        for chunk in frame.cut(memoryview(template.after), ContainerPart(template, AFTER), _PLAIN):
            yield _Piece(record, chunk, True)
