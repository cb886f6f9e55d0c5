"""The worker pool: results in order, no more of them than asked for, and nothing running after an error."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from dcpx import SaveError, parallel
from dcpx.parallel import WINDOW, Crew, ordered_map, worker_count

PATIENCE = 60
"""Seconds after which a wait counts as a deadlock; no test waits that long unless it fails."""


class Gate:
    """A function whose jobs wait until they are let through, and that counts those inside."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0
        self.started: list[int] = []
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __call__(self, job: int) -> int:
        with self._lock:
            self.inside += 1
            self.started.append(job)
        self.entered.release()
        assert self.open.wait(PATIENCE)
        with self._lock:
            self.inside -= 1
        return job


@pytest.fixture
def two_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pool of two threads, however many cores there are."""
    monkeypatch.setattr(parallel, "worker_count", lambda: 2)
    monkeypatch.setattr(parallel, "_pool", None)
    yield
    if parallel._pool is not None:
        parallel._pool.shutdown()


@pytest.mark.parametrize("count", [0, 1, 2, 3, WINDOW, WINDOW + 1, 500])
@pytest.mark.parametrize("window", [1, 2, WINDOW])
def test_results_come_in_order(count: int, window: int) -> None:
    assert list(ordered_map(lambda job: job * job, range(count), window)) == [job * job for job in range(count)]


def test_order_holds_where_later_jobs_end_first(two_workers: None) -> None:
    second_done = threading.Event()

    def job(number: int) -> int:
        if number == 0:
            assert second_done.wait(PATIENCE)
        elif number == 1:
            second_done.set()
        return number

    assert list(ordered_map(job, range(4))) == [0, 1, 2, 3]


@pytest.mark.parametrize("window", [2, 3, WINDOW])
def test_window_bounds_what_is_taken(window: int) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    # A job beyond the window may have been taken from the iterator, but not handed to the pool.
    results = ordered_map(lambda number: number, jobs(), window)
    for done, _ in enumerate(results):
        assert len(taken) <= done + window + 1
    assert len(taken) == 100


def test_jobs_are_taken_by_the_callers_thread() -> None:
    threads = set()

    def jobs() -> Iterator[int]:
        for number in range(50):
            threads.add(threading.get_ident())
            yield number

    assert len(list(ordered_map(lambda number: number, jobs()))) == 50
    assert threads == {threading.get_ident()}


def test_lone_job_needs_no_thread() -> None:
    assert list(ordered_map(lambda _: threading.get_ident(), [0])) == [threading.get_ident()]


def test_a_crew_of_none_works_in_the_callers_thread() -> None:
    before = threading.active_count()
    with Crew(0, 1 << 20) as crew:
        done: list[int] = []
        results = crew.map(lambda job: (done.append(job), threading.get_ident()), range(3), lambda job: 0)
        assert next(results)[1] == threading.get_ident()
        assert done == [0], "nothing is done before it is asked for"
        results.close()
        with pytest.raises(ValueError, match="job 1"):
            list(crew.map(failing(1), range(3), lambda job: 0))
        assert threading.active_count() == before


def failing(*numbers: int) -> Callable[[int], int]:
    def function(job: int) -> int:
        if job in numbers:
            raise ValueError(f"job {job}")
        return job

    return function


def test_first_error_in_order_wins(two_workers: None) -> None:
    fifth_failed = threading.Event()

    def function(job: int) -> int:
        if job == 1:
            fifth_failed.wait(PATIENCE)
            raise ValueError("job 1")
        if job == 2:
            fifth_failed.set()
            raise KeyError("job 2, the earlier one in time")
        return job

    results = ordered_map(function, range(10))
    assert next(results) == 0
    with pytest.raises(ValueError, match="job 1"):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize(("others", "text"), [(0, "job 0"), (1, "job 0 (and 1 more failure)")])
def test_other_failures_are_counted(others: int, text: str, two_workers: None) -> None:
    together = threading.Barrier(2)

    def function(job: int) -> int:
        if job < 2:
            together.wait(PATIENCE)  # both run, whichever fails first
        if job <= others:
            raise (SaveError if job == 0 else ValueError)(f"job {job}")
        return job

    with pytest.raises(SaveError) as caught:
        list(ordered_map(function, range(2)))
    assert caught.value.cause == text


def test_failures_behind_an_error_of_the_iterator_are_counted(two_workers: None) -> None:
    failed = threading.Semaphore(0)

    def function(job: int) -> int:
        failed.release()
        raise ValueError(f"job {job}")

    def jobs() -> Iterator[int]:
        yield from range(3)
        assert all(failed.acquire(timeout=PATIENCE) for _ in range(3))
        raise SaveError("the tensor can't be had") from KeyError("why")

    with pytest.raises(SaveError) as caught:
        list(ordered_map(function, jobs()))
    assert caught.value.cause == "the tensor can't be had (and 3 more failures)"
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("number", [0, 1, WINDOW, 99])
def test_results_before_the_error_are_delivered(number: int) -> None:
    seen = []

    def take_all() -> None:
        for result in ordered_map(failing(number), range(100)):
            seen.append(result)

    with pytest.raises(ValueError, match=f"job {number}"):
        take_all()
    assert seen == list(range(number))


def test_no_job_runs_after_an_error(two_workers: None) -> None:
    gate = Gate()

    def function(job: int) -> int:
        if job:
            return gate(job)
        assert gate.entered.acquire(timeout=PATIENCE)  # another job is running by now
        threading.Timer(0.05, gate.open.set).start()
        raise ValueError("job 0")

    with pytest.raises(ValueError, match="job 0"):
        list(ordered_map(function, range(WINDOW)))
    assert gate.started
    assert gate.inside == 0


def test_no_job_runs_after_an_error_of_the_iterator(two_workers: None) -> None:
    gate = Gate()

    def jobs() -> Iterator[int]:
        yield from range(3)
        assert gate.entered.acquire(timeout=PATIENCE)
        threading.Timer(0.05, gate.open.set).start()
        raise OSError("the file can't be read")

    with pytest.raises(OSError, match="can't be read"):
        list(ordered_map(gate, jobs()))
    assert gate.started
    assert gate.inside == 0


def test_generator_that_is_closed_early(two_workers: None) -> None:
    gate = Gate()

    def function(job: int) -> int:
        return gate(job) if job else job

    results = ordered_map(function, range(100))
    assert next(results) == 0
    assert gate.entered.acquire(timeout=PATIENCE)
    threading.Timer(0.05, gate.open.set).start()
    results.close()
    assert gate.inside == 0
    assert len(gate.started) <= 2  # those that ran on the two threads; the others were cancelled
    assert list(ordered_map(lambda job: job, range(5))) == list(range(5))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_works_after_a_fork(two_workers: None) -> None:
    gate = Gate()
    busy = ordered_map(gate, range(4))
    starter = threading.Thread(target=lambda: next(busy))
    starter.start()
    assert gate.entered.acquire(timeout=PATIENCE)  # the pool has threads, which the child won't have
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        # A deadlock of the child's must not become one of the test run.
        threading.Timer(PATIENCE, os._exit, (1,)).start()
        os.write(write, repr(list(ordered_map(lambda job: job * job, range(10)))).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    gate.open.set()
    starter.join(PATIENCE)
    assert answer.decode() == repr([job * job for job in range(10)])
    assert list(busy) == [1, 2, 3]


def test_worker_count_is_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert 1 <= worker_count() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    for ranks, count in (("1", 16), ("4", 4), ("5", 3), ("64", 1), ("0", 16), ("", 16), ("-2", 16), ("many", 16)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        assert worker_count() == count, ranks
