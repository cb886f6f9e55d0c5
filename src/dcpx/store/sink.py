"""FileSink: large, aligned writes to one object, on their way while the next bytes are still being made."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait

from ..kernels import Payload, Xxh3_128
from ..parallel import submit
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
    way to `writer`, while it is in the cache. With `beside`, that has a thread to do so, while the next block is being
    gathered; an error of it is raised by the next call."""

    def __init__(self, writer: ObjectWriter, beside: ThreadPoolExecutor | None = None) -> None:
        self._writer = writer
        self._beside = beside
        self._under_way: Future[None] | None = None
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
        """Take `data`, which must not change until `flush` has returned."""
        part = as_bytes(data)
        if len(part) == 0:
            return
        self._parts.append(part)
        self._gathered += len(part)
        if self._gathered >= BLOCK or len(self._parts) >= _MOST_PARTS:
            self._store(self._gathered - self.position % _PAGE, self._beside)
            if len(self._parts) >= _MOST_PARTS:  # of a few bytes each, and all within one page
                self._parts = [memoryview(b"".join(self._parts))]

    def write_through(self, data: bytes | bytearray | memoryview, hasher: Xxh3_128) -> None:
        """Take `data`, which may change at any time, even before this returns, and give the same bytes to `hasher`."""
        rest = as_bytes(data)
        if type(rest.obj) in _STILL:
            hasher.update(rest)
            if len(rest) >= _SMALL:
                self.write(rest)
                self._store(self._gathered, self._beside)
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
            self.flush()
            rest = rest[size:]
        if rest:
            taken = bytes(rest)
            hasher.update(taken)
            self.write(taken)

    def flush(self) -> None:
        """Hand everything over to the writer."""
        self._settle()
        self._store(self._gathered, None)

    def finish(self) -> None:
        """The object is there, whole. OSError, and then `discard` is still to be called."""
        self.flush()
        self._writer.finish()

    def discard(self) -> None:
        """Give up: nothing of the object stays. OSError."""
        if self._under_way is not None:
            wait([self._under_way])
        self._writer.discard()

    def digest(self) -> str:
        """The XXH3-128 of all that the writer was given, in hexadecimal."""
        return self._hasher.hexdigest()

    def _store(self, size: int, beside: ThreadPoolExecutor | None) -> None:
        """Write the first `size` gathered bytes."""
        if size <= 0:
            return
        parts, rest = split_parts(self._parts, size)
        self._settle()
        if beside is None:
            self._put(parts)
        else:
            self._under_way = submit(beside, self._put, parts)
        self._parts = rest
        self._stored += size
        self._gathered -= size

    def _put(self, parts: list[memoryview]) -> None:
        for part in parts:
            self._hasher.update(part)
        self._writer.write(parts)

    def _settle(self) -> None:
        """Return once the last block is written, or raise its error."""
        if self._under_way is not None:
            self._under_way.result()
            self._under_way = None
