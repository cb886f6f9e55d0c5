"""What a save leaves in a directory, what it removes and what it never touches, and what a reader may demand of it."""

from __future__ import annotations

import io
import logging
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
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import TensorProperties
from torch.distributed.checkpoint.planner import LoadPlan, WriteItem

import dcpx
from dcpx import (
    CorruptError,
    DcpxError,
    LimitError,
    Limits,
    LoadError,
    NotFoundError,
    ReplacedError,
    SaveError,
    TrustError,
    UnsupportedError,
)
from dcpx.catalog.leftovers import find_leftovers
from dcpx.catalog.owner import Owner
from dcpx.catalog.plain import PLAIN
from dcpx.catalog.pointer import read_pointer
from dcpx.dcp.private import HAS_RANK_LOCAL
from dcpx.loading.unpacking import Unpacker
from dcpx.saving import commit
from dcpx.saving.commit import Commit
from dcpx.store.local import LocalStore
from dcpx.views.verify import _Verifier
from tests.support.leaks import nothing_left
from tests.support.leftovers import leave
from tests.support.versions import rank_local, without_rank_local


def state(seed: int) -> dict[str, Any]:
    return {"x": torch.full((300,), float(seed)), "y": torch.arange(40) + seed, "object": ("saved", seed)}


def loaded(path: Path, **options: Any) -> int:
    """The seed of the state at `path`, all of it."""
    found: dict[str, Any] = {"x": torch.zeros(300), "y": torch.zeros(40, dtype=torch.int64), "object": None}
    with nothing_left():
        dcpx.load(found, path, **options)
    seed = found["object"][1]
    assert torch.equal(found["x"], state(seed)["x"])
    assert torch.equal(found["y"], state(seed)["y"])
    return int(seed)


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def assert_one_checkpoint(path: Path, *others: str) -> str:
    """Only a checkpoint's files, and `others`; returns the save's UUID."""
    save = next(name for name in names(path) if name.endswith(".manifest.json")).removesuffix(".manifest.json")
    assert names(path) == sorted([".metadata", f"{save}.manifest.json", f"{save}__0_0.distcp", *others])
    return save


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


# --- while a reader opens it ------------------------------------------------------------------------------------------


def test_replaced_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dcpx.save(state(1), tmp_path)
    read, saves = LocalStore.read, [2]

    def meanwhile(self: LocalStore, name: str, limit: int) -> bytes:
        data = read(self, name, limit)
        if name == ".metadata" and saves:
            seed = saves.pop()
            with monkeypatch.context() as patch:
                patch.setattr(LocalStore, "read", read)
                dcpx.save(state(seed), tmp_path, overwrite=True)
        return data

    monkeypatch.setattr(LocalStore, "read", meanwhile)
    assert loaded(tmp_path) == 2
    assert saves == []
    saves += range(10, 100)
    with pytest.raises(LoadError, match="replaced"):
        read_pointer(dcpx.Reader(tmp_path)._store, ".metadata", PLAIN, 1 << 20)


Between = Callable[[], None]


def between(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, work: Between, *, first: bool = False) -> None:
    """The next call of the method is followed by `work`, or comes after it; within that the method is as it was."""
    stock = getattr(owner, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, stock)
        if first:
            work()
        result = stock(*arguments, **options)
        if not first:
            work()
        return result

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize("overwrite", [False, True])
def test_another_save_is_faster(overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """At the last moment: nobody's checkpoint is replaced unasked, and one is there, with all of its files."""
    if overwrite:
        dcpx.save(state(0), tmp_path)
    between(monkeypatch, Commit, "_replaced", lambda: dcpx.save(state(2), tmp_path, overwrite=overwrite) and None)
    if overwrite:
        dcpx.save(state(1), tmp_path, overwrite=True)
        assert loaded(tmp_path) == 1
    else:
        with pytest.raises(SaveError, match="exists already"):
            dcpx.save(state(1), tmp_path)
        assert loaded(tmp_path) == 2
    assert_one_checkpoint(tmp_path)


@pytest.mark.parametrize("looked_before", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_another_save_replaces_it_at_once(
    overwrite: bool, looked_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Before this one has cleaned up. The other may have looked what it replaces before this one was there."""
    if overwrite:
        dcpx.save(state(0), tmp_path)

    def other() -> None:
        with monkeypatch.context() as patch:
            if looked_before:
                patch.setattr(Commit, "_replaced", lambda self: {})
            dcpx.save(state(2), tmp_path, overwrite=True)

    between(monkeypatch, Commit, "_move", other)
    dcpx.save(state(1), tmp_path, overwrite=overwrite)
    assert loaded(tmp_path) == 2
    assert_one_checkpoint(tmp_path)
    assert find_leftovers(tmp_path) == []


def test_finished_saves_are_cleaned_up_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As those of one that was killed before it could; those of whoever still runs are not."""
    dcpx.save(state(1), tmp_path)
    running = leave(tmp_path, Owner.this())
    monkeypatch.setattr(Commit, "_replaced", lambda self: {})
    monkeypatch.setattr(Commit, "_superseded", lambda *arguments: set())
    dcpx.save(state(2), tmp_path, overwrite=True)
    monkeypatch.undo()
    assert len([one for one in find_leftovers(tmp_path) if one.save != running]) == 1
    before = {name for name in names(tmp_path) if name.startswith(running)}
    dcpx.save(state(3), tmp_path, overwrite=True)
    assert loaded(tmp_path) == 3
    assert [one.save for one in find_leftovers(tmp_path)] == [running]
    assert before == {name for name in names(tmp_path) if name.startswith(running)}


@rank_local
def test_ranks_own_checkpoints_leave_each_other_alone(tmp_path: Path):
    class Second(dcpx.Writer):
        def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
            super().set_up_storage_writer(is_coordinator, *args, **kwargs | {"rank": 1})

    for seed in (1, 2):
        dcpx.save(state(seed), tmp_path, use_collectives=False, overwrite=True)
        dcp.save(state(seed), storage_writer=Second(tmp_path, overwrite=True), use_collectives=False)
        assert len(names(tmp_path)) == 6
    (tmp_path / "__1.metadata").unlink()
    dcpx.save(state(3), tmp_path, use_collectives=False, overwrite=True)
    assert len(names(tmp_path)) == 5, "what has lost its pointer is another rank's"
    dcpx.save(state(4), tmp_path, overwrite=True)
    assert_one_checkpoint(tmp_path)


def test_a_pointer_that_is_gone_after_the_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Somebody has taken it away: nothing more is."""
    between(monkeypatch, Commit, "_move", (tmp_path / ".metadata").unlink)
    dcpx.save(state(1), tmp_path, overwrite=True)
    assert len(names(tmp_path)) == 2
    dcpx.restore_pointer(tmp_path)
    assert loaded(tmp_path) == 1


# --- while a reader reads it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partial", [False, True])
def test_replaced_before_its_files_are_opened(partial: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dcpx.save(state(1), tmp_path)
    seeds = iter(range(2, 100))

    def replace() -> None:
        dcpx.save(state(next(seeds)), tmp_path, overwrite=True)

    between(monkeypatch, dcpx.Reader, "read_data", replace, first=True)
    assert loaded(tmp_path, partial=partial) == 2

    reader, target = dcpx.Reader(tmp_path, partial=partial), state(0)
    between(monkeypatch, dcpx.Reader, "read_data", replace, first=True)
    with pytest.raises(CheckpointException, match=r"replaced while it was being loaded.*Load again"):
        dcp.load(target, storage_reader=reader)

    stock = dcpx.Reader.read_data

    def always(*arguments: Any) -> Any:
        replace()
        return stock(*arguments)

    monkeypatch.setattr(dcpx.Reader, "read_data", always)
    with pytest.raises(ReplacedError):
        dcpx.load(target, tmp_path, partial=partial)


def test_replaced_when_its_files_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dcpx.save(state(1), tmp_path)
    between(monkeypatch, Unpacker, "read", lambda: dcpx.save(state(2), tmp_path, overwrite=True) and None, first=True)
    assert loaded(tmp_path) == 1
    assert loaded(tmp_path) == 2


def test_damage_is_no_replacement(tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    next(tmp_path.glob("*.distcp")).unlink()
    with pytest.raises(DcpxError) as caught:
        loaded(tmp_path)
    assert not isinstance(caught.value, ReplacedError)
    assert not dcpx.verify(tmp_path).ok


def test_replaced_while_it_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dcpx.save(state(1), tmp_path)
    stock = _Verifier._jobs
    seeds = iter(range(2, 100))

    def replace() -> None:
        dcpx.save(state(next(seeds)), tmp_path, overwrite=True)

    between(monkeypatch, _Verifier, "_jobs", replace, first=True)
    assert dcpx.verify(tmp_path).ok

    def always(self: _Verifier) -> Any:
        replace()
        return stock(self)

    monkeypatch.setattr(_Verifier, "_jobs", always)
    with pytest.raises(ReplacedError, match="being verified"):
        dcpx.verify(tmp_path)


# --- what a reader may demand -----------------------------------------------------------------------------------------


def test_checksums_required(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    dcpx.save(state(1), tmp_path / "dcpx")
    dcp.save(state(1), storage_writer=FileSystemWriter(tmp_path / "stock"))
    with caplog.at_level(logging.WARNING, logger="dcpx"):
        dcpx.load({"x": torch.zeros(300)}, tmp_path / "dcpx", require="checksums")
        assert "unverified" not in caplog.text
        dcpx.load({"x": torch.zeros(300)}, tmp_path / "stock")
        assert "unverified" in caplog.text
    with pytest.raises(TrustError, match="no manifest") as caught:
        dcpx.load({"x": torch.zeros(300)}, tmp_path / "stock", require="checksums")
    assert str(caught.value.where.file).endswith(".metadata")
    # Whoever takes the manifest away gains nothing, with or without `partial`.
    next((tmp_path / "dcpx").glob("*.manifest.json")).unlink()
    for partial in (False, True):
        with pytest.raises((TrustError, CorruptError)):
            dcpx.load({"x": torch.zeros(300)}, tmp_path / "dcpx", require="checksums", partial=partial)


class Sealed(dcpx.ZStandard):
    """Stands for an extension that encrypts."""

    @property
    def encrypts(self) -> bool:
        return True

    @staticmethod
    def registry_name() -> str:
        return "sealed@tests"

    @staticmethod
    def from_descriptor(version: str) -> Sealed:
        return Sealed()

    def get_descriptor(self) -> str:
        return "sealed@tests/1"


def test_encryption_required(tmp_path: Path):
    registry = dcpx.ExtensionRegistry()
    registry.register(Sealed)
    packs = {"sealed": Sealed(), "chain": dcpx.Chain(dcpx.Pack(), Sealed()), "pack": dcpx.Pack(), "plain": None}
    for name, pack in packs.items():
        dcpx.save(state(1), tmp_path / name, pack=pack)
        reader = dcpx.Reader(tmp_path / name, registry=registry, require="encrypted")
        target = {"x": torch.zeros(300)}
        if name in ("sealed", "chain"):
            dcp.load(target, storage_reader=reader)
            assert torch.equal(target["x"], state(1)["x"])
        else:
            with pytest.raises(BaseException, match="not encrypted"):
                dcp.load(target, storage_reader=reader)
            assert not target["x"].any(), "it was loaded all the same"


def test_what_cannot_be_required(tmp_path: Path):
    with pytest.raises(ValueError, match="require"):
        dcpx.Reader(tmp_path, require="everything")  # type: ignore[arg-type]
    for name in ("total", "object_size", "object_ratio", "metadata_size", "files"):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: -1})


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        (Limits(), True),
        (Limits(total=300 * 4 + 40 * 8 + 4096), True),
        (Limits(total=300 * 4 + 40 * 8 - 1), False),
        (Limits(object_size=100), False),
        (Limits(files=0), False),
        (Limits(files=1), True),
        (Limits(metadata_size=100), False),
    ],
    ids=str,
)
def test_limits(limits: Limits, fits: bool, tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    if fits:
        assert loaded(tmp_path, limits=limits) == 1
    else:
        with pytest.raises(LimitError):
            loaded(tmp_path, limits=limits)


def test_the_total_of_objects(tmp_path: Path):
    """As they are once they are unfolded."""
    objects = {str(number): bytes(1 << 20) for number in range(10)}
    dcpx.save(objects, tmp_path)
    dcpx.load(dict.fromkeys(objects), tmp_path, limits=Limits(total=11 << 20))
    with pytest.raises(LimitError, match="in all"):
        dcpx.load(dict.fromkeys(objects), tmp_path, limits=Limits(total=5 << 20))


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


def test_no_checkpoint_is_a_kind_of_its_own(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught:
        loaded(tmp_path)
    assert isinstance(caught.value, NotFoundError)
    assert os.path.basename(str(caught.value.where.file)) == ".metadata"
