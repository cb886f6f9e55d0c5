"""Packing: the items of a plan as frames, whose chunks are encoded side by side and written in order.

The frames are the same as `Pack`'s own stream writes, but are made without it: a tensor's elements are encoded where
they lie in memory, the container around them is known beforehand, and many small items make up one job.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.distributed.checkpoint.planner import WriteItem

from .. import kernels
from ..catalog.frames import OWN_ELEMENTS, OwnContainer, frame_form, own_container
from ..catalog.manifest import Seal
from ..codecs import Encoder
from ..codecs.container import Container
from ..codecs.dtypes import lanes_of
from ..dcp.private import StorageInfo, tensor_bytes
from ..dcp.staging import DTYPES, Block, ahead, blocks, compact, in_one_piece, is_plain
from ..extension import Item
from ..extensions.pack import Choice, Pack, item_key
from ..frame import OWN_CHUNK, Coding, Header
from ..frame.builder import FrameBuilder
from ..frame.chunks import RawChunk, StoredChunk, encode_chunk
from ..frame.layout import pack_key
from ..located import writing
from ..parallel import Crew
from ..progress import Meter
from .changes import Changes
from .copies import Copies, Stored
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


@dataclass(slots=True)
class _Record:
    """An item on its way to the file. One that gets no frame here is streamed when its turn comes."""

    item: WriteItem
    data: torch.Tensor | io.BytesIO
    version: int | None = None  # of the data, when it was taken up
    container: OwnContainer | None = None
    frame: FrameBuilder | None = None
    encoder: Encoder | None = None  # of its elements
    offset: int = 0  # in its file, once it is begun
    seal: Seal | None = None  # what the manifest says of the bytes that were stored, once they are
    stored: Stored | None = None  # what a copy of the tensor is held against
    aside: bool = False  # it may be a copy, and waits


class _Block(NamedTuple):
    """A block of a tensor's bytes, and whether it is the first, and the last. An object, and a tensor that is streamed,
    have one without bytes."""

    record: _Record
    block: Block | None
    first: bool
    last: bool


class _Piece(NamedTuple):
    """A part of an item's frame: bytes that are ready to be written, then a chunk to encode; either may be missing. Of
    a small tensor it is the `whole` frame, of an item that is streamed nothing is there."""

    record: _Record
    ready: bytes
    chunk: RawChunk | None
    first: bool
    last: bool
    copied: bool = False
    whole: _Whole | None = None

    @property
    def elements(self) -> int:
        """Bytes of a tensor's elements that the piece holds, before they are encoded."""
        if not isinstance(self.record.data, torch.Tensor):
            return 0
        return tensor_bytes(self.record.item) if self.chunk is None else len(self.chunk.raw)

    @property
    def size(self) -> int:
        """Bytes that a worker has to encode, or to hand on."""
        if self.whole is not None and self.record.container is not None:
            return self.record.container.template.size
        return len(self.ready) if self.chunk is None else len(self.chunk.raw)


_Whole = tuple[Any, bytes | None, kernels.FrameForm, bytes]
"""A tensor that shares a chunk with its container, as `kernels.pack_frames` takes it."""


class _Frame(NamedTuple):
    """A whole frame, and its header's hash."""

    data: bytes
    checksum: int


_Stored = StoredChunk | _Frame | None
"""What a worker made of a piece."""


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
    crew's budget is held. Tensors that are equal are at one place, unless each item has a file of its own.
    """
    copies = None if files.one_per_item else Copies(pack.chunk_size)
    results = _pack(items, planner, pack, checkpoint, files, crew, meter, changes, copies)
    if copies is None:
        return results
    others = []
    for suspect in copies.suspects:
        item = suspect.item
        with writing(lambda: files.place, item.index.fqn, foreign=Exception):
            tensor, found = _plain_tensor(planner, item), None
            if tensor is not None:
                found = copies.find(tensor, suspect.stored, partial(_plain_tensor, planner))
                changes.end(item, tensor, suspect.version)
        if found is None:
            others.append(item)
            continue
        results.append(replace(found, index=item.index))
        meter.add(tensor_bytes(item), 1)
    return results + _pack(others, planner, pack, checkpoint, files, crew, meter, changes, None)


def _plain_tensor(planner: Resolver, item: WriteItem) -> torch.Tensor | None:
    data = resolved(planner, item)
    return data.detach() if isinstance(data, torch.Tensor) and is_plain(data) else None


def _pack(
    items: Iterable[WriteItem],
    planner: Resolver,
    pack: Pack,
    checkpoint: bytes | None,
    files: DataFiles,
    crew: Crew,
    meter: Meter,
    changes: Changes,
    copies: Copies | None,
) -> list[StoredItemResult]:
    """As `pack_items`, but for what `copies` puts off."""
    descriptors = [pack.get_descriptor()]
    results: list[StoredItemResult] = []
    pieces = _pieces(_blocks(items, planner, changes, pack.chunk_size), pack, checkpoint, copies)
    encode = partial(_encode, pack.chunk_size, checkpoint)
    with closing(crew.map(encode, _batches(pieces), _cost)) as encoded:
        for batch, stored in encoded:
            for piece, chunk in zip(batch, stored, strict=True):
                record = piece.record
                with writing(lambda: files.place, record.item.index.fqn, foreign=Exception):
                    _write(piece, chunk, pack, checkpoint, files)
                    if piece.last:
                        changes.end(record.item, record.data, record.version)
                        length = files.sink.position - record.offset
                        info = StorageInfo(files.name, record.offset, length, descriptors)
                        assert record.seal is not None
                        result = StoredItemResult(record.item.index, length, info, record.seal)
                        results.append(result)
                        if record.stored is not None:
                            record.stored.result = result
                        files.end_item()
            meter.add(sum(piece.elements for piece in batch), sum(piece.last for piece in batch))
    return results


def _write(piece: _Piece, stored: _Stored, pack: Pack, checkpoint: bytes | None, files: DataFiles) -> None:
    record, sink = piece.record, files.sink
    if piece.first:
        record.offset = sink.position
    if isinstance(stored, _Frame):
        sink.write(stored.data)
        record.seal = Seal.of_frame(stored.checksum)
        return
    if record.frame is None:
        data = record.data
        data = compact(data) if isinstance(data, torch.Tensor) else data
        record.seal = stream_item(sink, record.item, data, pack, checkpoint)
        return
    sink.write(piece.ready)
    if isinstance(stored, StoredChunk):
        sink.write(record.frame.add(stored))
        sink.write(stored.payload)
        if record.stored is not None:
            record.stored.contents.append(stored.content)
    if piece.last:
        sink.write(_end(record.frame, record.container))
        record.seal = Seal.of_frame(record.frame.header.checksum)


# --- on the workers -------------------------------------------------------------------------------------------------


def _encode(chunk_size: int, checkpoint: bytes | None, batch: list[_Piece]) -> tuple[list[_Piece], list[_Stored]]:
    stored: list[_Stored] = [None if piece.chunk is None else encode_chunk(piece.chunk) for piece in batch]
    wholes = [(number, piece.whole) for number, piece in enumerate(batch) if piece.whole is not None]
    frames = kernels.pack_frames([whole for _, whole in wholes], chunk_size, checkpoint)
    for (number, _), (data, checksum) in zip(wholes, frames, strict=True):
        stored[number] = _Frame(data, checksum)
    return batch, stored


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


def _blocks(items: Iterable[WriteItem], planner: Resolver, changes: Changes, chunk_size: int) -> Iterator[_Block]:
    """Every item's data, tensors block by block. To take a block starts its copy from a device."""
    for item in items:
        data = resolved(planner, item)
        if not isinstance(data, torch.Tensor):
            yield _Block(_Record(item, data), None, True, True)
            continue
        tensor = data.detach()
        record = _Record(item, tensor, changes.begin(tensor))
        if not is_plain(tensor):
            yield _Block(record, None, True, True)
            continue
        record.container = own_container(DTYPES[tensor.dtype], tuple(tensor.shape))
        if _shares_chunk(record.container, chunk_size) and in_one_piece(tensor):
            # A copy of so little takes less than a view. It is made at once: nothing else would hold the memory.
            yield _Block(record, Block(_copied(tensor), copied=True), True, True)
            continue
        first, waiting = True, None
        for block in blocks(tensor):
            if record.aside:
                break
            if waiting is not None:
                yield _Block(record, waiting, first, False)
                first = False
            waiting = block
        yield _Block(record, waiting, first, True)


def _copied(tensor: torch.Tensor) -> memoryview:
    return memoryview(ctypes.string_at(tensor.data_ptr(), tensor.nbytes) if tensor.nbytes else b"")


def _pieces(found: Iterable[_Block], pack: Pack, checkpoint: bytes | None, copies: Copies | None) -> Iterator[_Piece]:
    for one in ahead(found, _AHEAD):
        record = one.record
        if not isinstance(record.data, torch.Tensor):
            fqn = record.item.index.fqn
            with writing(item=fqn, foreign=Exception):
                choice = pack.choose(Item(fqn, _offsets(record.item), checkpoint=checkpoint))
            yield from _object_pieces(record, record.data, choice)
        elif record.container is None:
            yield _Piece(record, b"", None, True, True)
        else:
            yield from _tensor_pieces(one, record.data, record.container, pack, checkpoint, copies)


def _object_pieces(record: _Record, data: io.BytesIO, choice: Choice) -> Iterator[_Piece]:
    raw = memoryview(data.getvalue())  # no copy; a view of the BytesIO itself would outlive it in an error's traceback
    coding = choice.coding(None, raw) if len(raw) >= OWN_CHUNK else Coding(choice.rest)
    frame = record.frame = FrameBuilder(choice.header)
    chunks = list(frame.cut(raw, coding.encoder, coding.lanes, still=True))
    for number, chunk in enumerate(chunks, 1):
        ready = frame.head if number == 1 else b""
        yield _Piece(record, ready, chunk, number == 1, number == len(chunks), copied=True)
    if not chunks:
        yield _Piece(record, frame.head, None, True, True)


def _tensor_pieces(
    one: _Block,
    tensor: torch.Tensor,
    own: OwnContainer,
    pack: Pack,
    checkpoint: bytes | None,
    copies: Copies | None,
) -> Iterator[_Piece]:
    """The pieces of one block: its chunks to encode, and as ready bytes the container around them, or all of a small
    tensor. None of a tensor that is put off."""
    record, block = one.record, one.block
    if record.aside:
        return
    if block is not None:
        block.wait()
    if one.first:
        index = record.item.index
        dtype, shape, _ = own.hint
        with writing(item=index.fqn, foreign=Exception):
            record.encoder, ids = _coding(record.item, tensor, pack, checkpoint)
            codecs = (*ids, Container.id)
            key = item_key(index.fqn, _offsets(record.item))
            if _shares_chunk(own, pack.chunk_size):
                assert block is not None
                whole = block.data, None if key is None else pack_key(key), frame_form(dtype, shape), bytes(codecs)
                yield _Piece(record, b"", None, True, True, whole=whole)
                return
            if copies is not None:
                assert block is not None
                record.stored = copies.take(record.item, record.version, (own.hint, record.encoder), block.data)
                record.aside = record.stored is None
                if record.aside:
                    return
            record.frame = FrameBuilder(Header(pack.chunk_size, codecs, key, own.hint, checkpoint))
    assert block is not None
    assert record.frame is not None
    assert record.encoder is not None
    ready = record.frame.head + record.frame.known(own.before) if one.first else b""
    chunks = list(record.frame.cut(block.data, record.encoder, lanes_of(own.hint.dtype), still=block.copied))
    for number, chunk in enumerate(chunks, 1):
        first, last = one.first and number == 1, one.last and number == len(chunks)
        yield _Piece(record, ready if number == 1 else b"", chunk, first, last, block.copied)


def _coding(
    item: WriteItem, tensor: torch.Tensor, pack: Pack, checkpoint: bytes | None
) -> tuple[Encoder, tuple[int, ...]]:
    """What codes a tensor's elements, and the ids of all codecs that its frame may have. Only a policy looks at it."""
    described = None
    if pack.policy is not None:
        dtype, shape = DTYPES[tensor.dtype], tuple(tensor.shape)
        described = Item(item.index.fqn, _offsets(item), dtype, shape, True, checkpoint)
    encoder, _, ids = pack.encoders(described)
    return encoder, ids


def _offsets(item: WriteItem) -> tuple[int, ...] | None:
    return None if item.index.offset is None else tuple(item.index.offset)


def _shares_chunk(own: OwnContainer, chunk_size: int) -> bool:
    """Whether a tensor is small enough to share its only chunk with its container."""
    return own.template.nbytes < OWN_ELEMENTS and own.template.size <= chunk_size


def _end(frame: FrameBuilder, own: OwnContainer | None) -> bytes:
    """The bytes that follow an item's last chunk."""
    return frame.tail() if own is None else frame.known(own.after) + frame.tail()
