"""The one worker pool: results in order, a bounded number of them at once, the first error wins."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import TypeVar

__all__ = ["WINDOW", "ordered_map", "submit", "worker_count"]

WINDOW = 16
"""Jobs of one `ordered_map` that may be pending at once; with one chunk a job, this bounds memory."""

T = TypeVar("T")
R = TypeVar("R")

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def worker_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(worker_count(), thread_name_prefix="dcpx")
        return _pool


def _forget_pool() -> None:
    # A forked child has the pool but none of its threads, and perhaps a lock that nobody will release.
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def ordered_map(function: Callable[[T], R], jobs: Iterable[T], window: int = WINDOW) -> Generator[R, None, None]:
    """Yield `function(job)` for every job, in order, computed on the shared pool, at most `window` pending.

    `jobs` is advanced by the caller's thread only as results are taken, so it may read a file. The first error, in
    order, is raised; by then no job is running any more, so that the buffers they use may be released. `function`
    must not use the pool itself.
    """
    iterator = iter(jobs)
    first = next(iterator, None)
    if first is None:
        return
    second = next(iterator, None)
    if second is None:
        yield function(first)  # a lone job isn't worth a thread
        return
    pool = _shared_pool()
    pending: deque[Future[R]] = deque()
    try:
        for job in chain((first, second), iterator):
            if len(pending) >= window:
                yield _take(pending)
            pending.append(submit(pool, function, job))
        while pending:
            yield _take(pending)
    finally:
        _settle(pending)


def submit(pool: ThreadPoolExecutor, function: Callable[[T], R], job: T) -> Future[R]:
    """`pool.submit`, but in the caller's thread once the interpreter is shutting down and the pool takes no more jobs.

    A save that runs on in the background when a script ends still has to come to its end.
    """
    try:
        return pool.submit(function, job)
    except RuntimeError:
        done: Future[R] = Future()
        try:
            done.set_result(function(job))
        except Exception as error:  # noqa: BLE001 (raised by result(), as the pool would)
            done.set_exception(error)
        return done


def _take(pending: deque[Future[R]]) -> R:
    result = pending[0].result()  # an interrupt here leaves the job in `pending`, to be waited for
    pending.popleft()
    return result


def _settle(pending: deque[Future[R]]) -> None:
    """Cancel or wait for every job, however often that is interrupted: they use the caller's memory."""
    interrupt: BaseException | None = None
    for future in pending:
        future.cancel()
    while True:
        try:
            wait(pending)
            break
        except BaseException as error:  # noqa: BLE001 (raised below)
            interrupt = error
    if interrupt is not None:
        raise interrupt
