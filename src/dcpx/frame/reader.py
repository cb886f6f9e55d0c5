"""Reading a frame: only verified bytes ever leave it, whichever reader the input allows."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import IO, NamedTuple

from ..codecs import CODECS
from ..errors import CorruptError, LimitError, TruncatedError, UnsupportedError, Where
from ..parallel import ordered_map
from ..streams import TransformReader, read_exactly, stream_name
from .layout import PREFIX_SIZE, Header, header_size, parse_header
from .limits import Limits
from .map import FrameMap, read_final

__all__ = ["FrameReader", "IndexedFrameReader", "check_codecs", "is_seekable", "read_header"]

_CACHED_CHUNKS = 4
"""Decoded chunks kept for small reads: a container is read at its end, its beginning and in between."""


class _ChunkJob(NamedTuple):
    """A chunk to decode: its number, its stored record, and where its content goes."""

    number: int
    record: memoryview
    out: memoryview


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
        located = error.located(stream_name(self.input), key.fqn if key else None)
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
        return Where(stream_name(self.input), key.fqn if key else None, offset, chunk)


def check_codecs(header: Header) -> None:
    """UnsupportedError where the frame may hold chunks that this version can't decode."""
    if unknown := [codec for codec in header.codecs if codec not in CODECS]:
        item = header.key.fqn if header.key else None
        raise UnsupportedError(f"the frame uses unknown codecs {unknown}", Where(item=item))


def read_header(input: IO[bytes]) -> Header:
    """Read and check the header at the input's position. Raises CorruptError or UnsupportedError."""
    try:
        prefix = read_exactly(input, PREFIX_SIZE)
        header = parse_header(prefix + read_exactly(input, header_size(prefix) - PREFIX_SIZE))
        check_codecs(header)
    except (CorruptError, UnsupportedError) as error:
        raise error.located(stream_name(input)) from None
    return header


class IndexedFrameReader(FrameReader):
    """Reads a frame whose input can seek: any range through the index, whole chunks straight into a caller's buffer."""

    def __init__(self, input: IO[bytes], header: Header, limits: Limits, start: int) -> None:
        super().__init__(input, header, limits)
        self._start = start
        input.seek(0, os.SEEK_END)
        size = input.tell() - start
        try:
            self._map = FrameMap(header, read_final(self._read_at, header, size))
        except CorruptError as error:
            raise self._located(error) from None
        self.check_total(self._map.total)
        self._position = 0
        self._cache: OrderedDict[int, memoryview] = OrderedDict()

    def limit_total(self, total: int) -> None:
        super().limit_total(total)
        self.check_total(self._map.total)

    @property
    def total(self) -> int:
        """Raw bytes of the item."""
        return self._map.total

    @property
    def digest(self) -> bytes:
        """The digest of the item's content, 16 bytes."""
        return self._map.digest

    def seekable(self) -> bool:
        return True

    def _remaining(self) -> int:
        return max(self._map.total - self._position, 0)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._map.total}
        if whence not in base:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        if base[whence] + offset < 0:
            raise ValueError(f"can't seek to {base[whence] + offset}, before the item's start")
        self._position = base[whence] + offset
        return self._position

    def _read_at(self, offset: int, size: int) -> bytes:
        self.input.seek(self._start + offset)
        data = read_exactly(self.input, size)
        if len(data) != size:
            raise TruncatedError(f"the item ends {size - len(data)} bytes too early", Where(offset=offset + len(data)))
        return data

    def fill(self, buffer: memoryview) -> int:
        if self._position >= self._map.total:
            return 0
        begins = self._map.begins
        first = bisect_right(begins, self._position) - 1
        skipped = self._position - begins[first]
        last = bisect_right(begins, self._position + len(buffer)) - 1
        if skipped or last == first or first in self._cache:
            data = self._chunk(first)[skipped:][: len(buffer)]
            buffer[: len(data)] = data
            count = len(data)
        else:
            count = begins[last] - begins[first]
            with closing(ordered_map(self._decode, self._jobs(first, last, buffer))) as decoded:
                for _ in decoded:
                    pass
        self._position += count
        return count

    def _jobs(self, first: int, last: int, buffer: memoryview) -> Iterator[_ChunkJob]:
        """The jobs that decode chunks first to last - 1 into `buffer`, read one by one as the pool takes them."""
        begins = self._map.begins
        for number in range(first, last):
            yield self._job(number, buffer[begins[number] - begins[first] : begins[number + 1] - begins[first]])

    def _job(self, number: int, out: memoryview) -> _ChunkJob:
        return _ChunkJob(number, memoryview(self._read_at(*self._map.record(number))), out)

    def _decode(self, job: _ChunkJob) -> None:
        self._map.decode(*job)

    def _chunk(self, number: int) -> memoryview:
        """A whole decoded chunk, kept for the small reads to come."""
        if number not in self._cache:
            out = memoryview(bytearray(self._map.raw_size(number)))
            self._decode(self._job(number, out))
            self._cache[number] = out.toreadonly()
            if len(self._cache) > _CACHED_CHUNKS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(number)
        return self._cache[number]


def is_seekable(input: IO[bytes]) -> bool:
    """Whether `input` says that it can seek; a stream that doesn't say can't."""
    try:
        return input.seekable()
    except (AttributeError, io.UnsupportedOperation):
        return False
