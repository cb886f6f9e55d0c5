"""DataFiles: the files that one rank writes, one after another, each made durable while the next is being filled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ..catalog.manifest import FileRecord
from ..parallel import submit
from ..store.directory import Directory, saving_to
from ..store.sink import FileSink

__all__ = ["DataFiles"]

FILE_BYTES = 4 << 30
"""Stored bytes after which a new file is begun."""


class DataFiles:
    """Opens files in `directory` on demand, whose names are taken from `names`.

    A context manager. At its end everything is stored, with `sync` durably but for the directory's own entries, and
    closed, and `records` describes the files. After an error what was written is removed again: nothing refers to it.
    """

    def __init__(self, directory: Directory, names: Iterator[str], *, sync: bool, one_per_item: bool) -> None:
        self.records: list[FileRecord] = []
        self._directory = directory
        self._unused = names
        self._sync = sync
        self._one_per_item = one_per_item
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="dcpx-fsync")
        self._finishing: list[tuple[str, Future[FileRecord]]] = []
        self._open: tuple[FileSink, contextlib.ExitStack] | None = None
        self._names: list[str] = []

    @property
    def name(self) -> str:
        """The name of the file that `sink` writes to."""
        return self._names[-1]

    @property
    def place(self) -> str:
        """Where that file lies, for an error."""
        return self._directory.place(self.name)

    @property
    def sink(self) -> FileSink:
        """Where the next bytes go."""
        if self._open is None:
            self._names.append(next(self._unused))
            stack = contextlib.ExitStack()
            stream = stack.enter_context(self._directory.open(self.name, "wb"))
            self._open = FileSink(stream, self._sync), stack
        return self._open[0]

    def end_item(self) -> None:
        """An item is complete: the next one may begin a new file."""
        if self._one_per_item or self.sink.position >= FILE_BYTES:
            self._finish()

    def __enter__(self) -> DataFiles:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        failure = error
        try:
            if failure is None:
                self._finish()
                for name, future in self._finishing:
                    self.records.append(self._wait(name, future))
        except BaseException as late:
            failure = late
            raise
        finally:
            self._finisher.shutdown(wait=True)
            if failure is not None:
                self.discard()

    def _finish(self) -> None:
        if self._open is None:
            return
        (sink, stack), self._open = self._open, None
        self._finishing.append((self.name, submit(self._finisher, self._complete, (self.name, sink, stack))))

    def _complete(self, file: tuple[str, FileSink, contextlib.ExitStack]) -> FileRecord:
        name, sink, stack = file
        with stack:
            sink.flush()
            if self._sync:
                sink.sync()
        return FileRecord(name, sink.position, sink.digest())

    def _wait(self, name: str, future: Future[FileRecord]) -> FileRecord:
        with saving_to(self._directory.place(name)):
            return future.result()

    def discard(self) -> None:
        """Remove what was written."""
        if self._open is not None:
            with contextlib.suppress(Exception):
                self._open[1].close()
            self._open = None
        for name in self._names:
            with contextlib.suppress(OSError):  # the first error is the one to report
                self._directory.remove(name)
