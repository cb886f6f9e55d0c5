"""How far a build is, on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bar:
    """A bar a phase. It is drawn by whoever advances it: a thread of its own would be there when processes are
    forked."""

    def __init__(self, quiet: bool = False) -> None:
        console = Console(stderr=True, file=sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, phase: str, count: int, done: int) -> None:
        """``done`` more of the ``count`` steps of a phase are done."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=count)
        self._progress.advance(self._tasks[phase], done)
        self._progress.refresh()
