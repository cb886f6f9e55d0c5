"""Settings of the process that a save or load changes for its own time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["HeldSetting"]


class HeldSetting:
    """A context manager that holds a setting at `value`, and puts back what was there.

    Blocks may overlap, in one thread or several: the last of them to end puts the setting back. In a forked child,
    which runs none of the parent's blocks, it is what it was before the first of them.
    """

    def __init__(self, read: Callable[[], bool], write: Callable[[bool], object], value: bool) -> None:
        self._read, self._write, self._value = read, write, value
        self._lock = threading.RLock()
        self._users = 0
        self._before = value
        if hasattr(os, "register_at_fork"):
            # The lock is held during a fork: no thread is amidst a change, and the child knows what to put back.
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._after_fork
            )

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = self._read()
                self._write(self._value)
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._users == 0:
                return  # a child that was forked within the block
            self._users -= 1
            if self._users == 0:
                self._write(self._before)

    def _after_fork(self) -> None:
        if self._users:
            self._users = 0
            self._write(self._before)
        self._lock.release()
