"""What dead saves leave is found and removed; what a checkpoint needs, a running save's or anybody else's never is."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx import LoadError, NotFoundError
from dcpx.catalog.leftovers import find_leftovers, remove_leftovers
from dcpx.catalog.names import manifest_name, owner_name, save_of, temporary_name
from dcpx.catalog.owner import OWNER_SIZE, Owner
from tests.support.leftovers import DAY, age, dead, elsewhere, leave, loaded, names, save_id, state
from tests.support.versions import rank_local

# --- whose they are ---------------------------------------------------------------------------------------------------


def test_several_saves_of_every_state(tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    before = names(tmp_path)
    owners = {"running": Owner.this(), "dead": dead(), "unknown": elsewhere()}
    saves = {leave(tmp_path, owner): kind for kind, owner in owners.items()}
    saves[leave(tmp_path, None)] = "unknown"
    found = find_leftovers(tmp_path)
    assert {one.save: one.state for one in found} == saves
    assert [one.modified for one in found] == sorted(one.modified for one in found)
    assert {len(one.names) for one in found} == {4, 5}
    assert [one.state for one in remove_leftovers(tmp_path)] == ["dead"]
    age(tmp_path, 100)
    assert remove_leftovers(tmp_path, older_than=200) == []
    assert [one.state for one in remove_leftovers(tmp_path, older_than=50)] == ["unknown", "unknown"]
    assert [one.state for one in find_leftovers(tmp_path)] == ["running"]
    assert before < names(tmp_path)
    assert loaded(tmp_path) == 1


def test_one_new_file_makes_an_unknown_save_new(tmp_path: Path):
    save = leave(tmp_path, elsewhere())
    age(tmp_path, 2 * DAY)
    (tmp_path / f"{save}__7_3.distcp").touch()
    assert remove_leftovers(tmp_path) == []


FORGED: dict[str, bytes] = {
    "empty": b"",
    "no text": b"\xff\xfe\x00",
    "no JSON": b"{" * 100,
    "nested": b"[" * OWNER_SIZE,
    "a list": b"[1, 2]",
    "huge": Owner.this().pack() + b" " * OWNER_SIZE,
    "a huge number": json.dumps(Owner.this()._asdict()).replace(str(os.getpid()), "9" * 3000).encode(),
    "a number too much": json.dumps(Owner.this()._asdict()).replace(str(os.getpid()), "9" * 4400).encode(),
    "a negative pid": Owner.this()._replace(pid=-1).pack(),
    "no pid": Owner.this()._replace(pid=0).pack(),
    "pid 1": Owner.this()._replace(pid=1).pack(),
    "a process that began earlier": Owner.this()._replace(ticks="1").pack(),
    "a path": json.dumps(Owner.this()._asdict() | {"pid": "../self"}).encode(),
    "no time": Owner.this()._replace(pid=2**22 + 1, ticks="").pack(),
    "no machine": Owner.this()._replace(system="", ticks="").pack(),
}
DEAD = {"a huge number", "pid 1", "a process that began earlier"}


@pytest.mark.parametrize("forged", FORGED)
def test_forged_owners(forged: str, tmp_path: Path):
    save = leave(tmp_path, FORGED[forged])
    (found,) = find_leftovers(tmp_path)
    assert found.state == ("dead" if forged in DEAD else "unknown")
    assert remove_leftovers(tmp_path) == ([found] if forged in DEAD else [])
    age(tmp_path, 2 * DAY)
    assert [one.save for one in remove_leftovers(tmp_path)] == ([] if forged in DEAD else [save])
    assert names(tmp_path) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="the call is Linux's")
def test_a_process_whose_name_is_no_text():
    """The system cuts names at 15 bytes, and so maybe within a letter."""
    name, prctl = ctypes.create_string_buffer(16), ctypes.CDLL(None).prctl
    found: list[Any] = []

    def look() -> None:
        prctl(16, name)  # PR_GET_NAME
        prctl(15, b"a \xc3) name\xff")  # PR_SET_NAME, of the process's main thread
        try:
            owner = Owner.this()
            found.extend((owner.ticks, owner.is_running()))
        finally:
            prctl(15, name)

    assert threading.current_thread() is threading.main_thread()
    look()
    assert found == [Owner.this().ticks, True]


# --- what is never touched --------------------------------------------------------------------------------------------


class RankWriter(dcpx.Writer):
    """A writer as on the rank `own`, without a group."""

    own = 0

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs | {"rank": self.own})


def save_rank(path: Path, rank: int, number: int) -> None:
    writer = RankWriter(path)
    writer.own = rank
    dcp.save(state(number), storage_writer=writer, use_collectives=False)


@rank_local
def test_checkpoints_of_several_ranks(tmp_path: Path):
    for rank in range(3):
        save_rank(tmp_path, rank, 5)
    before = names(tmp_path)
    assert len(before) == 9
    assert find_leftovers(tmp_path) == []
    save = str(uuid.uuid4())
    left = {f"{save}__1_0.distcp", manifest_name(save), temporary_name(save, "__1.metadata"), owner_name(save)}
    for name in left:
        (tmp_path / name).write_bytes(dead().pack())
    (found,) = remove_leftovers(tmp_path)
    assert set(found.names) == left
    assert names(tmp_path) == before
    assert loaded(tmp_path, rank_local=True) == 5

    # Those of one rank are its checkpoint, even if that has lost its pointer; until another is in its place.
    (tmp_path / "__2.metadata").unlink()
    age(tmp_path, 2 * DAY)
    assert remove_leftovers(tmp_path, older_than=0) == []
    assert len(names(tmp_path)) == 8
    save_rank(tmp_path / "again", 2, 6)
    for file in (tmp_path / "again").iterdir():
        file.rename(tmp_path / file.name)
    (tmp_path / "again").rmdir()
    (found,) = remove_leftovers(tmp_path, older_than=0)
    assert set(found.names) == {name for name in before if save_of(name) == found.save}
    assert len(names(tmp_path)) == 9


def test_a_checkpoint_whose_files_name_several_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """DCP's plan caching keeps other ranks than the coordinator from knowing which save their files belong to."""
    monkeypatch.setattr(dcpx.Writer, "_checkpoint", lambda self, place: None)
    dcpx.save(state(2), tmp_path)
    before = names(tmp_path)
    assert len({save_of(name) for name in before} - {None}) == 2
    age(tmp_path, 2 * DAY)
    assert remove_leftovers(tmp_path, older_than=0) == []
    assert names(tmp_path) == before
    assert loaded(tmp_path) == 2


def test_what_is_nobodys_stays(tmp_path: Path):
    dcp.save(state(1), storage_writer=FileSystemWriter(tmp_path))
    save = leave(tmp_path, dead(), parts=1)
    others = {
        "model.safetensors",
        ".metadata.tmp",
        "__5_0.distcp",
        f"{save}",
        f"{save}.txt",
        f"{save}__0_0.distcp.bak",
        f"{save.upper()}__0_0.distcp",
        f"x{save}__0_0.distcp",
    }
    for name in others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / f"{save}__8_0.distcp").mkdir()
    (tmp_path / f"{save}__8_0.distcp" / f"{save}__0_0.distcp").touch()
    os.mkfifo(tmp_path / f"{save}__9_0.distcp")
    age(tmp_path, 2 * DAY)
    (found,) = remove_leftovers(tmp_path)
    assert len(found.names) == 4
    stock = {".metadata", "__0_0.distcp"}
    assert names(tmp_path) == others | stock | {f"{save}__8_0.distcp", f"{save}__9_0.distcp"}
    assert (tmp_path / f"{save}__8_0.distcp" / f"{save}__0_0.distcp").exists()
    assert loaded(tmp_path) == 1


def test_links_are_not_followed(tmp_path: Path):
    (tmp_path / "precious").write_bytes(bytes(1000))
    (tmp_path / "owner").write_bytes(dead().pack())
    path = tmp_path / "c"
    save = leave(path, None, parts=0)
    (path / owner_name(save)).symlink_to(tmp_path / "owner")
    (path / f"{save}__0_0.distcp").symlink_to(tmp_path / "precious")
    (path / f"{save}__1_0.distcp").symlink_to(tmp_path)
    (path / f"{save}__2_0.distcp").symlink_to("nowhere")
    (found,) = find_leftovers(path)
    assert (found.owner, found.state) == (None, "unknown")
    assert found.nbytes < 1000
    age(path, 2 * DAY)
    assert len(remove_leftovers(path)) == 1
    assert names(path) == set()
    assert names(tmp_path) == {"precious", "owner", "c"}


def test_an_owners_file_that_blocks(tmp_path: Path):
    save = leave(tmp_path, None)
    os.mkfifo(tmp_path / owner_name(save))
    (found,) = find_leftovers(tmp_path)
    assert found.owner is None


# --- what can't be done -----------------------------------------------------------------------------------------------


@contextmanager
def refused(path: Path, file: str) -> Iterator[None]:
    """What follows in the block is refused, names the file, and removes nothing."""
    before = names(path)
    with pytest.raises(LoadError) as caught:
        yield
    assert caught.value.where.file == str(path / file)
    assert names(path) == before


@rank_local
@pytest.mark.parametrize("damage", ["empty", "cut", "no metadata", "a directory", "a link", "a queue"])
@pytest.mark.parametrize("pointer", [".metadata", "__3.metadata"])
def test_a_pointer_that_cannot_be_read(pointer: str, damage: str, tmp_path: Path):
    save_rank(tmp_path, 0, 1)
    leave(tmp_path, dead())
    content = (tmp_path / "__0.metadata").read_bytes()
    place = tmp_path / pointer
    if damage == "a directory":
        place.mkdir()
    elif damage == "a link":
        place.symlink_to("nowhere")
    elif damage == "a queue":
        os.mkfifo(place)
    else:
        place.write_bytes({"empty": b"", "cut": content[:-5], "no metadata": b"\x80\x04N."}[damage])
    for function in (find_leftovers, remove_leftovers):
        with refused(tmp_path, pointer):
            function(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_a_manifest_that_cannot_be_read(damage: bytes | None, tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    manifest = tmp_path / manifest_name(save_id(tmp_path))
    leave(tmp_path, dead())
    if damage is None:
        manifest.unlink()
    else:
        manifest.write_bytes(damage)
    with refused(tmp_path, ".metadata"):
        remove_leftovers(tmp_path)


def test_a_file_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save = leave(tmp_path, dead(), parts=1)
    stock, kept = os.unlink, tmp_path / manifest_name(save)

    def unlink(path: str) -> None:
        if str(path) == str(kept):
            raise PermissionError(13, "Permission denied")
        stock(path)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(LoadError, match="Permission denied") as caught:
        remove_leftovers(tmp_path)
    assert caught.value.where.file == str(kept)
    # The owner's file is still there, so that the next one is as sure as this.
    monkeypatch.undo()
    (found,) = remove_leftovers(tmp_path)
    assert found.state == "dead"
    assert names(tmp_path) == set()


def test_no_directory(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match="no such directory"):
        find_leftovers(tmp_path / "nowhere")
    with pytest.raises(LoadError, match="can't be read"):
        remove_leftovers(tmp_path / "file")
    with pytest.raises(ValueError, match="nonsense"):
        find_leftovers("nonsense://bucket/c")


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_no_age(seconds: float, tmp_path: Path):
    with pytest.raises(ValueError, match="older_than"):
        remove_leftovers(tmp_path, older_than=seconds)
