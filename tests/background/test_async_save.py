"""`dcpx.async_save` in one process: what blocks, what is saved, who is told of an error, and how it ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import dcpx
from dcpx import background
from tests.support.leaks import nothing_left
from tests.support.tensor_kinds import KINDS
from tests.support.tensors import bits


def state_of(step: int) -> dict[str, Any]:
    weight = torch.full((300, 301), float(step))
    return {"w": weight, "tied": weight, "view": weight[10:20, 3:], "step": step, "log": [{"loss": [step]}]}


def blank() -> dict[str, Any]:
    return {
        "w": torch.zeros(300, 301),
        "tied": torch.zeros(300, 301),
        "view": torch.zeros(10, 298),
        "step": 0,
        "log": [{"loss": [0]}],
    }


def loaded(path: Path) -> dict[str, Any]:
    state = blank()
    dcpx.load(state, path)
    return state


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No save of another test is under way, or has left its error."""
    yield
    if background._last is not None:
        background._last.exception()
        background._last = None


class Gate:
    """Holds a save where it first tells of its progress."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, progress: object) -> None:
        self.reached.set()
        assert self.open.wait(60)


def test_what_changes_after_the_call_is_not_saved(tmp_path: Path):
    gate = Gate()
    state = state_of(1)
    handle = dcpx.async_save(state, tmp_path / "c", progress=gate)
    assert gate.reached.wait(60)
    assert not handle.done()
    assert "under way" in repr(handle)
    state["w"].fill_(9)
    state["log"][0]["loss"].append(9)
    gate.open.set()
    assert handle.result(60) is handle.result()
    assert handle.done()
    assert handle.exception() is None
    found = loaded(tmp_path / "c")
    assert torch.equal(found["w"], state_of(1)["w"])
    assert torch.equal(found["view"], torch.full((10, 298), 1.0))
    assert found["log"] == [{"loss": [1]}]
    assert dcpx.verify(tmp_path / "c").ok


def test_equal_tensors_are_stored_once(tmp_path: Path):
    state = state_of(1) | {"average": torch.full((300, 301), 1.0)}
    handle = dcpx.async_save(state, tmp_path / "c")
    state["average"].fill_(9)
    handle.result(60)
    assert {item.name: item.coding for item in dcpx.inspect(tmp_path / "c", "[!ls]*").items if item.dtype} == {
        "w": "float",
        "tied": "copy",
        "view": "float",
        "average": "copy",
    }
    found = blank() | {"average": torch.zeros(300, 301)}
    dcpx.load(found, tmp_path / "c")
    assert all(torch.equal(found[name], torch.full((300, 301), 1.0)) for name in ("w", "tied", "average"))


def test_the_next_waits(tmp_path: Path):
    gate = Gate()
    first = dcpx.async_save(state_of(1), tmp_path / "c", progress=gate)
    gate.reached.wait(60)
    threading.Timer(0.2, gate.open.set).start()
    second = dcpx.async_save(state_of(2), tmp_path / "c", overwrite=True)
    assert first.done(), "one at a time"
    second.result(60)
    assert loaded(tmp_path / "c")["step"] == 2


def test_the_next_is_refused(tmp_path: Path):
    gate = Gate()
    first = dcpx.async_save(state_of(1), tmp_path / "c", progress=gate)
    gate.reached.wait(60)
    with pytest.raises(dcpx.SaveError, match="still under way"):
        dcpx.async_save(state_of(2), tmp_path / "d", busy="refuse")
    gate.open.set()
    first.result(60)
    dcpx.async_save(state_of(2), tmp_path / "d", busy="refuse").result(60)


def test_an_error_at_result(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    dcpx.save(state_of(1), tmp_path / "c")
    handle = dcpx.async_save(state_of(2), tmp_path / "c")
    with pytest.raises(dcpx.SaveError, match="exists already"):
        handle.result(60)
    assert "exists already" in caplog.text, "for those who never ask"
    dcpx.async_save(state_of(3), tmp_path / "d").result(60)  # who was told isn't told again
    assert loaded(tmp_path / "c")["step"] == 1


def test_an_error_at_the_next_save(tmp_path: Path):
    dcpx.save(state_of(1), tmp_path / "c")
    dcpx.async_save(state_of(2), tmp_path / "c")
    with pytest.raises(dcpx.SaveError, match="exists already"):
        dcpx.async_save(state_of(3), tmp_path / "d")
    dcpx.async_save(state_of(4), tmp_path / "d").result(60)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mode": "fork"}, "mode"),
        ({"busy": "no"}, "busy"),
        ({"threads": -1}, "threads"),
        ({"mode": "process"}, "process group"),
        ({"user": {"x": object()}}, "user"),
    ],
    ids=["mode", "busy", "threads", "process", "user"],
)
def test_wrong_arguments_at_once(options: dict[str, Any], error: str, tmp_path: Path):
    with pytest.raises(ValueError, match=error):
        dcpx.async_save(state_of(1), tmp_path / "c", **options)
    assert background._last is None


def test_what_can_not_be_copied(tmp_path: Path):
    with pytest.raises(dcpx.SaveError, match=r"can't be copied.*'bad'"):
        dcpx.async_save({**state_of(1), "bad": threading.Lock()}, tmp_path / "c")
    dcpx.async_save(state_of(1), tmp_path / "c").result(60)


def test_the_training_keeps_its_collector(tmp_path: Path):
    gate = Gate()
    handle = dcpx.async_save(state_of(1), tmp_path / "c", progress=gate)
    gate.reached.wait(60)
    assert gc.isenabled()
    gate.open.set()
    handle.result(60)


def test_nothing_stays(tmp_path: Path):
    """Memory, threads and files, over fifty saves."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    state = {"w": torch.rand(4 << 20), **state_of(1)}
    for _ in range(5):
        dcpx.async_save(state, tmp_path / "c", overwrite=True, sync=False).result(60)
    with nothing_left():
        before = resident()
        for _ in range(50):
            dcpx.async_save(state, tmp_path / "c", overwrite=True, sync=False).result(60)
        background._last = None
        gc.collect()
        assert resident() - before < 32 << 20
    assert len(os.listdir(tmp_path / "c")) == 3


def script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(textwrap.dedent(text))
    return subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=120)


def test_an_interpreter_that_ends_waits(tmp_path: Path):
    done = script(
        """
        import torch, dcpx
        dcpx.async_save({"w": torch.ones(4 << 20)}, "c")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    state = {"w": torch.zeros(4 << 20)}
    dcpx.load(state, tmp_path / "c")
    assert state["w"].sum() == 4 << 20


def test_an_interpreter_that_ends_waits_for_the_process(tmp_path: Path):
    done = script(
        """
        import os, torch, torch.distributed as dist, dcpx
        if __name__ == "__main__":
            dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/meeting", rank=0, world_size=1)
            dcpx.async_save({"w": torch.ones(4 << 20)}, "c", mode="process")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "has failed" not in done.stderr
    state = {"w": torch.zeros(4 << 20)}
    dcpx.load(state, tmp_path / "c")
    assert state["w"].sum() == 4 << 20


def test_a_script_without_a_guard_is_told(tmp_path: Path):
    done = script(
        """
        import os, sys, torch, torch.distributed as dist, dcpx
        if os.path.exists("meeting"):
            sys.exit(3)
        dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/meeting", rank=0, world_size=1)
        try:
            dcpx.async_save({"w": torch.ones(4)}, "c", mode="process").result()
        except dcpx.SaveError as error:
            print(error)
        """,
        tmp_path,
    )
    assert "under if __name__ == '__main__'" in done.stdout, done.stderr


def test_a_handler_of_a_signal_saves(tmp_path: Path):
    """Which comes while another save waits for the one before, or copies its state."""
    gate = Gate()
    first = dcpx.async_save(state_of(1), tmp_path / "1", progress=gate)
    assert gate.reached.wait(60)
    handles: list[dcpx.SaveHandle] = []

    def handler(*_: object) -> None:
        gate.open.set()
        handles.append(dcpx.async_save(state_of(9), tmp_path / "9"))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        second = dcpx.async_save(state_of(2), tmp_path / "2")
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    for handle in (first, second, *handles):
        handle.result(60)
    assert [loaded(tmp_path / step)["step"] for step in "129"] == [1, 2, 9]


class SavesItself:
    """A state that saves another when it is asked for what it has."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def state_dict(self) -> dict[str, Any]:
        self.handle = dcpx.async_save(state_of(3), self.path)
        return {"x": 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


def test_a_state_that_saves_another(tmp_path: Path):
    state = SavesItself(tmp_path / "inner")
    dcpx.async_save({"s": state}, tmp_path / "outer").result(60)
    state.handle.result(60)
    assert loaded(tmp_path / "inner")["step"] == 3
    assert dcpx.load_all(tmp_path / "outer") == {"s": {"x": 1}}


def test_refused_while_another_thread_waits(tmp_path: Path):
    gate = Gate()
    first = dcpx.async_save(state_of(1), tmp_path / "1", progress=gate)
    assert gate.reached.wait(60)
    waiting = threading.Thread(target=lambda: dcpx.async_save(state_of(2), tmp_path / "2").result(60))
    waiting.start()
    while background._turn.acquire(blocking=False):  # until that thread holds it
        background._turn.release()
    with pytest.raises(dcpx.SaveError, match="beginning a save"):
        dcpx.async_save(state_of(3), tmp_path / "3", busy="refuse")
    gate.open.set()
    waiting.join(60)
    first.result(60)
    assert loaded(tmp_path / "2")["step"] == 2


def test_a_forked_child_saves(tmp_path: Path):
    done = script(
        """
        import os, threading, torch, dcpx
        torch.set_num_threads(1)
        reached, going = threading.Event(), threading.Event()
        def hold(progress):
            reached.set()
            assert going.wait(60)
        first = dcpx.async_save({"w": torch.ones(100)}, "parent", progress=hold)
        reached.wait(60)
        child = os.fork()
        if child == 0:
            dcpx.async_save({"w": torch.ones(100)}, "child").result(60)
            os._exit(7)
        _, status = os.waitpid(child, 0)
        going.set()
        first.result(60)
        print(os.waitstatus_to_exitcode(status))
        """,
        tmp_path,
    )
    assert done.stdout == "7\n", done.stderr
    assert dcpx.verify(tmp_path / "child").ok
    assert dcpx.verify(tmp_path / "parent").ok


def tensors_held(size: int) -> int:
    gc.collect()
    return sum(isinstance(one, torch.Tensor) and one.numel() == size for one in gc.get_objects())


def test_an_error_keeps_no_copy_of_the_state(tmp_path: Path):
    size = 1_000_003
    state = {"w": torch.ones(size)}
    dcpx.save(state, tmp_path / "c")
    handles = [dcpx.async_save(state, tmp_path / "c") for _ in range(1)]
    error = handles[0].exception(60)
    assert isinstance(error, dcpx.SaveError)
    told = "".join(traceback.format_exception(error))
    assert "in check_free" in told, "where it comes from is still told"
    assert tensors_held(size) == 1


def test_a_time_that_is_up(tmp_path: Path):
    gate = Gate()
    handle = dcpx.async_save(state_of(1), tmp_path / "c", progress=gate)
    with pytest.raises(TimeoutError):
        handle.result(timeout=0.01)
    gate.open.set()
    handle.result(60)


@pytest.mark.parametrize("call", [dcpx.save, dcpx.load, dcpx.async_save])
@pytest.mark.parametrize("state", [None, [1]])
def test_what_is_no_state(call: Any, state: object, tmp_path: Path):
    with pytest.raises(TypeError, match="must be a dictionary, not a"):
        call(state, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_an_error_that_nobody_took_is_seen(tmp_path: Path):
    dcpx.save(state_of(1), tmp_path / "c")
    done = script(
        """
        import torch, dcpx
        dcpx.async_save({"w": torch.ones(100)}, "c")
        """,
        tmp_path,
    )
    assert "exists already" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tensor(kind: str, tmp_path: Path):
    """It is saved as by a call that waits, bit for bit, or refused."""
    tensor = KINDS[kind]
    state = {"x": {"y": [tensor]}, "module": torch.nn.Linear(3, 4).state_dict()}
    with torch.serialization.safe_globals([type(tensor)]):
        dcpx.save(state, tmp_path / "a")
        try:
            dcpx.async_save(state, tmp_path / "b").result(60)
        except dcpx.SaveError:
            if tensor.is_quantized:
                return
            raise
        found = []
        for path in ("a", "b"):
            target = torch.empty_like(tensor) if tensor.is_quantized else torch.empty(tensor.shape, dtype=tensor.dtype)
            dcpx.load({"x": {"y": [target]}, "module": torch.nn.Linear(3, 4).state_dict()}, tmp_path / path)
            found.append(bits(target.int_repr() if tensor.is_quantized else target))
    assert found[0] == found[1]
