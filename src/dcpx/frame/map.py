"""FrameMap: where everything in a frame lies, and the check that what lies there is what belongs there."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter

from ..errors import CorruptError, TruncatedError, Where
from .chunks import decode_chunk
from .layout import (
    CHUNK_HEADER_SIZE,
    FOOTER_SIZE,
    MANY_CHUNKS,
    Final,
    Header,
    parse_chunk_header,
    parse_final,
    parse_footer,
)

__all__ = ["TAIL", "FrameMap", "codec_bits", "read_final"]

TAIL = 16 << 10
"""Bytes read at a frame's end in the hope that they hold the whole final record (1,000 chunks)."""

_stored_size, _raw_size = itemgetter(0), itemgetter(1)


class FrameMap:
    """A frame's header and index, from which any of its chunks is found and verified.

    `begins[k]` is where chunk k begins in the raw item, and `begins[-1]` where the last one ends, in bytes; `count` is
    how many there are. Of very many chunks each takes 32 bytes.
    """

    def __init__(self, header: Header, final: Final) -> None:
        self.header = header
        self.index = final.entries
        self.count = len(final.entries)
        self.total = final.total
        self.digest = final.digest
        self.begins = self._edges(accumulate(map(_raw_size, final.entries), initial=0))
        stored = (size + CHUNK_HEADER_SIZE for size in map(_stored_size, final.entries))
        self._offsets = self._edges(accumulate(stored, initial=header.size))
        self._codecs = codec_bits(header.codecs)

    def _edges(self, edges: Iterable[int]) -> Sequence[int]:
        return array("Q", edges) if self.count >= MANY_CHUNKS else list(edges)

    def record(self, number: int) -> tuple[int, int]:
        """Where a chunk's record begins in the frame, and its size, in bytes."""
        return self._offsets[number], self._offsets[number + 1] - self._offsets[number]

    def raw_size(self, number: int) -> int:
        """A chunk's raw bytes."""
        return self.begins[number + 1] - self.begins[number]

    def covering(self, begin: int, end: int) -> range:
        """The chunks that hold the raw bytes `begin` to `end - 1`; none where that is no byte."""
        if begin >= end:
            return range(0)
        return range(bisect_right(self.begins, begin) - 1, bisect_left(self.begins, end))

    def seal(self, number: int) -> tuple[int, int, int]:
        """What the kernels hold a chunk against: the frame's header hash, the content's hash, and a bit for each codec
        that the header names."""
        return self.header.checksum, self.index[number][2], self._codecs

    def decode(self, number: int, record: memoryview, out: memoryview) -> None:
        """Decode a chunk from its record into `out`, which has its raw size; CorruptError unless it verifies."""
        offset, entry = self._offsets[number], self.index[number]
        header = parse_chunk_header(bytes(record[:CHUNK_HEADER_SIZE]), self.header, number, offset)
        if (header.stored, header.raw) != entry[:2]:
            raise CorruptError("the chunk's sizes contradict the index", Where(offset=offset, chunk=number))
        content = decode_chunk(header, record[CHUNK_HEADER_SIZE:], out, self.header, offset)
        if content != entry[2]:
            raise CorruptError("the chunk isn't the one the index names", Where(offset=offset, chunk=number))


@lru_cache(64)
def codec_bits(codecs: tuple[int, ...]) -> int:
    """A bit for each codec, as the kernels take it."""
    return sum(1 << codec for codec in codecs if codec < 32)  # the kernels know none beyond


def read_final(read_at: Callable[[int, int], bytes], header: Header, size: int) -> Final:
    """The final record of a frame of `size` bytes; `read_at(offset, count)` gives exactly so many of them.

    Raises CorruptError, or TruncatedError where the frame ends before it.
    """
    tail_size = min(size - header.size, TAIL)
    if tail_size < FOOTER_SIZE:
        raise TruncatedError("the item ends before its final record", Where(offset=size))
    tail = read_at(size - tail_size, tail_size)
    record_size = parse_footer(tail[-FOOTER_SIZE:], header, size)
    record = tail[-record_size:] if record_size <= len(tail) else read_at(size - record_size, record_size)
    return parse_final(record, header, size - record_size)
