"""FileSource: any range of one object, for any thread, with errors that say where."""

from __future__ import annotations

import contextlib
import io
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from types import TracebackType
from typing import IO, Any, TypeAlias, cast

from ..errors import CorruptError, DcpxError, LoadError, MissingFileError, TruncatedError, Where
from ..streams import SeekableReader
from .contract import ChunkJob, Store

__all__ = ["FileSource", "Find", "Sources", "nothing"]


Find: TypeAlias = Callable[[str, int, int], "memoryview | None"]
"""These bytes of a file, by its name, an offset and a size, where they are in memory already; for any thread."""


def nothing(name: str, offset: int, size: int) -> None:
    """None, of any bytes: a Find that knows none."""


class FileSource:
    """An object of a checkpoint; any number of threads may read at once.

    Raises MissingFileError where there is none, LoadError where it can't be opened.
    """

    def __init__(self, store: Store, name: str, find: Find = nothing) -> None:
        self.name = store.place(name)
        self._find = partial(find, name)
        try:
            self._reader = store.open(name)
        except FileNotFoundError as error:
            raise MissingFileError("the file is missing", Where(self.name)) from error
        except OSError as error:
            raise LoadError(f"{type(error).__name__}: {error}", Where(self.name)) from error
        self.reads_chunks = self._reader.reads_chunks
        """Whether `read_chunks` can be called: then it is better than to read chunks and to decode them."""
        self.far = store.connections > 0
        """Whether each read is a request to another machine."""
        self._ahead: tuple[list[int], list[bytes]] = [], []  # what was read ahead, by where it begins

    def read_chunks(self, jobs: list[ChunkJob]) -> list[int]:
        """Read and decode chunks; returns the numbers of the jobs that weren't done, of which `read` may say why."""
        return self._reader.read_chunks(jobs)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from the file's byte `offset` on. TruncatedError where the file ends before, MissingFileError
        where it is gone, and LoadError."""
        begins, parts = self._ahead
        number = bisect_right(begins, offset) - 1
        if number >= 0:
            part = parts[number][offset - begins[number] :][: len(buffer)]
            if len(part) == len(buffer):
                buffer[:] = part
                return
        known = self._find(offset, len(buffer))
        if known is not None:
            buffer[:] = known
            return
        try:
            done = self._reader.read_into(offset, buffer)
        except FileNotFoundError as error:
            raise MissingFileError("the file is missing", Where(self.name)) from error
        except OSError as error:
            raise LoadError(f"{type(error).__name__}: {error}", Where(self.name)) from error
        if done != len(buffer):
            missing = len(buffer) - done
            raise TruncatedError(f"the file ends {missing} bytes too early, at {offset + done}", Where(self.name))

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from the file's byte `offset` on; as `read_into`."""
        buffer = bytearray(size)
        self.read_into(offset, memoryview(buffer))
        return bytes(buffer)

    def view(self, offset: int, size: int) -> memoryview:
        """As `read`, without a copy of what is in memory already."""
        known = self._find(offset, size)
        if known is None:
            known = memoryview(bytearray(size))
            self.read_into(offset, known)
        return known

    def read_ahead(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Read these ranges, ascending offsets and sizes, for the reads that come next, in the place of what was read
        ahead before. What can't be read is told by whoever needs it."""
        self._ahead = [], []
        unknown = [one for one in ranges if self._find(*one) is None]
        with contextlib.suppress(OSError):
            self._ahead = [offset for offset, _ in unknown], self._reader.read_many(unknown)

    def check_size(self, size: int) -> None:
        """CorruptError if the file goes on after `size` bytes. What is missing is told by whoever needs it."""
        if self._has_byte(size):
            raise CorruptError(f"the file goes on after the {size} bytes that were written", Where(self.name))

    def _has_byte(self, offset: int) -> bool:
        try:
            self.read(offset, 1)
        except TruncatedError:
            return False
        return True

    def part(self, offset: int, size: int) -> IO[bytes]:
        """A range as a stream of its own, which begins at 0 and can seek."""
        return cast(IO[bytes], io.BufferedReader(_Part(self, offset, size), _PART_BUFFER))

    def close(self) -> None:
        """Close the file; no thread may still be reading."""
        try:
            self._reader.close()
        except OSError as error:
            raise LoadError(f"{type(error).__name__}: {error}", Where(self.name)) from error


_PART_BUFFER = 64 << 10

_MOST_HELD = 256
"""Files that are opened before they are read, of the 1,024 that a process may have open by default."""


class _Part(SeekableReader):
    def __init__(self, source: FileSource, offset: int, size: int) -> None:
        super().__init__(size)
        self.name = source.name
        self._source = source
        self._offset = offset

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")[: max(self.size - self.position, 0)]
        self._source.read_into(self._offset + self.position, view)
        self.position += len(view)
        return len(view)


class Sources:
    """The files of one load, each opened when it is first asked for, and none longer than `sizes` says, where it does.

    A context manager, at whose end all are closed.
    """

    def __init__(self, store: Store, sizes: Mapping[str, int] | None = None, find: Find = nothing) -> None:
        self._store = store
        self._find = find
        self._sizes = sizes or {}
        self._open: dict[str, FileSource] = {}
        self.far = store.connections > 0
        """Whether each read is a request to another machine."""

    def __getitem__(self, name: str) -> FileSource:
        if name not in self._open:
            with contextlib.ExitStack() as stack:
                source = stack.enter_context(contextlib.closing(FileSource(self._store, name, self._find)))
                if name in self._sizes:
                    source.check_size(self._sizes[name])
                stack.pop_all()
            self._open[name] = source
        return self._open[name]

    def hold(self, names: Iterable[str]) -> None:
        """Open the first of these files at once: what is open stays readable when a save replaces the checkpoint and
        removes them. One that can't be opened is an error when it is asked for."""
        for name in islice(dict.fromkeys(names), _MOST_HELD):
            with contextlib.suppress(DcpxError):
                self[name]

    def done(self, name: str) -> None:
        """Close a file that isn't needed any more."""
        source = self._open.pop(name, None)
        if source is not None:
            source.close()

    def __enter__(self) -> Sources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in list(self._open):
            self.done(name)
