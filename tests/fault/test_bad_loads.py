"""Loads that can't succeed: typed errors that say what and where, nothing left behind, and no half-told planner."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.support.leaks import nothing_left
from tests.support.planners import Part, PartsPlanner, RaisingPlanner, read
from tests.support.tensors import bits, blank, weights
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.planner import ReadItem

import dcpx
from dcpx import CorruptError, DcpxError, LoadError, MissingFileError, TruncatedError
from dcpx.store import source

STATE = {str(number): weights(torch.bfloat16, (1000, 1000), number) for number in range(6)}
OPTIONS = [(0, 1 << 28), (1, 1), (3, 1 << 28)]
crews = pytest.mark.parametrize(("threads", "budget"), OPTIONS)


class Breaking(PartsPlanner):
    """Breaks something when the first tensor is complete."""

    def __init__(self, break_it: Callable[[], object]) -> None:
        super().__init__([Part(name, (0, 0), blank(tensor)) for name, tensor in STATE.items()])
        self._break = break_it

    def commit_tensor(self, request: ReadItem, tensor: torch.Tensor) -> None:
        super().commit_tensor(request, tensor)
        if len(self.committed) == 1:
            self._break()


def assert_committed_is_complete(planner: PartsPlanner) -> None:
    for number in planner.committed:
        name, _, target = planner.parts[number]
        assert target is not None
        assert bits(target) == bits(STATE[name])


@pytest.mark.parametrize("stock", [False, True], ids=["dcpx", "stock"])
def test_files_that_vanish(stock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files that are open stay readable; of many not all are opened before the first is read."""
    monkeypatch.setattr(source, "_MOST_HELD", 1)
    path = tmp_path / "c"
    kind: Any = FileSystemWriter if stock else dcpx.Writer
    dcp.save(STATE, storage_writer=kind(path, single_file_per_rank=False, sync_files=False))
    planner = Breaking(lambda: [file.unlink() for file in path.glob("*.distcp")])
    with nothing_left(), pytest.raises(MissingFileError) as caught:
        read(path, planner, threads=1, budget=1)
    assert str(caught.value.where.file).endswith(".distcp")
    assert planner.committed
    assert_committed_is_complete(planner)


@pytest.mark.parametrize("pack", [dcpx.Pack(), dcpx.Pack("raw"), dcpx.ZStandard(), None])
def test_a_file_cut_while_it_is_read(pack: Any, tmp_path: Path):
    path = tmp_path / "c"
    dcpx.save(STATE, path, pack=pack, threads=1, sync=False)
    (file,) = path.glob("*.distcp")
    planner = Breaking(lambda: os.truncate(file, file.stat().st_size // 2))
    with nothing_left(), pytest.raises(TruncatedError) as caught:
        read(path, planner, threads=1, budget=1)
    assert caught.value.where.file == str(file)
    assert caught.value.where.item is not None
    assert_committed_is_complete(planner)


def test_the_first_item_that_is_cut_off_is_named(tmp_path: Path):
    """Also where it is read together with others that are still there."""
    state = {f"item {number:03}": torch.full((50,), float(number)) for number in range(100)}
    dcpx.save(state, tmp_path / "c", sync=False)
    (file,) = (tmp_path / "c").glob("*.distcp")
    stored = dcpx.Reader(tmp_path / "c").read_metadata().storage_data
    offsets = {index.fqn: info.offset for index, info in stored.items()}
    os.truncate(file, offsets["item 070"] + 10)
    with pytest.raises(TruncatedError) as caught:
        dcpx.load({name: torch.zeros(50) for name in state}, tmp_path / "c")
    assert caught.value.where.item == "item 070"


# --- what the error says ----------------------------------------------------------------------------------------------


@crews
def test_partly_filled_targets_are_named(threads: int, budget: int, tmp_path: Path):
    dcpx.save(STATE, tmp_path / "c", sync=False)
    (file,) = (tmp_path / "c").glob("*.distcp")
    info = {index.fqn: one for index, one in dcpx.Reader(tmp_path / "c").read_metadata().storage_data.items()}["3"]
    with file.open("r+b") as data:
        data.seek(info.offset + info.length // 2)
        byte = data.read(1)
        data.seek(-1, os.SEEK_CUR)
        data.write(bytes([byte[0] ^ 1]))
    planner = Breaking(lambda: None)
    with nothing_left(), pytest.raises(CorruptError, match=r"partly filled may be .*'3'") as caught:
        read(tmp_path / "c", planner, threads=threads, budget=budget)
    assert caught.value.where.item == "3"
    assert caught.value.where.chunk is not None
    for number in planner.committed:
        assert repr(str(number)) not in caught.value.cause, "it is complete"


def test_a_target_that_cannot_be_written_to(tmp_path: Path):
    dcpx.save({"x": torch.arange(12.0).view(3, 4)}, tmp_path / "c")
    with nothing_left(), pytest.raises(LoadError, match="memory") as caught:
        dcpx.load({"x": torch.zeros(4).expand(3, 4)}, tmp_path / "c")
    assert caught.value.where.item == "x"


# --- planners that raise ----------------------------------------------------------------------------------------------


class PlannerError(RuntimeError):
    """A planner's own."""


MIXED: dict[str, Any] = {
    "small": torch.ones(50),
    "large": weights(torch.float32, (1000, 1001)),
    "object": (1, 2),
    "long object": os.urandom(3_000_000),
}
METHODS = [("resolve", "small"), ("resolve", "large"), ("commit", "small"), ("commit", "large")]
METHODS += [("load", "object"), ("load", "long object")]


def mixed_parts() -> list[Part]:
    targets = {name: blank(one) for name, one in MIXED.items() if isinstance(one, torch.Tensor)}
    parts = [Part(name, (0,) * target.dim(), target) for name, target in targets.items()]
    return [*parts, Part("object"), Part("long object")]


@pytest.fixture(scope="module", params=["dcpx", "stock"])
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "c"
    writer: Any = {"dcpx": dcpx.Writer, "stock": FileSystemWriter}[request.param](path, sync_files=False)
    dcp.save(MIXED, storage_writer=writer)
    return path


@pytest.mark.parametrize(("method", "name"), METHODS)
@pytest.mark.parametrize("error", [PlannerError("no luck"), ValueError("no luck"), Exception("no luck")], ids=repr)
@crews
def test_a_planner_that_raises(threads: int, budget: int, error: Exception, method: str, name: str, mixed: Path):
    planner = RaisingPlanner(mixed_parts(), method, name, error)
    with nothing_left(), pytest.raises(DcpxError, match="no luck") as caught:
        read(mixed, planner, threads=threads, budget=budget)
    if method != "load":  # an object's bytes can be wrong
        assert isinstance(caught.value, LoadError)


@pytest.mark.parametrize(("method", "name"), METHODS)
def test_the_item_at_which_a_planner_raises_is_named(method: str, name: str, mixed: Path):
    with pytest.raises(DcpxError) as caught:
        read(mixed, RaisingPlanner(mixed_parts(), method, name, PlannerError("no luck")))
    assert caught.value.where.item == name


@pytest.mark.parametrize(("method", "name"), METHODS)
def test_a_planner_that_is_interrupted(method: str, name: str, mixed: Path):
    with nothing_left(), pytest.raises(KeyboardInterrupt):
        read(mixed, RaisingPlanner(mixed_parts(), method, name, KeyboardInterrupt()))


def test_an_error_of_dcpx_passes_as_it_is(mixed: Path):
    for method, name in METHODS:
        planner = RaisingPlanner(mixed_parts(), method, name, dcpx.UnsupportedError("not here"))
        with pytest.raises(dcpx.UnsupportedError, match="not here"):
            read(mixed, planner)


def test_an_object_that_cannot_be_unpickled_here(mixed: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'theirs'")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises((DcpxError, CheckpointException), match="theirs") as caught:
        dcpx.load({"object": None}, mixed)
    assert isinstance(caught.value, DcpxError)
    assert caught.value.where.item == "object"
