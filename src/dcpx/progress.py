"""How far a save or load has come: what its callback is told, and a bar in the terminal that shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Meter", "OnProgress", "Progress", "progress_bar", "telling"]


class Progress(NamedTuple):
    """Bytes count tensors' elements before they are coded. A rank's progress is that of its own part of the plan."""

    bytes_done: int
    bytes_total: int
    items_done: int
    items_total: int


OnProgress = Callable[[Progress], None]
"""Called after every few items or MiB, by one thread at a time. What it raises ends the save or load."""


class Meter:
    """Counts for one save or load, and tells the callback where there is one. Threads may share it."""

    def __init__(self, on_progress: OnProgress | None, bytes_total: int, items_total: int) -> None:
        self._tell = on_progress
        self._bytes_total, self._items_total = bytes_total, items_total
        self._bytes = self._items = 0
        self._lock = threading.Lock()

    def add(self, nbytes: int, items: int) -> None:
        with self._lock:  # while telling, too: what is told never goes back
            self._bytes += nbytes
            self._items += items
            if self._tell is not None:
                self._tell(Progress(self._bytes, self._bytes_total, self._items, self._items_total))


@contextmanager
def progress_bar(label: str) -> Iterator[OnProgress]:
    """A bar on standard error for the time of the block. Needs the package rich: ImportError says so."""
    try:
        from rich import progress as rich
        from rich.console import Console
    except ImportError as error:
        raise ImportError("progress=True needs the package rich: pip install rich") from error
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TextColumn("{task.fields[items]}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(_short(label), total=None, items="")

        def show(progress: Progress) -> None:
            items = f"{progress.items_done:,}/{progress.items_total:,} items"
            bar.update(task, completed=progress.bytes_done, total=progress.bytes_total, items=items)

        yield show


_LABEL = 22
"""Characters of a label, so that a terminal of 80 columns has room for the figures."""


def _short(label: str) -> str:
    """The label with just the end of a long path."""
    if len(label) <= _LABEL:
        return label
    verb = label.partition(" ")[0] + " …"
    return verb + label[len(verb) - _LABEL :]


@contextmanager
def telling(progress: bool | OnProgress, label: str) -> Iterator[OnProgress | None]:
    """Who is told of the progress for the time of the block: the caller's function, a bar if `progress` is True, or
    nobody."""
    if progress is True:
        with progress_bar(label) as show:
            yield show
    else:
        yield None if progress is False else progress
