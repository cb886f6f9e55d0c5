"""DataFiles: the files that one rank writes, one after another, each made durable while the next is being filled."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystemBase

from ..errors import SaveError, Where
from ..parallel import submit
from .sink import FileSink

__all__ = ["DataFiles"]

_SUFFIX = ".distcp"

FILE_BYTES = 4 << 30
"""Stored bytes after which a new file is begun."""


class DataFiles:
    """Opens files named `prefix` and a number on demand, through `fs`, in the directory `path`.

    A context manager. At its end everything is stored, with `sync` durably, and closed. After an error what was
    written is removed again: nothing refers to it.
    """

    def __init__(self, fs: FileSystemBase, path: Any, prefix: str, *, sync: bool, one_per_item: bool) -> None:
        self._fs = fs
        self._path = path
        self._prefix = prefix
        self._sync = sync
        self._one_per_item = one_per_item
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="dcpx-fsync")
        self._finishing: list[tuple[str, Future[None]]] = []
        self._open: tuple[FileSink, contextlib.ExitStack] | None = None
        self._names: list[str] = []

    @property
    def name(self) -> str:
        """The name of the file that `sink` writes to."""
        return self._names[-1]

    @property
    def place(self) -> str:
        """Where that file lies, for an error."""
        return str(self._place(self.name))

    @property
    def sink(self) -> FileSink:
        """Where the next bytes go."""
        if self._open is None:
            self._names.append(f"{self._prefix}{len(self._names)}{_SUFFIX}")
            stack = contextlib.ExitStack()
            stream = stack.enter_context(self._fs.create_stream(self._place(self.name), "wb"))
            self._open = FileSink(stream, self._sync), stack  # type: ignore[arg-type]
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
                    self._wait(name, future)
        except BaseException as late:
            failure = late
            raise
        finally:
            self._finisher.shutdown(wait=True)
            if failure is not None:
                self.discard()

    def _place(self, name: str) -> Any:
        return self._fs.concat_path(self._path, name)

    def _finish(self) -> None:
        if self._open is None:
            return
        (sink, stack), self._open = self._open, None
        self._finishing.append((self.name, submit(self._finisher, self._complete, (sink, stack))))

    def _complete(self, file: tuple[FileSink, contextlib.ExitStack]) -> None:
        sink, stack = file
        with stack:
            sink.flush()
            if self._sync:
                sink.sync()

    def _wait(self, name: str, future: Future[None]) -> None:
        try:
            future.result()
        except OSError as error:
            raise SaveError(f"{type(error).__name__}: {error}", Where(str(self._place(name)))) from error

    def discard(self) -> None:
        """Remove what was written."""
        if self._open is not None:
            with contextlib.suppress(Exception):
                self._open[1].close()
            self._open = None
        for name in self._names:
            with contextlib.suppress(OSError):  # the first error is the one to report
                self._fs.rm_file(self._place(name))
