"""FrameBuilder: the one place that knows in which order a frame's parts come."""

from __future__ import annotations

from collections.abc import Iterator

from ..codecs import Encoder, Lanes
from .chunks import KnownChunk, RawChunk, StoredChunk
from .layout import CHECKSUM_SIZE, Entry, Header, pack_final, pack_header

__all__ = ["FrameBuilder"]


class FrameBuilder:
    """Builds one frame: `head`, then what was `cut`, encoded elsewhere and `add`ed in the same order, then `tail`.

    It writes nothing itself and copies no raw bytes.
    """

    def __init__(self, header: Header) -> None:
        self.head = pack_header(header)
        checksum = int.from_bytes(self.head[-CHECKSUM_SIZE:], "little")
        self.header = header._replace(size=len(self.head), checksum=checksum)
        self._cut = 0
        self._entries: list[Entry] = []

    def cut(self, raw: memoryview, encoder: Encoder, lanes: Lanes, still: bool) -> Iterator[RawChunk]:
        """`raw` as the next chunks, of the header's chunk size but for the last; `still`: nobody writes to it."""
        size = self.header.chunk_size
        for start in range(0, len(raw), size):
            number, self._cut = self._cut, self._cut + 1
            yield RawChunk(self.header, number, raw[start : start + size], encoder, lanes, still)

    def known(self, chunk: KnownChunk) -> bytes:
        """The record of the next chunk. All chunks that were cut before must have been added."""
        number, self._cut = self._cut, self._cut + 1
        self._entries.append((len(chunk.payload), chunk.raw_size, chunk.content))
        return chunk.record(number, self.header)

    def add(self, stored: StoredChunk) -> None:
        """Take note of the next encoded chunk for the index."""
        self._entries.append((len(stored.payload), stored.raw_size, stored.content))

    def tail(self) -> bytes:
        """The final record, once every chunk was added."""
        return pack_final(self._entries, self.header)
