"""OpenFiles: the files that a load reads, each closed as soon as its last job has ended."""

from __future__ import annotations

from collections import Counter

from ..store.source import FileSource, Sources
from .exchange import Exchange

__all__ = ["OpenFiles"]


class OpenFiles:
    """The files of a load whose jobs are planned file by file: when the next file is asked for, the one before gets no
    more jobs. Used by one thread."""

    def __init__(self, sources: Sources, exchange: Exchange) -> None:
        self._sources = sources
        self.exchange = exchange
        """What other ranks read for this one, for which jobs are planned only once it is there."""
        self.far = sources.far
        """Whether each read is a request to another machine."""
        self._current: str | None = None  # the file that jobs are being planned for
        self._jobs: Counter[str] = Counter()  # those under way, by file

    def source(self, name: str) -> FileSource:
        """The file to plan jobs for. MissingFileError, LoadError or CorruptError if it can't be opened."""
        if name != self._current:
            last, self._current = self._current, name
            if last is not None:
                self._close_if_done(last)
        return self._sources[name]

    def begin_job(self, name: str) -> None:
        """One more job reads the file."""
        self._jobs[name] += 1

    def end_job(self, name: str) -> None:
        """A job that read the file has ended."""
        self._jobs[name] -= 1
        self._close_if_done(name)

    def _close_if_done(self, name: str) -> None:
        if name != self._current and self._jobs[name] == 0:
            self._sources.done(name)
