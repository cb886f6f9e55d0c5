"""Outputs that take what they like, fail when they are told to, and remember what they got."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, Any, cast

from dcpx import StreamTransformExtension
from dcpx.streams import TransformWriter, write_all


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


class Tailed(TransformWriter):
    """Writes what it is given, then END."""

    def transform(self, data: memoryview) -> None:
        write_all(self.output, data)

    def finish(self) -> None:
        write_all(self.output, b"END")


class TailedExtension(StreamTransformExtension):
    @staticmethod
    def registry_name() -> str:
        return "tailed@tests"

    @staticmethod
    def from_descriptor(version: str) -> TailedExtension:
        return TailedExtension()

    def get_descriptor(self) -> str:
        return self.registry_name()

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], Tailed(output))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        raise NotImplementedError
