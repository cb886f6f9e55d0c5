"""The worker pools: results in order, a bounded number and size of them at once, the first error wins."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import TypeVar

from .errors import DcpxError

__all__ = ["DEFAULT_BUDGET", "WINDOW", "Crew", "check_crew", "ordered_map", "submit", "worker_count"]

WINDOW = 16
"""Jobs of one `ordered_map` that may be pending at once; with one chunk a job, this bounds memory."""

DEFAULT_BUDGET = 256 << 20
"""Bytes that the jobs of one save or load may hold."""

_JOBS_PER_THREAD = 12
"""Jobs of a crew that may be pending per thread: enough to work on while the caller's thread writes a block."""

T = TypeVar("T")
R = TypeVar("R")

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def worker_count() -> int:
    """The cores that this process may use: its share of them where torchrun says how many ranks are on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(cores // int(ranks), 1) if ranks.isdecimal() and int(ranks) > 0 else cores


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


class Crew:
    """`threads` workers of one save or load, whose jobs may hold about `budget` bytes at once. With 0 the caller's
    thread does the jobs, one after the other as their results are taken.

    A context manager: at its end no job runs and no thread is left.
    """

    def __init__(self, threads: int | None, budget: int) -> None:
        self.threads = worker_count() if threads is None else threads
        self.budget = budget
        self.window = self.threads * _JOBS_PER_THREAD
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="dcpx-crew") if self.threads else None

    def map(self, function: Callable[[T], R], jobs: Iterable[T], cost: Callable[[T], int]) -> Generator[R, None, None]:
        """As `ordered_map`, on these workers. `cost` says how many bytes a job and its result hold; one job is always
        pending, whatever it costs."""
        if self._pool is None:
            return (function(job) for job in jobs)
        return _ordered(self._pool, function, iter(jobs), self.window, cost, self.budget)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def check_crew(threads: int | None, budget: int) -> None:
    """ValueError for arguments that no Crew can have, so that they are refused before anything begins."""
    if threads is not None and (not isinstance(threads, int) or threads < 0):
        raise ValueError(f"threads must be a number, or None for as many as there are cores, not {threads!r}")
    if not isinstance(budget, int) or budget < 1:
        raise ValueError(f"budget must be a number of bytes, at least 1, not {budget!r}")


def ordered_map(function: Callable[[T], R], jobs: Iterable[T], window: int = WINDOW) -> Generator[R, None, None]:
    """Yield `function(job)` for every job, in order, computed on the shared pool, at most `window` pending.

    `jobs` is advanced by the caller's thread only as results are taken, so it may read a file. The first error, in
    order, is raised, and says how many jobs had failed besides if it is a DcpxError; by then no job is running any
    more, so that the buffers they use may be released. `function` must not use the pool itself.
    """
    iterator = iter(jobs)
    first = next(iterator, None)
    if first is None:
        return
    second = next(iterator, None)
    if second is None:
        yield function(first)  # a lone job isn't worth a thread
        return
    yield from _ordered(_shared_pool(), function, chain((first, second), iterator), window, lambda job: 0, 0)


def _ordered(
    pool: ThreadPoolExecutor,
    function: Callable[[T], R],
    jobs: Iterator[T],
    window: int,
    cost: Callable[[T], int],
    budget: int,
) -> Generator[R, None, None]:
    pending: deque[Future[R]] = deque()
    costs: deque[int] = deque()
    held = 0
    try:
        for job in jobs:
            price = cost(job)
            while pending and (len(pending) >= window or held + price > budget > 0):
                yield _take(pending)
                held -= costs.popleft()
            pending.append(submit(pool, function, job))
            costs.append(price)
            held += price
            del job
        while pending:
            yield _take(pending)
    except DcpxError as error:
        _settle(pending)
        others = sum(_error_of(future) not in (None, error) for future in pending)
        if others == 0:
            raise
        raise error.with_others(others, "failure", "failures") from error.__cause__
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


def _error_of(future: Future[R]) -> BaseException | None:
    return None if future.cancelled() else future.exception()


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
