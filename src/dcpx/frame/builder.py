"""FrameBuilder: the one place that knows in which order a frame's parts come."""

from __future__ import annotations

from collections.abc import Iterator

from .. import kernels
from ..codecs import Encoder, Lanes
from .chunks import KnownChunk, RawChunk, StoredChunk
from .layout import Header, pack_header, pack_hint, pack_key

__all__ = ["FrameBuilder"]


class FrameBuilder:
    """Builds one frame: `head`, then what was `cut`, encoded elsewhere and `add`ed in the same order, then `tail`.

    It writes nothing itself and copies no raw bytes.
    """

    def __init__(self, header: Header) -> None:
        assert header.base is None
        codecs = bytes(header.codecs)
        key = None if header.key is None else pack_key(header.key)
        hint = None if header.hint is None else pack_hint(header.hint)
        try:
            self._maker = kernels.FrameMaker(header.chunk_size, codecs, key, hint, header.checkpoint)
        except ValueError:
            pack_header(header)  # which says what is wrong with it
            raise
        self.head = self._maker.head
        self.header = header._replace(size=len(self.head), checksum=self._maker.hash)

    def cut(self, raw: memoryview, encoder: Encoder, lanes: Lanes, still: bool) -> Iterator[RawChunk]:
        """`raw` as the next chunks, of the header's chunk size but for the last; `still`: nobody writes to it."""
        size = self.header.chunk_size
        for start in range(0, len(raw), size):
            yield RawChunk(raw[start : start + size], encoder, lanes, still)

    def known(self, chunk: KnownChunk) -> bytes:
        """The record of the next chunk. All chunks that were cut before must have been added."""
        codec, parameter, payload, raw_size, content = chunk
        return self._maker.chunk(codec, parameter, len(payload), raw_size, content) + payload

    def add(self, stored: StoredChunk) -> bytes:
        """Take the next encoded chunk; returns its header, which its payload follows."""
        codec, parameter, payload, raw_size, content = stored
        return self._maker.chunk(codec, parameter, len(payload), raw_size, content)

    def tail(self) -> bytes:
        """The final record, once every chunk was added."""
        return self._maker.tail()
