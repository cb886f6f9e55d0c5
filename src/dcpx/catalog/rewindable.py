"""Rewindable: a stream that can only be read onward, as one that can seek."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from ..streams import SeekableReader

__all__ = ["Rewindable"]

_STEP = 1 << 20
"""Bytes that are skipped at once."""


class Rewindable(SeekableReader):
    """A stream of `size` bytes that can seek. Each call of `opened` opens the content anew, to be read onward only; to
    seek back opens it again, and to seek forward reads what lies between."""

    def __init__(self, opened: Callable[[], IO[bytes]], size: int) -> None:
        super().__init__(size)
        self._opened = opened
        self._stream = opened()
        self._at = 0  # in the stream

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self.position < self._at:
            self._stream, self._at = self._opened(), 0
        while self._at < self.position:
            skipped = len(self._stream.read(min(_STEP, self.position - self._at)))
            if skipped == 0:
                return 0
            self._at += skipped
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        self._at += len(part)
        self.position = self._at
        return len(part)
