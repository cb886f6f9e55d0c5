"""The same function for many numbers, in several processes that share what was read before them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pagedex.errors import PagedexError

Found = TypeVar("Found")

# The function of the pool that is being made: children are forked and find it here, whatever it holds.
_function: Callable[[int], Any] | None = None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(function: Callable[[int], Found], count: int, processes: int) -> Iterator[Found]:
    """``function(0)`` to ``function(count - 1)``, in order. In one process where there can't be more: with
    ``processes`` of 1, little to do, or a system that can't fork.

    Raises:
        PagedexError: a process was ended from outside, as by a lack of memory.
        whatever the function raises.
    """
    global _function
    if processes < 2 or count < 2 or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(function, range(count))
        return
    _function = function
    gc.collect()
    gc.freeze()  # children leave the shared pages as they are
    try:
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(min(processes, count), context, _begin, (os.getpid(),)) as pool:
            try:
                yield from pool.map(_call, range(count))
            except concurrent.futures.process.BrokenProcessPool as error:
                raise PagedexError("a process of the build was ended from outside: try with --processes 1") from error
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        _function = None
        gc.unfreeze()


def _begin(parent: int) -> None:
    """What a child does first."""
    # It makes many values that live as long as it does: looking for garbage often finds none.
    gc.set_threshold(100_000, 20, 20)
    if sys.platform == "linux":  # a parent that is ended has no time to end its children
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


_PR_SET_PDEATHSIG = 1


def _call(number: int) -> Any:
    assert _function is not None
    return _function(number)
