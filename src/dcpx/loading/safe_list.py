"""torch's own list of what may be named while it loads with `weights_only=True`: one for the whole process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["also_allowed", "list_lock"]

list_lock = threading.RLock()
"""Held while the list is looked at and what was found safe by it is loaded."""

if hasattr(os, "register_at_fork"):
    # A fork waits for what another thread is loading: in the child nobody would free the lock, or restore the list.
    os.register_at_fork(before=list_lock.acquire, after_in_parent=list_lock.release, after_in_child=list_lock.release)


@contextmanager
def also_allowed(given: Mapping[str, object]) -> Iterator[None]:
    """Have torch allow these, by the names that they have in a pickle, in a block."""
    with list_lock:
        entries: list[Any] = [(value, name) for name, value in given.items()]
        with torch.serialization.safe_globals(entries):
            yield
