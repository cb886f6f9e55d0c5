"""FrameBuilder: the one place that knows in which order a frame's parts come."""

from __future__ import annotations

from collections.abc import Iterator

from ..codecs import Encoder, Lanes
from .chunks import RawChunk, StoredChunk
from .layout import CHECKSUM_SIZE, ChunkHeader, Entry, Header, pack_chunk_header, pack_final, pack_header

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

    def cut(self, raw: memoryview, encoder: Encoder, lanes: Lanes) -> Iterator[RawChunk]:
        """`raw` as the next chunks, of the header's chunk size but for the last."""
        size = self.header.chunk_size
        for start in range(0, len(raw), size):
            number, self._cut = self._cut, self._cut + 1
            yield RawChunk(self.header, number, raw[start : start + size], encoder, lanes)

    def known(self, codec: int, parameter: int, payload: bytes, raw: int, content: int) -> bytes:
        """The record of the next chunk, whose stored form is known without encoding; `content` is the hash of its `raw`
        bytes. All chunks that were cut before must have been added."""
        number, self._cut = self._cut, self._cut + 1
        header = ChunkHeader(codec, parameter, number, len(payload), raw, b"")
        self._entries.append((len(payload), raw, content))
        return pack_chunk_header(header, self.header, content) + payload

    def add(self, stored: StoredChunk) -> None:
        """Take note of the next encoded chunk for the index."""
        self._entries.append((len(stored.payload), stored.raw_size, stored.content))

    def tail(self) -> bytes:
        """The final record, once every chunk was added."""
        return pack_final(self._entries, self.header)
