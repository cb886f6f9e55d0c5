"""Reading a frame: only verified bytes ever leave it, whichever reader the input allows."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..codecs import CODECS
from ..errors import CorruptError, LimitError, TruncatedError, UnsupportedError, Where
from ..parallel import ordered_map
from ..streams import TransformReader, read_exactly, stream_name
from .chunks import decode_chunk
from .layout import (
    CHUNK_HEADER_SIZE,
    FOOTER_SIZE,
    PREFIX_SIZE,
    ChunkHeader,
    Final,
    Header,
    header_size,
    parse_chunk_header,
    parse_final,
    parse_footer,
    parse_header,
)
from .limits import Limits

__all__ = ["ChunkJob", "FrameReader", "IndexedFrameReader", "decode_job", "is_seekable", "read_header"]

_TAIL = 16 << 10
"""Bytes read at a frame's end in the hope that they hold the whole final record (1,000 chunks)."""

_CACHED_CHUNKS = 4
"""Decoded chunks kept for small reads: a container is read at its end, its beginning and in between."""


class ChunkJob(NamedTuple):
    """A chunk to decode: where it goes and where it came from."""

    header: ChunkHeader
    payload: memoryview
    out: memoryview
    frame: Header
    offset: int


def decode_job(job: ChunkJob) -> int:
    """Run by the worker pool: decode and verify, and return the content's hash."""
    return decode_chunk(job.header, job.payload, job.out, job.frame, job.offset)


class FrameReader(TransformReader):
    """A readable stream of one frame's raw bytes; `header` says what the frame knows of its item."""

    def __init__(self, input: IO[bytes], header: Header, limits: Limits) -> None:
        super().__init__(input)
        self.header = header
        self.limits = limits
        if header.chunk_size > limits.chunk_size:
            raise LimitError(
                f"chunks of {header.chunk_size} bytes, the limit is {limits.chunk_size}", Where(stream_name(input))
            )

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except CorruptError as error:
            raise self._located(error) from error.__cause__

    def _located(self, error: CorruptError) -> CorruptError:
        key = self.header.key
        located = error.located(stream_name(self._input), key.fqn if key else None)
        assert isinstance(located, CorruptError)
        return located

    def limit_total(self, total: int) -> None:
        """Refuse an item of more than `total` raw bytes from now on; LimitError where it is known to hold more."""
        self.limits = replace(self.limits, total=total)

    def check_total(self, total: int) -> None:
        """Raise LimitError if the item holds more than the caller expects."""
        if self.limits.total is not None and total > self.limits.total:
            raise LimitError(f"the item holds {total} bytes, the limit is {self.limits.total}", self._where(0))

    def _where(self, offset: int, chunk: int | None = None) -> Where:
        key = self.header.key
        return Where(stream_name(self._input), key.fqn if key else None, offset, chunk)


def read_header(input: IO[bytes]) -> Header:
    """Read and check the header at the input's position. Raises CorruptError or UnsupportedError."""
    try:
        prefix = read_exactly(input, PREFIX_SIZE)
        header = parse_header(prefix + read_exactly(input, header_size(prefix) - PREFIX_SIZE))
    except (CorruptError, UnsupportedError) as error:
        raise error.located(stream_name(input)) from None
    if unknown := [codec for codec in header.codecs if codec not in CODECS]:
        item = header.key.fqn if header.key else None
        raise UnsupportedError(f"the frame uses unknown codecs {unknown}", Where(stream_name(input), item))
    return header


class IndexedFrameReader(FrameReader):
    """Reads a frame whose input can seek: any range through the index, whole chunks straight into a caller's buffer."""

    def __init__(self, input: IO[bytes], header: Header, limits: Limits, start: int) -> None:
        super().__init__(input, header, limits)
        self._start = start
        input.seek(0, os.SEEK_END)
        size = input.tell() - start
        try:
            self._final = self._read_final(size)
        except CorruptError as error:
            raise self._located(error) from None
        self.check_total(self._final.total)
        index = self._final.index
        self._begins = _starts(index["raw"])  # of each chunk in the raw item
        self._offsets = header.size + _starts(index["stored"].astype(np.int64) + CHUNK_HEADER_SIZE)
        self._position = 0
        self._cache: OrderedDict[int, memoryview] = OrderedDict()

    def limit_total(self, total: int) -> None:
        super().limit_total(total)
        self.check_total(self._final.total)

    @property
    def total(self) -> int:
        """Raw bytes of the item."""
        return self._final.total

    @property
    def digest(self) -> bytes:
        """The digest of the item's content, 16 bytes."""
        return self._final.digest

    def seekable(self) -> bool:
        return True

    def _remaining(self) -> int:
        return max(self._final.total - self._position, 0)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._final.total}
        if whence not in base:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        if base[whence] + offset < 0:
            raise ValueError(f"can't seek to {base[whence] + offset}, before the item's start")
        self._position = base[whence] + offset
        return self._position

    def _read_final(self, size: int) -> Final:
        tail_size = min(size - self.header.size, _TAIL)
        if tail_size < FOOTER_SIZE:
            raise TruncatedError("the item ends before its final record", Where(offset=size))
        tail = self._read_at(size - tail_size, tail_size)
        record_size = parse_footer(tail[-FOOTER_SIZE:], self.header, size)
        record = tail[-record_size:] if record_size <= len(tail) else self._read_at(size - record_size, record_size)
        return parse_final(record, self.header, size - record_size)

    def _read_at(self, offset: int, size: int) -> bytes:
        self._input.seek(self._start + offset)
        data = read_exactly(self._input, size)
        if len(data) != size:
            raise TruncatedError(f"the item ends {size - len(data)} bytes too early", Where(offset=offset + len(data)))
        return data

    def _fill(self, buffer: memoryview) -> int:
        if self._position >= self._final.total:
            return 0
        first = int(np.searchsorted(self._begins, self._position, "right")) - 1
        skipped = self._position - int(self._begins[first])
        last = int(np.searchsorted(self._begins, self._position + len(buffer), "right")) - 1
        if skipped or last == first or first in self._cache:
            data = self._chunk(first)[skipped:][: len(buffer)]
            buffer[: len(data)] = data
            count = len(data)
        else:
            count = int(self._begins[last] - self._begins[first])
            with closing(ordered_map(self._decode, self._jobs(first, last, buffer))) as decoded:
                for _ in decoded:
                    pass
        self._position += count
        return count

    def _jobs(self, first: int, last: int, buffer: memoryview) -> Iterator[ChunkJob]:
        """The jobs that decode chunks first to last - 1 into `buffer`, read one by one as the pool takes them."""
        start = int(self._begins[first])
        for number in range(first, last):
            begin, end = int(self._begins[number]) - start, int(self._begins[number + 1]) - start
            yield self._job(number, buffer[begin:end])

    def _job(self, number: int, out: memoryview) -> ChunkJob:
        offset, entry = int(self._offsets[number]), self._final.index[number]
        record = memoryview(self._read_at(offset, CHUNK_HEADER_SIZE + int(entry["stored"])))
        header = parse_chunk_header(bytes(record[:CHUNK_HEADER_SIZE]), self.header, number, offset)
        if (header.stored, header.raw) != (entry["stored"], entry["raw"]):
            raise CorruptError("the chunk's sizes contradict the index", Where(offset=offset, chunk=number))
        return ChunkJob(header, record[CHUNK_HEADER_SIZE:], out, self.header, offset)

    def _decode(self, job: ChunkJob) -> int:
        content = decode_job(job)
        number = job.header.index
        if content != self._final.index[number]["content"]:
            raise CorruptError("the chunk isn't the one the index names", Where(offset=job.offset, chunk=number))
        return content

    def _chunk(self, number: int) -> memoryview:
        """A whole decoded chunk, kept for the small reads to come."""
        if number not in self._cache:
            out = memoryview(bytearray(int(self._final.index[number]["raw"])))
            self._decode(self._job(number, out))
            self._cache[number] = out.toreadonly()
            if len(self._cache) > _CACHED_CHUNKS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(number)
        return self._cache[number]


def _starts(sizes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where each of several adjacent things begins, and where the last one ends; shape [count + 1], dtype int64."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def is_seekable(input: IO[bytes]) -> bool:
    """Whether `input` says that it can seek; a stream that doesn't say can't."""
    try:
        return input.seekable()
    except (AttributeError, io.UnsupportedOperation):
        return False
