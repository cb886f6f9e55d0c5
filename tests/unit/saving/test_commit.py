"""What a save leaves in a directory, what it removes and what it never touches."""

from __future__ import annotations

import io
import os
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import TensorProperties
from torch.distributed.checkpoint.planner import LoadPlan, WriteItem

import dcpx
from dcpx import CorruptError, LoadError, NotFoundError, SaveError, UnsupportedError
from dcpx.catalog.leftovers import find_leftovers
from dcpx.dcp.private import HAS_RANK_LOCAL
from dcpx.saving import commit
from tests.support.leaks import nothing_left
from tests.support.saves import assert_one_checkpoint, loaded, names, state
from tests.support.versions import rank_local, without_rank_local


def test_the_files_of_a_save(tmp_path: Path):
    before = datetime.now(timezone.utc).replace(microsecond=0)
    dcpx.save(state(1), tmp_path / "a" / "b" / "c", user={"step": 3, "loss": 0.5, "git": "abc"})
    path = tmp_path / "a" / "b" / "c"
    save = assert_one_checkpoint(path)
    reader = dcpx.Reader(path)
    metadata = reader.read_metadata()
    manifest = reader.manifest
    assert manifest is not None
    assert manifest.checkpoint == save == metadata.storage_meta.save_id  # type: ignore[union-attr]
    assert manifest.user == {"step": 3, "loss": 0.5, "git": "abc"}
    assert before <= datetime.fromisoformat(manifest.created.replace("Z", "+00:00")) <= datetime.now(timezone.utc)
    assert (manifest.torch, manifest.world_size) == (torch.__version__, 1)
    assert [(file.name, file.size) for file in manifest.files] == [
        (f"{save}__0_0.distcp", (path / f"{save}__0_0.distcp").stat().st_size)
    ]
    assert {item.fqn for item in manifest.items} == set(state(1))
    assert loaded(path) == 1


def test_an_existing_checkpoint_is_refused(tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    save = assert_one_checkpoint(tmp_path)
    with nothing_left(), pytest.raises(SaveError, match=r"exists already.*overwrite=True"):
        dcpx.save(state(2), tmp_path)
    assert assert_one_checkpoint(tmp_path) == save
    assert loaded(tmp_path) == 1


@pytest.mark.parametrize("stock", [False, True], ids=["dcpx", "stock"])
def test_what_is_replaced_is_removed_and_nothing_else(stock: bool, tmp_path: Path):
    path = tmp_path / "c"
    path.mkdir()
    (path / "optimizer").mkdir()
    others = ["model.safetensors", "notes.txt", "__9_9.distcp", "trainer_state.json", "x.manifest.json"]
    for name in others:
        (path / name).write_bytes(b"a trainer's own")
    writer: Any = FileSystemWriter(path, thread_count=2) if stock else dcpx.Writer(path)
    dcp.save(state(1), storage_writer=writer)
    assert len(names(path)) > len(others) + 2
    dcpx.save(state(2), path, overwrite=True)
    assert_one_checkpoint(path, "optimizer", *others)
    assert loaded(path) == 2


def test_a_pointer_that_names_a_trainers_file(tmp_path: Path):
    """What an old checkpoint says of itself decides nothing about other files."""
    dcp.save(state(1), storage_writer=FileSystemWriter(tmp_path))
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.relative_path = "model.safetensors"
    (tmp_path / "model.safetensors").write_bytes(b"dear")
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    dcpx.save(state(2), tmp_path, overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() == b"dear"
    assert loaded(tmp_path) == 2


@pytest.mark.parametrize("content", [b"", b"damaged", b"\x80\x04N."])
def test_a_pointer_that_cannot_be_read_can_be_replaced(content: bytes, tmp_path: Path):
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(SaveError, match="exists already"):
        dcpx.save(state(1), tmp_path)
    with pytest.warns(UserWarning, match=r"saved, but .*\.metadata referred to"):
        dcpx.save(state(1), tmp_path, overwrite=True)
    assert_one_checkpoint(tmp_path)
    assert loaded(tmp_path) == 1


def test_the_stock_reader_reads_it(tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    dcpx.save(state(2), tmp_path, overwrite=True)
    found: dict[str, Any] = {"x": torch.zeros(300), "object": None}
    registry: Any = dcpx.default_registry()
    dcp.load(found, storage_reader=FileSystemReader(tmp_path, _extension_registry=registry))
    assert found["object"] == ("saved", 2)


def test_plans_from_dcps_cache(tmp_path: Path):
    """They name an earlier save: the files must have other names all the same."""
    for seed in (1, 2, 3):
        planner = DefaultSavePlanner(enable_plan_caching=True)
        dcpx.save(state(seed), tmp_path, overwrite=True, planner=planner)
        assert len(names(tmp_path)) == 3
        assert loaded(tmp_path) == seed


def test_one_writer_for_several_saves(tmp_path: Path):
    writer = dcpx.Writer(tmp_path / "1", overwrite=True)
    for seed in (1, 2):
        dcp.save(state(seed), storage_writer=writer)
        assert_one_checkpoint(tmp_path / "1")
        assert loaded(tmp_path / "1") == seed
    dcp.save(state(3), checkpoint_id=tmp_path / "2", storage_writer=writer)
    assert (loaded(tmp_path / "1"), loaded(tmp_path / "2")) == (2, 3)


# --- what a load must be able to read ---------------------------------------------------------------------------------


@contextmanager
def newer_torch() -> Iterator[None]:
    """In a block: a torch whose tensors have properties that nobody knows yet."""
    known = TensorProperties.__getstate__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TensorProperties, "__getstate__", lambda self: (*known(self), "new", "newer"))
        yield


def test_what_could_not_be_loaded_is_not_committed(tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    before = names(tmp_path)
    with newer_torch(), pytest.raises(SaveError, match=r"could not be loaded.*properties have \d fields") as caught:
        dcpx.save(state(2), tmp_path, overwrite=True)
    assert "upgrade dcpx" in caught.value.remedy
    assert names(tmp_path) == before
    assert loaded(tmp_path) == 1


def test_who_wrote_what_can_not_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It isn't damaged: the manifest knows its content."""
    with newer_torch():
        monkeypatch.setattr(commit, "check_readable", lambda *arguments: None)
        dcpx.save(state(1), tmp_path)
    with pytest.raises(UnsupportedError, match=rf"written by torch {re.escape(torch.__version__)} and dcpx "):
        loaded(tmp_path)
    (tmp_path / next(name for name in names(tmp_path) if name.endswith(".json"))).unlink()
    with pytest.raises(UnsupportedError, match=r"properties have \d fields \("):
        loaded(tmp_path)


# --- without collectives ----------------------------------------------------------------------------------------------


@without_rank_local
def test_no_rank_by_itself(tmp_path: Path):
    with pytest.raises(SaveError, match="without collectives"):
        dcpx.save(state(1), tmp_path, use_collectives=False)
    assert names(tmp_path) == []
    with pytest.raises(UnsupportedError, match="rank_local"):
        dcpx.load(state(1), tmp_path, rank_local=True)


@rank_local
def test_a_rank_by_itself(tmp_path: Path):
    dcpx.save(state(1), tmp_path, use_collectives=False)
    assert "__0.metadata" in names(tmp_path)
    assert loaded(tmp_path, rank_local=True) == 1
    with pytest.raises(SaveError, match="exists already"):
        dcpx.save(state(2), tmp_path, use_collectives=False)
    dcpx.save(state(2), tmp_path, use_collectives=False, overwrite=True)
    assert len(names(tmp_path)) == 3
    assert loaded(tmp_path, rank_local=True) == 2
    with pytest.raises(LoadError):
        loaded(tmp_path)


@rank_local
def test_what_is_wrong_with_a_ranks_own(tmp_path: Path):
    dcpx.save(state(1), tmp_path, use_collectives=False)
    with pytest.raises(LoadError) as caught:
        dcpx.load({"x": torch.zeros(7)}, tmp_path, rank_local=True)
    assert not isinstance(caught.value, NotFoundError)
    (tmp_path / ".metadata").write_bytes(b"damaged")
    with pytest.raises(CorruptError, match=r"\.metadata"):  # of a later save: the rank's own isn't taken for it
        loaded(tmp_path, rank_local=True)
    (tmp_path / ".metadata").unlink()
    os.truncate(tmp_path / "__0.metadata", 50)
    with pytest.raises(CorruptError, match=r"__0\.metadata"):
        loaded(tmp_path, rank_local=True)


def test_ranks_that_open_different_saves(tmp_path: Path):
    plans = []
    for seed in (1, 2):
        dcpx.save(state(seed), tmp_path, overwrite=True)
        reader = dcpx.Reader(tmp_path)
        reader.set_up_storage_reader(reader.read_metadata(), seed == 1)
        plans.append(reader.prepare_local_plan(LoadPlan([])))
    assert reader.prepare_global_plan(plans[1:]) == plans[1:]
    with pytest.raises(LoadError, match="replaced while it was being opened"):
        reader.prepare_global_plan(plans)


@pytest.mark.parametrize("name", [".metadata", "manifest", "data", "__9.metadata"])
@pytest.mark.timeout(30)
def test_pipes_in_the_place_of_files(name: str, tmp_path: Path):
    """Nobody will ever write to them."""
    dcpx.save(state(1), tmp_path)
    patterns = {"manifest": "*.manifest.json", "data": "*.distcp"}
    file = next(tmp_path.glob(patterns[name])) if name in patterns else tmp_path / name
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    if name != "__9.metadata":
        with pytest.raises(LoadError, match="regular file"):
            loaded(tmp_path)
        assert not dcpx.verify(tmp_path).ok
        with pytest.raises(LoadError) if name != "data" else nullcontext():
            find_leftovers(tmp_path)
    with pytest.warns(UserWarning, match="saved") if name.endswith(".metadata") else nullcontext():
        dcpx.save(state(2), tmp_path, overwrite=True)
    assert loaded(tmp_path) == 2


def test_a_load_says_nothing_of_what_it_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(NotFoundError):
        loaded(tmp_path)
    if HAS_RANK_LOCAL:
        dcpx.save(state(1), tmp_path, use_collectives=False)
        loaded(tmp_path, rank_local=True)
    assert "metadata is not found" not in caplog.text


@rank_local
def test_a_rank_behind_a_common_checkpoint(tmp_path: Path):
    """Readers would never see it."""
    dcpx.save(state(1), tmp_path)
    for overwrite in (False, True):
        with pytest.raises(SaveError, match=r"exists already.*another path"):
            dcpx.save(state(2), tmp_path, use_collectives=False, overwrite=overwrite)
    assert_one_checkpoint(tmp_path)
    assert loaded(tmp_path) == 1


@rank_local
def test_a_common_checkpoint_before_the_ranks_own(tmp_path: Path):
    dcpx.save(state(1), tmp_path, use_collectives=False)
    with pytest.raises(SaveError, match="exists already"):
        dcpx.save(state(2), tmp_path)
    dcpx.save(state(2), tmp_path, overwrite=True)
    assert_one_checkpoint(tmp_path)
    assert loaded(tmp_path) == 2


# --- what a planner gives ---------------------------------------------------------------------------------------------


class Changing(DefaultSavePlanner):
    """Gives another thing than it planned."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self._change = change

    def resolve_data(self, write_item: WriteItem) -> Any:
        data = super().resolve_data(write_item)
        return self._change(data) if write_item.index.fqn in ("x", "object") else data


@pytest.mark.parametrize("pack", [dcpx.Pack(), None], ids=["pack", "plain"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:50] if isinstance(data, torch.Tensor) else data,
        lambda data: data.double() if isinstance(data, torch.Tensor) else data,
        lambda data: io.BytesIO(b"an object") if isinstance(data, torch.Tensor) else data,
        lambda data: data if isinstance(data, torch.Tensor) else torch.ones(3),
    ],
)
def test_what_was_not_planned_is_not_saved(change: Callable[[Any], Any], pack: Any, tmp_path: Path):
    """It could never be loaded."""
    with nothing_left(), pytest.raises(SaveError, match="the planner gives a"):
        dcpx.save(state(1), tmp_path, planner=Changing(change), pack=pack)
    assert names(tmp_path) == []
