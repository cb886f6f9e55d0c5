"""Settings of the process that a save or load changes for its own time."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["HeldSetting"]


class HeldSetting:
    """A context manager that holds a setting at `value`, and puts back what was there.

    Several blocks may overlap, in one thread or many: the last of them to end puts it back, whatever happens in them.
    """

    def __init__(self, read: Callable[[], bool], write: Callable[[bool], object], value: bool) -> None:
        self._read, self._write, self._value = read, write, value
        self._lock = threading.Lock()
        self._users = 0
        self._before = value

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = self._read()
                self._write(self._value)
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._write(self._before)
