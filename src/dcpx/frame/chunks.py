"""One chunk between its raw and its stored form: pure functions that the worker pool runs."""

from __future__ import annotations

from typing import NamedTuple

from ..codecs import CODECS, CodecError, Encoder, Lanes
from ..errors import CorruptError, Where
from .layout import ChunkHeader, Entry, Header, check_tag, content_hash, pack_chunk_header

__all__ = ["KnownChunk", "RawChunk", "StoredChunk", "decode_chunk", "encode_chunk"]


class RawChunk(NamedTuple):
    """A chunk to encode. Unless it holds `still`, others may write to `raw` at any time."""

    raw: memoryview
    encoder: Encoder
    lanes: Lanes
    still: bool


class KnownChunk(NamedTuple):
    """A chunk whose stored form is known without encoding; `raw_size` and `content`: its raw bytes' size and hash."""

    codec: int
    parameter: int
    payload: bytes
    raw_size: int
    content: int

    @property
    def entry(self) -> Entry:
        """Its entry of the index."""
        return len(self.payload), self.raw_size, self.content

    def record(self, number: int, frame: Header) -> bytes:
        """Its record as chunk `number` of a frame."""
        header = ChunkHeader(self.codec, self.parameter, number, len(self.payload), self.raw_size, b"")
        return pack_chunk_header(header, frame, self.content) + self.payload


class StoredChunk(NamedTuple):
    """An encoded chunk: what its record says of it, but for its place in the frame."""

    codec: int
    parameter: int
    payload: bytes | memoryview
    raw_size: int
    content: int


def encode_chunk(chunk: RawChunk) -> StoredChunk:
    """Encode one chunk."""
    (codec, parameter, payload), content = chunk.encoder.encode(chunk.raw, chunk.lanes, chunk.still)
    return StoredChunk(codec, parameter, payload, len(chunk.raw), content)


def decode_chunk(header: ChunkHeader, payload: memoryview, out: memoryview, frame: Header, offset: int) -> int:
    """Decode one chunk into `out` and return its content hash, verified against the chunk's tag.

    `offset` is where the chunk's record lies in the item; CorruptError names it.
    """
    where = Where(None, None, offset, header.number)
    try:
        CODECS[header.codec].decode(payload, header.parameter, out)
    except CodecError as error:
        raise CorruptError(f"the chunk can't be decoded: {error}", where) from error
    content = content_hash(out)
    if not check_tag(header, frame, content):
        raise CorruptError("the chunk doesn't match its checksum", where)
    return content
