"""Outputs that take what they like, fail when they are told to, and keep what they got."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class Sink(io.RawIOBase):
    """Keeps what it takes; `takes(len(data), number of the write)` says what a write returns, or raises."""

    def __init__(self, takes: Callable[[int, int], Any] = lambda size, turn: size) -> None:
        super().__init__()
        self.data = bytearray()
        self.turns = 0
        self._takes = takes

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> Any:
        self.turns += 1
        taken = self._takes(len(data), self.turns - 1)
        if isinstance(taken, int):
            self.data += data[:taken]
        return taken


def full_disk(after: int) -> Callable[[int, int], int]:
    """A store whose write number `after` fails, and no other: what comes later would land."""

    def takes(size: int, turn: int) -> int:
        if turn == after:
            raise OSError(28, "No space left on device")
        return size

    return takes


class Kept(io.BytesIO):
    """Can be read after whoever wrote it has closed it."""

    def close(self) -> None:
        pass
