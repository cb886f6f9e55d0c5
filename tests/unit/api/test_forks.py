"""A process that forks while another of its threads saves or loads: the child is as one that never did."""

from __future__ import annotations

import faulthandler
import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import dcpx
from dcpx import api
from dcpx.catalog.setting import HeldSetting
from dcpx.loading import targets
from dcpx.loading.safe_list import also_allowed, list_lock
from tests.support.leftovers import loaded, state

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")

PATIENCE = 40
"""Seconds after which a child counts as hanging."""


def in_child(work: Callable[[], bool]) -> None:
    """`work` is true in a forked child, which comes to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        torch.set_num_threads(1)  # torch's own threads don't survive a fork: its data loader does so, too
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    end = time.monotonic() + PATIENCE
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert ended[1] == 0


@contextmanager
def meanwhile(work: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """The block runs once `work`, in a thread, has called what it is given, which waits for the block's end."""
    inside, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert go_on.wait(2 * PATIENCE)

    thread = threading.Thread(target=work, args=(wait,))
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        yield
    finally:
        go_on.set()
        thread.join()


def test_the_collector_and_the_log(tmp_path: Path):
    def save(wait: Callable[[], None]) -> None:
        def look(progress: object) -> None:
            if not waited:
                waited.append(True)
                wait()

        waited: list[bool] = []
        dcpx.save(state(1), tmp_path, progress=look)

    with meanwhile(save):
        assert not gc.isenabled()
        in_child(gc.isenabled)
    assert gc.isenabled()

    def load(wait: Callable[[], None]) -> None:
        with api._quiet:
            wait()

    filters = list(logging.root.filters)
    with meanwhile(load):
        assert logging.root.filters != filters
        in_child(lambda: logging.root.filters == filters)
    assert logging.root.filters == filters


@pytest.mark.parametrize("before", [True, False])
def test_a_setting(before: bool):
    values = [before]
    setting = HeldSetting(lambda: values[-1], values.append, not before)

    def hold(wait: Callable[[], None]) -> None:
        with setting, setting:
            wait()

    def is_as_new() -> bool:
        as_before = values[-1] is before
        with setting:
            held = values[-1] is not before
        return as_before and held and values[-1] is before

    with meanwhile(hold):
        in_child(is_as_new)
        with setting:  # the thread that forks is in such a block itself
            in_child(is_as_new)
    assert values[-1] is before
    with setting:
        if (child := os.fork()) == 0:
            setting.__exit__(None, None, None)  # it leaves the block that it was born in
            os._exit(0 if is_as_new() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert values[-1] is not before, "what a child does is its own"
    assert values[-1] is before


def test_a_change_of_a_setting():
    """The child would not know whether the value is the block's, or the one before."""
    values = [True]
    inside, forked = threading.Event(), threading.Event()

    def write(value: bool) -> None:
        values.append(value)
        inside.set()
        forked.wait(0.3)  # a fork must wait for this

    setting = HeldSetting(lambda: values[-1], write, False)
    thread = threading.Thread(target=setting.__enter__)
    thread.start()
    assert inside.wait(PATIENCE)
    in_child(lambda: values[-1])
    forked.set()
    thread.join()
    setting.__exit__(None, None, None)
    assert values[-1]


def test_a_load_in_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another thread was amidst asking for a target's memory."""
    saved = torch.rand(1 << 20)  # so large that it is loaded chunk by chunk
    dcpx.save({"x": saved}, tmp_path)
    parent = os.getpid()

    def is_loaded() -> bool:
        target = torch.zeros_like(saved)
        dcpx.load({"x": target}, tmp_path)
        return torch.equal(target, saved)

    def stopping(stock: Callable[..., Any], wait: Callable[[], None]) -> Callable[..., Any]:
        def stop(*arguments: Any, **options: Any) -> Any:
            if os.getpid() == parent and not stopped:
                stopped.append(True)
                wait()
            return stock(*arguments, **options)

        stopped: list[bool] = []
        return stop

    def load(wait: Callable[[], None]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(targets, "bytes_of", stopping(targets.bytes_of, wait))
            is_loaded()

    with meanwhile(load):
        in_child(is_loaded)


def test_a_fork_while_torchs_list_of_what_is_safe_is_longer() -> None:
    """The list is the process's: the child's must be as it was, and free to be looked at."""
    inside, allowed = threading.Event(), set(torch.serialization.get_safe_globals())

    def lengthen() -> None:
        with also_allowed({"somebodys.Class": Path}):
            inside.set()
            time.sleep(0.3)

    thread = threading.Thread(target=lengthen)
    thread.start()
    assert inside.wait(PATIENCE)
    in_child(lambda: set(torch.serialization.get_safe_globals()) == allowed and list_lock.acquire(timeout=PATIENCE))
    thread.join()


def _loads(path: Path) -> None:
    faulthandler.dump_traceback_later(PATIENCE / 2, exit=True)  # where it hangs, if it does
    # The stream that pytest has DCP's log written to has a lock that Python doesn't free after a fork.
    logging.disable()
    torch.set_num_threads(1)
    assert loaded(path) == 1
    assert gc.isenabled()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_every_kind(method: str, tmp_path: Path):
    dcpx.save(state(1), tmp_path / "c")
    context = multiprocessing.get_context(method)
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            dcpx.save(state(2), tmp_path / "other", overwrite=True, sync=False)
            loaded(tmp_path / "other")

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        for _ in range(8 if method == "fork" else 1):
            process = context.Process(target=_loads, args=(tmp_path / "c",))
            process.start()
            process.join(PATIENCE)
            hangs = process.is_alive()
            if hangs:
                process.kill()
                process.join()
            assert (hangs, process.exitcode) == (False, 0)
    finally:
        done.set()
        thread.join()
