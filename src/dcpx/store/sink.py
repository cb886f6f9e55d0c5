"""FileSink: large, aligned writes to one object, on their way while the next bytes are still being made."""

from __future__ import annotations

from ..kernels import Payload, Xxh3_128
from ..streams import as_bytes
from .contract import ObjectWriter
from .parts import split_parts

__all__ = ["FileSink"]

BLOCK = 4 << 20
"""Bytes of one write. It fits the last-level cache, where the encoders have just put them."""

_PAGE = 4096
_SMALL = 64 << 10  # bytes that are rather copied than written at once
_COPY = 1 << 20  # bytes that are copied at once, where they may change
_STILL = (bytes, Payload)  # what is made of these never changes
_MOST_PARTS = 1024  # what a system takes at once


class FileSink:
    """What is written is gathered to blocks of BLOCK bytes at offsets that are multiples of a page, and hashed on its
    way to `writer`, while it is in the cache."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self.name = writer.place
        self._parts: list[memoryview] = []
        self._gathered = 0
        self._stored = 0
        self._hasher = Xxh3_128()
        self._copy = memoryview(b"")

    @property
    def position(self) -> int:
        """Bytes that were written so far."""
        return self._stored + self._gathered

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take `data`, which must not change until the next `flush`."""
        part = as_bytes(data)
        if len(part) == 0:
            return
        self._parts.append(part)
        self._gathered += len(part)
        if self._gathered >= BLOCK or len(self._parts) >= _MOST_PARTS:
            self._store(self._gathered - self.position % _PAGE)
            if len(self._parts) >= _MOST_PARTS:  # of a few bytes each, and all within one page
                self._parts = [memoryview(b"".join(self._parts))]

    def write_through(self, data: bytes | bytearray | memoryview, hasher: Xxh3_128) -> None:
        """Take `data`, which may change at any time, even before this returns, and give the same bytes to `hasher`."""
        rest = as_bytes(data)
        if type(rest.obj) in _STILL:
            hasher.update(rest)
            if len(rest) >= _SMALL:
                self.write(rest)
                self._store(self._gathered)
            else:
                self.write(bytes(rest))
            return
        if len(rest) >= _SMALL and not self._copy:
            self._copy = memoryview(bytearray(_COPY))
        while len(rest) >= _SMALL:
            # A copy is hashed, for the item and for the file, and written while it is in the cache. All but the last
            # end at the end of a page: one that is on its way to the disk isn't written to again.
            size = min(len(rest), _COPY - self.position % _PAGE)
            copy = self._copy[:size]
            hasher.update(rest[:size], copy)
            self.write(copy)
            self._store(self._gathered)
            rest = rest[size:]
        if rest:
            taken = bytes(rest)
            hasher.update(taken)
            self.write(taken)

    def flush(self) -> None:
        """Hand everything over to the writer."""
        self._store(self._gathered)

    def finish(self) -> None:
        """The object is there, whole. OSError, and then `discard` is still to be called."""
        self.flush()
        self._writer.finish()

    def discard(self) -> None:
        """Give up: nothing of the object stays. OSError."""
        self._writer.discard()

    def digest(self) -> str:
        """The XXH3-128 of all that the writer was given, in hexadecimal."""
        return self._hasher.hexdigest()

    def _store(self, size: int) -> None:
        """Write the first `size` gathered bytes."""
        if size <= 0:
            return
        parts, rest = split_parts(self._parts, size)
        for part in parts:
            self._hasher.update(part)
        self._writer.write(parts)
        self._parts = rest
        self._stored += size
        self._gathered -= size
