"""Streams that give what they were once asked for again as it was, whatever becomes of the file beneath them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ..streams import SeekableReader

__all__ = ["Held", "Kept"]


class Held(SeekableReader):
    """Bytes in memory that belong to somebody else, as a stream that can seek."""

    def __init__(self, memory: memoryview) -> None:
        super().__init__(len(memory))
        self._memory = memory

    def readinto(self, buffer: Any, /) -> int:
        part = self._memory[self.position : self.position + memoryview(buffer).nbytes]
        memoryview(buffer).cast("B")[: len(part)] = part
        self.position += len(part)
        return len(part)


class Kept(SeekableReader):
    """A seekable stream of the `size` bytes of `base` that remembers. Bytes that are read within `with kept.keeping():`
    are held in memory, and every later read of that place gets them, even if `base` changes; all others are read from
    `base` each time."""

    def __init__(self, base: IO[bytes], size: int) -> None:
        super().__init__(size)
        self._base = base
        self._keeping = False
        self._parts: list[tuple[int, bytes]] = []
        self.failure: BaseException | None = None
        """The first error of a read."""

    @contextmanager
    def keeping(self) -> Iterator[None]:
        self._keeping = True
        try:
            yield
        finally:
            self._keeping = False

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")[: max(self.size - self.position, 0)]
        begin = self.position
        done = 0
        try:
            self._base.seek(begin)
            while done < len(view) and (count := self._base.readinto(view[done:])):  # type: ignore[attr-defined]
                done += count
        except BaseException as error:
            self.failure = self.failure or error
            raise
        # The first to be read comes last: it is what stands.
        for at, part in reversed(self._parts):
            first, last = max(at, begin), min(at + len(part), begin + done)
            if first < last:
                view[first - begin : last - begin] = part[first - at : last - at]
        if self._keeping and done:
            self._parts.append((begin, bytes(view[:done])))
        self.position += done
        return done
