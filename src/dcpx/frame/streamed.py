"""Reading a frame from an input that can't seek, such as the output of another extension: chunk after chunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import IO, NamedTuple

from ..errors import CorruptError, TruncatedError, Where
from ..parallel import ordered_map
from ..streams import read_exactly
from .chunks import decode_chunk
from .layout import (
    CHUNK_HEADER_SIZE,
    INDEX_ENTRY_SIZE,
    KIND_FINAL,
    ChunkHeader,
    Entry,
    Header,
    final_size,
    parse_chunk_header,
    parse_final,
)
from .limits import Limits
from .reader import FrameReader

__all__ = ["StreamedFrameReader"]


class _ChunkJob(NamedTuple):
    """A chunk to decode: where it comes from and where it goes."""

    header: ChunkHeader
    payload: memoryview
    out: memoryview
    frame: Header
    offset: int


def _decode(job: _ChunkJob) -> int:
    return decode_chunk(*job)


class StreamedFrameReader(FrameReader):
    """Reads a frame from its beginning to its end, which is checked before it is reported."""

    def __init__(self, input: IO[bytes], header: Header, limits: Limits) -> None:
        super().__init__(input, header, limits)
        self._offset = header.size  # of the next record in the item
        self._next: ChunkHeader | None = None  # read, but not decoded yet
        self._entries: list[Entry] = []  # of the chunks decoded so far
        self._started = 0  # chunks whose header was read
        self._total = 0
        self._rest = memoryview(b"")  # decoded, but not taken yet
        self._final = b""  # the final record's first bytes, once they were read
        self._ended = False

    def fill(self, buffer: memoryview) -> int:
        if not self._rest:
            header = self._peek()
            if header is None:
                return 0
            if header.raw <= len(buffer):
                return self._decode_whole(buffer)
            out = memoryview(bytearray(header.raw))
            self._decode_whole(out)
            self._rest = out
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)

    def _decode_whole(self, buffer: memoryview) -> int:
        """Decode as many whole chunks as `buffer` takes."""
        headers: list[ChunkHeader] = []
        with closing(ordered_map(_decode, self._jobs(buffer, headers))) as decoded:
            for content in decoded:
                header = headers[len(self._entries) - headers[0].number]
                self._entries.append((header.stored, header.raw, content))
        return sum(header.raw for header in headers)

    def _jobs(self, buffer: memoryview, headers: list[ChunkHeader]) -> Iterator[_ChunkJob]:
        while buffer:
            header = self._peek()
            if header is None or header.raw > len(buffer):
                return
            self._next = None
            offset = self._offset - CHUNK_HEADER_SIZE
            payload = read_exactly(self.input, header.stored)
            if len(payload) != header.stored:
                raise TruncatedError("the item ends within a chunk", Where(None, None, offset, header.number))
            self._offset += header.stored
            headers.append(header)
            yield _ChunkJob(header, memoryview(payload), buffer[: header.raw], self.header, offset)
            buffer = buffer[header.raw :]

    def _peek(self) -> ChunkHeader | None:
        """The next chunk's header, or None where the final record follows, checked once all chunks are decoded."""
        if self._next is None and not self._final:
            data = read_exactly(self.input, CHUNK_HEADER_SIZE)
            if data[:1] == bytes([KIND_FINAL]):
                self._final = data
            else:
                self._next = parse_chunk_header(data, self.header, self._started, self._offset)
                self._started += 1
                self._offset += CHUNK_HEADER_SIZE
                self._total += self._next.raw
                self.check_total(self._total)
        if self._final and len(self._entries) == self._started and not self._ended:
            self._end(self._final)
        return self._next

    def _end(self, data: bytes) -> None:
        """Check the final record that begins with `data`, and that nothing follows it."""
        if len(data) < CHUNK_HEADER_SIZE:
            raise TruncatedError("the item ends within its final record", Where(offset=self._offset))
        size = final_size(data)
        if size != len(self._entries) * INDEX_ENTRY_SIZE + final_size(bytes(CHUNK_HEADER_SIZE)):
            raise CorruptError("the final record doesn't count the chunks before it", Where(offset=self._offset))
        data += read_exactly(self.input, size - len(data))
        if len(data) != size:
            raise TruncatedError("the item ends within its final record", Where(offset=self._offset))
        final = parse_final(data, self.header, self._offset)
        if list(final.entries) != self._entries:
            raise CorruptError("the final record names other chunks than those before it", Where(offset=self._offset))
        if read_exactly(self.input, 1):
            raise CorruptError("bytes follow the final record", Where(offset=self._offset + size))
        self._ended = True
