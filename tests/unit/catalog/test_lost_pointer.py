"""Whole checkpoints without their pointer: never taken for nothing, never removed, and mended on request."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx import (
    CorruptError,
    LoadError,
    LostPointerError,
    MissingFileError,
    NotFoundError,
    SaveError,
    UnsupportedError,
)
from dcpx.catalog import lost
from dcpx.catalog.leftovers import find_leftovers, remove_leftovers
from dcpx.catalog.names import manifest_name, owner_name, temporary_name
from dcpx.catalog.owner import Owner
from dcpx.dcp.private import HAS_RANK_LOCAL
from tests.support.files import data_file, manifest_file, seal
from tests.support.leftovers import DAY, age, dead, elsewhere, leave, loaded, names, save_id, state
from tests.support.versions import rank_local
from tests.unit.catalog.test_leftovers import save_rank


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of a checkpoint as `cp original/* copy/` makes it, two days old."""
    dcpx.save(state(1), tmp_path / "original", user={"step": 7})
    (tmp_path / "copy").mkdir()
    for file in (tmp_path / "original").glob("[!.]*"):
        shutil.copy(file, tmp_path / "copy")
    age(tmp_path / "copy", 2 * DAY)
    return tmp_path / "copy"


READERS: dict[str, Callable[[Path], Any]] = {
    "load": loaded,
    **({"rank-local load": lambda path: loaded(path, rank_local=True)} if HAS_RANK_LOCAL else {}),
    "partial load": lambda path: loaded(path, partial=True),
    "verify": dcpx.verify,
    "Reader": lambda path: dcpx.Reader(path).read_metadata(),
}
every_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@every_reader
def test_it_is_a_checkpoint(read: Callable[[Path], Any], copied: Path):
    with pytest.raises(LostPointerError, match=r"dcpx\.restore_pointer\(path\)") as caught:
        read(copied)
    assert not isinstance(caught.value, FileNotFoundError)
    assert caught.value.where.file == str(copied / ".metadata")
    before = names(copied)
    assert find_leftovers(copied) == remove_leftovers(copied, older_than=0) == []
    assert names(copied) == before
    assert dcpx.restore_pointer(copied) == [".metadata"]
    assert (copied / ".metadata").read_bytes() == (copied.parent / "original" / ".metadata").read_bytes()
    assert names(copied) == before | {".metadata"}
    assert loaded(copied) == 1
    assert dcpx.verify(copied).ok


def test_a_save_over_it_must_be_asked_for(copied: Path):
    before = names(copied)
    for collectives in (True, False) if HAS_RANK_LOCAL else (True,):
        with pytest.raises(SaveError, match=r"exists already.*restore_pointer.*overwrite=True"):
            dcpx.save(state(2), copied, use_collectives=collectives)
    assert names(copied) == before
    dcpx.save(state(2), copied, overwrite=True)
    assert loaded(copied) == 2
    assert names(copied).isdisjoint(before), "what was replaced takes no more space"


@pytest.mark.parametrize("owner", [dead(), elsewhere(), b"", None], ids=["dead", "elsewhere", "empty", "none"])
def test_a_save_that_was_killed_before_its_move(owner: Owner | bytes | None, copied: Path):
    save = save_id(copied)
    (copied / temporary_name(save, ".metadata")).write_bytes(b"")
    if owner is not None:
        (copied / owner_name(save)).write_bytes(owner if isinstance(owner, bytes) else owner.pack())
    with pytest.raises(LostPointerError):
        loaded(copied)
    age(copied, 2 * DAY)
    (removed,) = remove_leftovers(copied)
    assert not {data_file(copied).name, manifest_file(copied).name} & {*removed.names}
    dcpx.restore_pointer(copied)
    assert loaded(copied) == 1
    assert find_leftovers(copied) == []


def test_a_save_that_is_just_being_completed(copied: Path):
    (copied / owner_name(save_id(copied))).write_bytes(Owner.this().pack())
    for read in (loaded, dcpx.restore_pointer):
        with pytest.raises(NotFoundError):
            read(copied)
    assert remove_leftovers(copied, older_than=0) == []
    assert len(names(copied)) == 3


@pytest.mark.parametrize(
    "damage", ["no data, not ended", "cut data, not ended", "cut manifest", "forged manifest", "another save's"]
)
def test_what_is_not_whole_is_no_checkpoint(damage: str, copied: Path):
    data, manifest = data_file(copied), manifest_file(copied)
    if "not ended" in damage:  # it died, or was being taken back
        (copied / owner_name(save_id(copied))).write_bytes(dead().pack())
    if "no data" in damage:
        data.unlink()
    elif "cut data" in damage:
        os.truncate(data, data.stat().st_size - 1)
    elif damage == "cut manifest":
        os.truncate(manifest, 100)
    elif damage == "forged manifest":
        manifest.write_bytes(manifest.read_bytes().replace(b'"step":7', b'"step":8'))
    else:
        manifest.rename(manifest.with_name(manifest_name("0" * 8 + manifest.name[8:36])))
    for read in (loaded, dcpx.verify, dcpx.restore_pointer):
        with pytest.raises(NotFoundError):
            read(copied)
    assert remove_leftovers(copied, older_than=0) != []
    dcpx.save(state(2), copied)
    assert loaded(copied) == 2


def test_what_cannot_be_known_is_not_removed(copied: Path):
    """As of a manifest of a later version."""
    file = manifest_file(copied)
    members = json.loads(file.read_bytes())
    del members["checksum"]
    file.write_bytes(seal(members | {"manifest": 2}))
    before = names(copied)
    for read in (loaded, dcpx.restore_pointer, lambda path: dcpx.save(state(2), path)):
        with pytest.raises(UnsupportedError, match="version 2"):
            read(copied)
    with pytest.raises(LoadError, match="version 2") as caught:
        remove_leftovers(copied)
    assert caught.value.where.file == str(file)
    assert names(copied) == before


def test_a_manifest_that_cannot_rebuild_it(copied: Path):
    """Of an earlier dcpx."""
    file = manifest_file(copied)
    members = json.loads(file.read_bytes())
    del members["checksum"], members["pointer"]
    file.write_bytes(seal(members))
    with pytest.raises(LostPointerError, match="Copy the checkpoint again") as caught:
        loaded(copied)
    assert "restore_pointer" not in str(caught.value)
    with pytest.raises(UnsupportedError, match="Copy the checkpoint again") as refused:
        dcpx.restore_pointer(copied)
    assert refused.value.where.file == str(file)
    assert remove_leftovers(copied, older_than=0) == []
    shutil.copy(copied.parent / "original" / ".metadata", copied)
    assert loaded(copied) == 1


@pytest.mark.parametrize("pointer", ["", "AAAA", "é", "=" * 8])
def test_a_manifest_that_holds_another_pointer(pointer: str, copied: Path):
    file = manifest_file(copied)
    members = json.loads(file.read_bytes())
    del members["checksum"]
    file.write_bytes(seal(members | {"pointer": pointer}))
    with pytest.raises(CorruptError) as caught:
        dcpx.restore_pointer(copied)
    assert caught.value.where.file == str(file)
    assert ".metadata" not in names(copied)


def test_several_to_choose_from(copied: Path):
    first = save_id(copied)
    dcpx.save(state(2), copied.parent / "other", user={"step": 8})
    second = save_id(copied.parent / "other")
    for file in (copied.parent / "other").glob("[!.]*"):
        shutil.copy(file, copied)
    with pytest.raises(LostPointerError, match="2 checkpoints"):
        loaded(copied)
    with pytest.raises(LoadError, match=r"save=\.\.\.") as caught:
        dcpx.restore_pointer(copied)
    assert all(text in str(caught.value) for text in (first, second, "'step': 7", "'step': 8"))
    with pytest.raises(NotFoundError, match="nonsense"):
        dcpx.restore_pointer(copied, save="nonsense")
    dcpx.restore_pointer(copied, save=second)
    assert loaded(copied) == 2
    assert [one.save for one in find_leftovers(copied)] == [first], "the other one is no checkpoint any more"


def test_nothing_is_replaced(tmp_path: Path, copied: Path, monkeypatch: pytest.MonkeyPatch):
    original = tmp_path / "original"
    with pytest.raises(LoadError, match="has its pointer"):
        dcpx.restore_pointer(original)
    found = lost.lost_checkpoints

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        chosen = found(*arguments, **options)
        (copied / ".metadata").write_bytes(b"another's")
        return chosen

    monkeypatch.setattr(lost, "lost_checkpoints", meanwhile)
    before = names(copied)
    with pytest.raises(LoadError, match="exists"):
        dcpx.restore_pointer(copied)
    assert (copied / ".metadata").read_bytes() == b"another's"
    assert names(copied) == before | {".metadata"}


def test_nothing_to_restore(tmp_path: Path):
    leave(tmp_path / "c", dead())
    for path in (tmp_path / "c", tmp_path / "nowhere"):
        with pytest.raises(NotFoundError):
            dcpx.restore_pointer(path)
    with pytest.raises(ValueError, match="nonsense://"):
        dcpx.restore_pointer("nonsense://bucket/c")


@rank_local
def test_the_ranks_own(tmp_path: Path):
    for rank in range(3):
        save_rank(tmp_path, rank, 5)
    contents = {rank: (tmp_path / f"__{rank}.metadata").read_bytes() for rank in range(3)}
    (tmp_path / "__1.metadata").unlink()
    assert loaded(tmp_path, rank_local=True) == 5, "rank 0 has its own"
    with pytest.raises(SaveError, match=r"lost its __1\.metadata"):
        save_rank(tmp_path, 1, 6)
    assert dcpx.restore_pointer(tmp_path) == ["__1.metadata"]
    for rank in range(3):
        (tmp_path / f"__{rank}.metadata").unlink()
    for own in (False, True):
        with pytest.raises(LostPointerError):
            loaded(tmp_path, rank_local=own)
    assert dcpx.restore_pointer(tmp_path) == [f"__{rank}.metadata" for rank in range(3)]
    assert {rank: (tmp_path / f"__{rank}.metadata").read_bytes() for rank in range(3)} == contents
    assert loaded(tmp_path, rank_local=True) == 5


@rank_local
def test_a_checkpoint_of_ranks_and_one_of_all(tmp_path: Path):
    """The common one was to replace the other, and was killed before it did; or both have lost their pointers."""
    save_rank(tmp_path / "c", 0, 1)
    dcpx.save(state(2), tmp_path / "new")
    for file in (tmp_path / "new").glob("[!.]*"):
        shutil.copy(file, tmp_path / "c")
    with pytest.raises(NotFoundError):
        loaded(tmp_path / "c")
    assert loaded(tmp_path / "c", rank_local=True) == 1
    assert [one.save for one in find_leftovers(tmp_path / "c")] == [save_id(tmp_path / "new")]
    (tmp_path / "c" / "__0.metadata").unlink()
    with pytest.raises(LoadError, match="2 whole checkpoints"):
        dcpx.restore_pointer(tmp_path / "c")


def test_without_an_item(tmp_path: Path):
    dcpx.save({}, tmp_path)
    (tmp_path / ".metadata").unlink()
    dcpx.restore_pointer(tmp_path)
    dcpx.load({}, tmp_path)


def test_with_cached_plans(tmp_path: Path):
    """Then the names of data files say nothing of the save that wrote them."""
    for number in (1, 2):
        planner = dcp.DefaultSavePlanner(enable_plan_caching=True)
        dcpx.save(state(number), tmp_path, overwrite=True, planner=planner)
    (tmp_path / ".metadata").unlink()
    age(tmp_path, 2 * DAY)
    assert remove_leftovers(tmp_path, older_than=0) == []
    dcpx.restore_pointer(tmp_path)
    assert loaded(tmp_path) == 2


def test_the_manifest_grows_little(tmp_path: Path):
    state = {f"layers.{number}.weight": torch.ones(1) for number in range(2000)}
    dcpx.save(state, tmp_path)
    members = json.loads(manifest_file(tmp_path).read_bytes())
    assert len(members["pointer"]) < (tmp_path / ".metadata").stat().st_size / 8


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: os.truncate(file, 10)], ids=["gone", "cut"])
def test_a_checkpoint_that_has_lost_more_than_its_pointer(damage: Callable[[Path], object], tmp_path: Path) -> None:
    """It is damaged: nobody may take it for none, replace it unasked, or clean it up."""
    state = {"x": torch.ones(3), "y": torch.ones(4)}
    dcpx.save(state, tmp_path, pack=None, threads=2)
    (tmp_path / ".metadata").unlink()
    first, *_ = files = sorted(tmp_path.glob("*.distcp"))
    assert len(files) == 2
    damage(first)
    for file in tmp_path.iterdir():
        os.utime(file, (0, 0))
    for ask in (lambda: dcpx.load(dict(state), tmp_path), lambda: dcpx.verify(tmp_path)):
        with pytest.raises(MissingFileError, match=first.name):
            ask()
    with pytest.raises(SaveError, match="exists already"):
        dcpx.save(state, tmp_path)
    assert remove_leftovers(tmp_path) == []
    assert dcpx.restore_pointer(tmp_path) == [".metadata"]
    lost = dcpx.load(target := {"x": torch.zeros(3), "y": torch.zeros(4)}, tmp_path, partial=True)
    assert len(lost) == 1
    assert sum(int(tensor.sum()) for tensor in target.values()) in (3, 4)
