"""FrameWriter: a stream that cuts what is written into chunks and stores them as a frame."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO

from ..codecs import Encoder, Lanes
from ..parallel import ordered_map
from ..streams import TransformWriter, write_all
from .builder import FrameBuilder
from .chunks import encode_chunk
from .container import payload_begins
from .layout import Header

__all__ = ["Coding", "FrameWriter"]

OWN_CHUNK = 16 << 10
"""Bytes: a single write of this much starts a chunk of its own, so that a tensor's payload does."""


@dataclass(frozen=True)
class Coding:
    """Which codec a chunk is tried with, and how its bytes are grouped."""

    encoder: Encoder
    lanes: Lanes = field(default_factory=Lanes)


class FrameWriter(TransformWriter):
    """Writes one frame to `output`.

    `header` holds what is known of the item; the payload's offset in a hint is found out while writing. A write of
    OWN_CHUNK bytes or more is coded as `payload_coding(the bytes before it, its own)` says, all else as `coding`.
    At most `parallel.WINDOW` chunks are in memory beyond what the caller holds.
    """

    def __init__(
        self, output: IO[bytes], header: Header, coding: Coding, payload_coding: Callable[[bytes, memoryview], Coding]
    ) -> None:
        super().__init__(output)
        self._header = header
        self._coding = coding
        self._payload_coding = payload_coding
        self._pending = bytearray()  # less than a chunk, not coded yet
        self._frame: FrameBuilder | None = None  # once the header is written
        self._payload_found = False

    def checksum_in(self, output: object) -> int | None:
        """The header's hash, once the frame is written; None unless it was written to this very `output`."""
        return None if self._frame is None or self.output is not output else self._frame.header.checksum

    def transform(self, data: memoryview) -> None:
        self._look_for_payload(data)
        if len(data) >= OWN_CHUNK:
            coding = self._payload_coding(bytes(self._pending), data)
            self._store_pending()
            self._store(data, coding, type(data.obj) is bytes)
            return
        while data:
            taken = data[: self._header.chunk_size - len(self._pending)]
            self._pending += taken
            data = data[len(taken) :]
            if len(self._pending) == self._header.chunk_size:
                self._store_pending()

    def finish(self) -> None:
        self._store_pending()
        write_all(self.output, self._begun().tail())

    def _look_for_payload(self, data: memoryview) -> None:
        """A hint is only as good as its offset: it is kept if the container says that the payload begins here."""
        hint = self._header.hint
        if hint is None or self._frame is not None or self._payload_found or hint.nbytes != len(data):
            return
        if payload_begins(self._pending):
            self._header = self._header._replace(hint=hint._replace(payload_offset=len(self._pending)))
            self._payload_found = True

    def _begun(self) -> FrameBuilder:
        """The frame, whose header is written if that is still due."""
        if self._frame is None:
            if self._header.hint is not None and not self._payload_found:
                self._header = self._header._replace(hint=None)
            self._frame = FrameBuilder(self._header)
            write_all(self.output, self._frame.head)
        return self._frame

    def _store_pending(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, bytearray()
            self._store(memoryview(pending), self._coding, True)

    def _store(self, data: memoryview, coding: Coding, still: bool) -> None:
        """Encode `data` and write its chunks, of one copy each unless it holds `still`. On return nothing refers to
        `data` any more, not even after an error."""
        frame = self._begun()
        with closing(ordered_map(encode_chunk, frame.cut(data, coding.encoder, coding.lanes, still))) as stored:
            for chunk in stored:
                write_all(self.output, frame.add(chunk))
                write_all(self.output, chunk.payload)
