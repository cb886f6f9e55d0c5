"""Savers that meet each other, or a reader: one whole checkpoint is there, and a load is of one save."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

import dcpx
from dcpx import DcpxError, LoadError, ReplacedError, SaveError
from dcpx.catalog.leftovers import find_leftovers
from dcpx.catalog.owner import Owner
from dcpx.catalog.plain import PLAIN
from dcpx.catalog.pointer import read_pointer
from dcpx.loading.unpacking import Unpacker
from dcpx.saving.commit import Commit
from dcpx.store.local import LocalStore
from dcpx.views.verify import _Verifier
from tests.support.leftovers import leave
from tests.support.saves import assert_one_checkpoint, loaded, names, state
from tests.support.versions import rank_local

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
    stock = _Verifier._windows
    seeds = iter(range(2, 100))

    def replace() -> None:
        dcpx.save(state(next(seeds)), tmp_path, overwrite=True)

    between(monkeypatch, _Verifier, "_windows", replace, first=True)
    assert dcpx.verify(tmp_path).ok

    def always(self: _Verifier) -> Any:
        replace()
        return stock(self)

    monkeypatch.setattr(_Verifier, "_windows", always)
    with pytest.raises(ReplacedError, match="being verified"):
        dcpx.verify(tmp_path)
