"""A pause of Python's garbage collector while many objects are made that all live on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["paused_collector"]

_lock = threading.Lock()
_users = 0
_was_enabled = False


@contextmanager
def paused_collector() -> Iterator[None]:
    """No garbage collection in this block.

    DCP's plans and metadata are some ten objects an item and hold no cycles, but the collector goes through all of them
    again and again: with 20,000 items that is half of the time. The setting is the process's: it is put back when the
    last of several overlapping blocks ends.
    """
    global _users, _was_enabled
    with _lock:
        if _users == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _was_enabled:
                gc.enable()
