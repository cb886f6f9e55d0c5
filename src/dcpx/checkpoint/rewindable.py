"""Rewindable: a stream that can only be read onward, as one that can seek."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import IO

__all__ = ["Rewindable"]

_STEP = 1 << 20
"""Bytes that are skipped at once."""


class Rewindable(io.RawIOBase):
    """A stream that can seek though what `opened` opens, again and again, only reads onward."""

    def __init__(self, opened: Callable[[], IO[bytes]], size: int) -> None:
        super().__init__()
        self._opened = opened
        self._size = size
        self._stream = opened()
        self._at = 0  # in the stream
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._position < self._at:
            self._stream, self._at = self._opened(), 0
        while self._at < self._position:
            skipped = len(self._stream.read(min(_STEP, self._position - self._at)))
            if skipped == 0:
                return 0
            self._at += skipped
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        self._at += len(part)
        self._position = self._at
        return len(part)
