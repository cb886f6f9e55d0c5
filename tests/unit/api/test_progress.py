"""Progress: what a callback is told, what its exceptions do, and the bar in the terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx import LoadError, SaveError, api
from dcpx.progress import Meter, Progress
from tests.support.leaks import nothing_left
from tests.support.planners import Part, read_parts
from tests.support.tensors import blank, weights

TENSORS = {
    **{f"small {number}": torch.full((50,), float(number)) for number in range(300)},
    "large": weights(torch.bfloat16, (3000, 1001)),
    "turned": weights(torch.float32, (1001, 700)).t(),
    "conjugated": torch.ones(70, dtype=torch.complex64).conj(),
    "empty": torch.zeros(3, 0),
    "scalar": torch.tensor(1.0),
}
OBJECTS = {"step": (1, "x"), "long object": b"x" * 3_000_000}
STATE: dict[str, Any] = TENSORS | OBJECTS
BYTES = sum(tensor.nbytes for tensor in TENSORS.values())

PACKS: dict[str, Callable[[], Any]] = {
    "pack": dcpx.Pack,
    "small chunks": lambda: dcpx.Pack(chunk_size=4096),
    "plain": lambda: None,
    "zstd": dcpx.ZStandard,
    "chain": lambda: dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()),
}
every_pack = pytest.mark.parametrize("pack", PACKS)
threads = pytest.mark.parametrize("threads", [0, 4])


def targets() -> dict[str, Any]:
    return {name: blank(tensor) for name, tensor in TENSORS.items()} | dict.fromkeys(OBJECTS)


def assert_told_all(told: list[Progress], nbytes: int, items: int) -> None:
    assert {(one.bytes_total, one.items_total) for one in told} == {(nbytes, items)}
    assert all(a.bytes_done <= b.bytes_done and a.items_done <= b.items_done for a, b in pairwise(told))
    assert all(one.bytes_done <= nbytes and one.items_done <= items for one in told)
    assert (told[-1].bytes_done, told[-1].items_done) == (nbytes, items)


@every_pack
@threads
def test_a_save_is_told_from_beginning_to_end(pack: str, threads: int, tmp_path: Path):
    told: list[Progress] = []
    dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), threads=threads, progress=told.append, sync=False)
    assert_told_all(told, BYTES, len(STATE))
    assert len(told) > 3


@every_pack
@threads
def test_a_load_is_told_from_beginning_to_end(pack: str, threads: int, tmp_path: Path):
    dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), sync=False)
    told: list[Progress] = []
    dcpx.load(targets(), tmp_path / "c", threads=threads, progress=told.append)
    # DCP asks for nothing of a tensor without elements.
    assert_told_all(told, BYTES, len(STATE) - 1)
    assert len(told) > 3


def test_a_stock_checkpoint_and_targets_of_another_kind(tmp_path: Path):
    dcp.save(STATE, storage_writer=FileSystemWriter(tmp_path, sync_files=False))
    told: list[Progress] = []
    loaded = targets() | {"large": torch.zeros(1001, 3000, dtype=torch.float64).t()}
    dcpx.load(loaded, tmp_path, progress=told.append)
    assert_told_all(told, BYTES, len(STATE) - 1)


def test_parts_count_as_much_as_they_are(tmp_path: Path):
    dcpx.save(STATE, tmp_path / "c", sync=False)
    parts = [
        Part("large", (7, 5), torch.zeros(2000, 900, dtype=torch.bfloat16)),
        Part("large", (0, 0), torch.zeros(1, 1, dtype=torch.float64)),
        Part("large", (0, 0), torch.zeros(0, 1, dtype=torch.bfloat16)),
        Part("turned", (3, 4), torch.zeros(500, 100).t()[:90]),
        Part("step"),
    ]
    told: list[Progress] = []
    read_parts(tmp_path / "c", parts, progress=told.append)
    assert_told_all(told, 2 * 2000 * 900 + 2 + 4 * 90 * 500, len(parts))


def test_one_thread_tells_at_a_time():
    inside = threading.Lock()
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        assert inside.acquire(blocking=False)
        told.append(progress)
        inside.release()

    meter = Meter(tell, 40_000, 4000)
    workers = [threading.Thread(target=lambda: [meter.add(10, 1) for _ in range(1000)]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert_told_all(told, 40_000, 4000)


# What it raises


class StopError(Exception):
    """What a callback raises to end a save or load."""


class Stopping:
    """Raises at the n-th call."""

    def __init__(self, call: int, error: BaseException) -> None:
        self.calls, self._call, self._error = 0, call, error

    def __call__(self, progress: Progress) -> None:
        self.calls += 1
        if self.calls >= self._call:
            raise self._error


ERRORS = pytest.mark.parametrize("error", [StopError("enough"), ValueError("enough"), RuntimeError("enough")], ids=repr)


@every_pack
@threads
@pytest.mark.parametrize("call", [1, 3])
def test_an_exception_ends_a_save(call: int, pack: str, threads: int, tmp_path: Path):
    stopping = Stopping(call, StopError("enough"))
    with nothing_left(), pytest.raises(SaveError, match="enough"):
        dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), threads=threads, progress=stopping, sync=False)
    assert not (tmp_path / "c" / ".metadata").exists()
    assert list((tmp_path / "c").glob("*.distcp")) == []
    dcpx.save(STATE, tmp_path / "c", sync=False)


@ERRORS
@pytest.mark.parametrize("call", [1, 3])
def test_an_exception_ends_a_load(call: int, error: Exception, tmp_path: Path):
    dcpx.save(STATE, tmp_path / "c", sync=False)
    with nothing_left(), pytest.raises(LoadError, match="enough"):
        dcpx.load(targets(), tmp_path / "c", progress=Stopping(call, error))
    dcpx.load(targets(), tmp_path / "c")


def test_an_interrupt_stays_one(tmp_path: Path):
    with nothing_left(), pytest.raises(KeyboardInterrupt):
        dcpx.save(STATE, tmp_path / "c", progress=Stopping(2, KeyboardInterrupt()), sync=False)
    assert not (tmp_path / "c" / ".metadata").exists()
    dcpx.save(STATE, tmp_path / "c", sync=False)
    with nothing_left(), pytest.raises(KeyboardInterrupt):
        dcpx.load(targets(), tmp_path / "c", progress=Stopping(2, KeyboardInterrupt()))


# The bar


def test_a_bar_on_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    dcpx.save(STATE, tmp_path / "c", progress=True, sync=False)
    out, err = capfd.readouterr()
    assert out == ""
    # Narrow terminals wrap it.
    assert "saving" in err.replace("\n", "")
    assert f"{len(STATE)}/{len(STATE)}" in err.replace("\n", "")
    dcpx.load(targets(), tmp_path / "c", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "loading" in err.replace("\n", "")


def test_silent_by_default(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    dcpx.save(STATE, tmp_path / "c", sync=False)
    dcpx.load(targets(), tmp_path / "c")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("state", [{}, {"o": (1, 2)}, {"empty": torch.zeros(0)}], ids=["nothing", "objects", "empty"])
def test_a_bar_for_no_bytes(state: dict[str, Any], tmp_path: Path):
    dcpx.save(state, tmp_path / "c", progress=True)
    dcpx.load(dict(state), tmp_path / "c", progress=True)


def test_only_the_first_rank_shows_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(api, "_rank", lambda: 1)
    dcpx.save(STATE, tmp_path / "c", progress=True, sync=False)
    assert capfd.readouterr().err == ""


def test_a_failed_save_ends_its_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with nothing_left(), pytest.raises(SaveError):
        dcpx.save({"a": torch.ones(3), "f": lambda: 0}, tmp_path / "c", progress=True)
    dcpx.save({"a": torch.ones(3)}, tmp_path / "c", progress=True)  # only one bar can be live


def test_without_rich_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name == "rich" or name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ImportError, match="pip install rich"):
        dcpx.save({"a": torch.ones(3)}, tmp_path / "c", progress=True)
    assert not (tmp_path / "c").exists()
    told: list[Progress] = []
    dcpx.save({"a": torch.ones(3)}, tmp_path / "c", progress=told.append)
    assert told


def test_verify_shows_a_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dcpx.save({"x": torch.ones(1000)}, tmp_path / "c")
    assert dcpx.verify(tmp_path / "c", progress=True).ok
    assert "verifying" in capsys.readouterr().err
