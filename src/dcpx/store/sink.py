"""FileSink: large, aligned writes to one file, on their way to the disk while the next bytes are still being made."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from typing import IO

from ..kernels import Payload, Xxh3_128
from ..streams import as_bytes, stream_name, write_all

__all__ = ["FileSink"]

BLOCK = 4 << 20
"""Bytes of one write. It fits the last-level cache, where the encoders have just put them."""

_PAGE = 4096
_SMALL = 64 << 10  # bytes that are rather copied than written at once
_COPY = 1 << 20  # bytes that are copied at once, where they may change
_STILL = (bytes, Payload)  # what is made of these never changes
_MOST_PARTS = 1024  # IOV_MAX of Linux


class FileSink:
    """What is written is gathered to blocks of BLOCK bytes at offsets that are multiples of a page.

    A local file gets its blocks by `writev`, without another copy, and with `writeback` the kernel is asked to begin
    storing each at once: otherwise all would wait for the fsync. Any other stream gets one `write` a block. What goes
    to the file is hashed on its way there, while it is in the cache.
    """

    def __init__(self, stream: IO[bytes], writeback: bool = True) -> None:
        self._stream = stream
        self._writeback = writeback
        # Only a file that Python itself opened: what wraps one wants to see the writes.
        local = type(stream) is io.BufferedWriter and type(stream.raw) is io.FileIO
        self._descriptor = stream.fileno() if local else None
        self.name = stream_name(stream)
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
        """Hand everything over to the file."""
        self._store(self._gathered)
        self._stream.flush()

    def digest(self) -> str:
        """The XXH3-128 of all that the file was given, in hexadecimal."""
        return self._hasher.hexdigest()

    def sync(self) -> None:
        """Return once a local file's bytes are on the disk; other streams become durable when they are closed."""
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            os.fsync(self._stream.fileno())

    def _store(self, size: int) -> None:
        """Write the first `size` gathered bytes."""
        if size <= 0:
            return
        parts, rest = _split(self._parts, size)
        for part in parts:
            self._hasher.update(part)
        if self._descriptor is None:
            write_all(self._stream, parts[0] if len(parts) == 1 else b"".join(parts))
        else:
            _write_parts(self._descriptor, parts)
            if self._writeback:
                _begin_writeback(self._descriptor, self._stored, size)
        self._parts = rest
        self._stored += size
        self._gathered -= size


def _split(parts: list[memoryview], size: int) -> tuple[list[memoryview], list[memoryview]]:
    """The parts' first `size` bytes, and the rest."""
    for number, part in enumerate(parts):
        if size < len(part):
            head = [*parts[:number], part[:size]] if size else parts[:number]
            return head, [part[size:], *parts[number + 1 :]]
        size -= len(part)
    return parts, []


def _write_parts(descriptor: int, parts: list[memoryview]) -> None:
    """Write all of `parts`, again and again while the system takes only a part of them."""
    while parts:
        taken = os.writev(descriptor, parts[:_MOST_PARTS])
        if taken <= 0:
            raise OSError(f"the file took {taken} of {sum(map(len, parts))} bytes")
        _, parts = _split(parts, taken)


def _begin_writeback(descriptor: int, offset: int, size: int) -> None:
    """Ask the kernel to start storing this range; a hint, whose failure means nothing."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, size, 2)  # SYNC_FILE_RANGE_WRITE


_sync_file_range = None
if sys.platform == "linux":
    _sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
