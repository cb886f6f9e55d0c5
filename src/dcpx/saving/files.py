"""DataFiles: the objects that one rank writes, one after another, each made durable while the next is being filled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ..catalog.manifest import FileRecord
from ..located import writing
from ..parallel import submit
from ..store.contract import Store
from ..store.sink import FileSink

__all__ = ["DataFiles"]

FILE_BYTES = 4 << 30
"""Stored bytes after which a new file is begun."""


class DataFiles:
    """Creates files in `store` on demand, whose names are taken from `names`; `one_in_all` if
    there may be no more than one, however large it is.

    A context manager. At its end all are finished, and `records` describes them; only the store's `sync` is left to be
    called. After an error what was written is removed again: nothing refers to it.
    """

    def __init__(self, store: Store, names: Iterator[str], *, one_per_item: bool, one_in_all: bool = False) -> None:
        self.records: list[FileRecord] = []
        self._store = store
        self._unused = names
        self.one_per_item = one_per_item
        self._one_in_all = one_in_all
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="dcpx-fsync")
        self._finishing: list[tuple[str, Future[FileRecord]]] = []
        self._open: FileSink | None = None
        self._names: list[str] = []

    @property
    def name(self) -> str:
        """The name of the file that `sink` writes to."""
        return self._names[-1]

    @property
    def place(self) -> str:
        """Where that file lies, for an error."""
        return self._store.place(self.name)

    @property
    def sink(self) -> FileSink:
        """Where the next bytes go."""
        if self._open is None:
            self._names.append(next(self._unused))
            self._open = FileSink(self._store.create(self.name))
        return self._open

    def end_item(self) -> None:
        """An item is complete: the next one may begin a new file."""
        if self.one_per_item or (self.sink.position >= FILE_BYTES and not self._one_in_all):
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
        sink, self._open = self._open, None
        self._finishing.append((self.name, submit(self._finisher, self._complete, (self.name, sink))))

    def _complete(self, file: tuple[str, FileSink]) -> FileRecord:
        name, sink = file
        try:
            sink.finish()
        except BaseException:
            _discard(sink)
            raise
        return FileRecord(name, sink.position, sink.digest())

    def _wait(self, name: str, future: Future[FileRecord]) -> FileRecord:
        with writing(self._store.place(name)):
            return future.result()

    def discard(self) -> None:
        """Remove what was written."""
        if self._open is not None:
            _discard(self._open)
            self._open = None
        for name in self._names:
            with contextlib.suppress(OSError):  # the first error is the one to report
                self._store.remove(name)


def _discard(sink: FileSink) -> None:
    with contextlib.suppress(Exception):  # the first error is the one to report
        sink.discard()
