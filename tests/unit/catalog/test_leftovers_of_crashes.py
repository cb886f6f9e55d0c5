"""Saves whose process is killed, or goes on, or succeeds at the wrong moment: what is found, and what is removed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import dcpx
from dcpx.catalog import leftovers
from dcpx.catalog.leftovers import Leftover, find_leftovers, remove_leftovers
from dcpx.catalog.names import owner_name, save_of
from dcpx.store.contract import Store
from tests.support.leftovers import DAY, age, dead, loaded, names, save_id, state

PATIENCE = 60

SAVE = """
import os, pathlib, signal, sys, time
from unittest import mock
import torch, dcpx
from dcpx.store.local import LocalStore

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def wait(item):
    print("saving", flush=True)
    sys.stdin.readline()

path, what = pathlib.Path(sys.argv[1]), sys.argv[2]
state = {"weights": torch.full((300_000,), 2.0), "object": ("saved", 2)}
pack = dcpx.Pack(policy=wait if what == "wait" else None)
owner, name = {"write": (os, "writev"), "move": (LocalStore, "move"), "tidy": (LocalStore, "remove")}.get(
    what, (mock.Mock(), "nothing")
)
stock = getattr(owner, name)

def of_a_checkpoint(*arguments, **options):  # the owner's file is written first
    first = arguments[0]
    if what == "write" and os.readlink(f"/proc/self/fd/{first}").endswith(".saving"):
        return stock(*arguments)
    die()

with mock.patch.object(owner, name, of_a_checkpoint):
    dcpx.save(state, path, overwrite=True, pack=pack)
"""


def crash(path: Path, where: str) -> None:
    """A save into `path`, of state 2, whose process is killed there."""
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", SAVE, path, where])
    assert found.returncode == -signal.SIGKILL


@pytest.mark.parametrize("where", ["write", "move"])
def test_a_killed_save(where: str, tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    before = names(tmp_path)
    crash(tmp_path, where)
    (found,) = find_leftovers(tmp_path)
    assert set(found.names) == names(tmp_path) - before
    assert {owner_name(found.save), f"{found.save}__0_0.distcp"} <= set(found.names)
    assert found.nbytes == sum((tmp_path / name).stat().st_size for name in found.names)
    assert found.modified == max((tmp_path / name).stat().st_mtime for name in found.names)
    assert found.owner is not None
    assert (found.owner.host, found.state) == (socket.gethostname(), "dead")
    assert remove_leftovers(tmp_path) == [found]
    assert names(tmp_path) == before
    assert loaded(tmp_path) == 1
    assert find_leftovers(tmp_path) == remove_leftovers(tmp_path) == []


def test_a_killed_save_where_there_was_no_checkpoint(tmp_path: Path):
    crash(tmp_path / "c", "write")
    assert len(remove_leftovers(tmp_path / "c")) == 1
    assert names(tmp_path / "c") == set()


def test_killed_after_the_commit(tmp_path: Path):
    """The owner's file is left of the new checkpoint, and all files of the old one."""
    dcpx.save(state(1), tmp_path)
    old = save_id(tmp_path)
    crash(tmp_path, "tidy")
    found = {one.save: one for one in find_leftovers(tmp_path)}
    assert {save_of(name) for name in found.pop(old).names} == {old}
    ((new, one),) = found.items()
    assert one.names == (owner_name(new),)
    assert one.state == "dead"

    assert remove_leftovers(tmp_path) == [one]  # who wrote the old one isn't known
    age(tmp_path, 2 * DAY)
    assert [one.save for one in remove_leftovers(tmp_path)] == [old]
    assert loaded(tmp_path) == 2
    assert save_id(tmp_path) == new


def test_a_running_save_is_left_alone(tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    arguments = [sys.executable, "-W", "ignore", "-c", SAVE, tmp_path, "wait"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "saving\n"
        age(tmp_path, 2 * DAY)
        (found,) = find_leftovers(tmp_path)
        assert found.state == "running"
        assert found.owner is not None
        assert found.owner.pid == process.pid
        assert remove_leftovers(tmp_path, older_than=0) == []
        assert set(found.names) <= names(tmp_path)
        process.communicate("go on\ngo on\n", timeout=PATIENCE)
    assert process.returncode == 0
    assert loaded(tmp_path) == 2
    assert find_leftovers(tmp_path) == []


def test_a_save_that_succeeds_while_its_leftovers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its files look like a dead save's to whoever has read the pointer before, and its process has ended since."""
    (tmp_path / "c").mkdir()
    dcpx.save(state(2), tmp_path / "new")
    new = save_id(tmp_path / "new")
    for file in (tmp_path / "new").iterdir():
        if file.name != ".metadata":
            file.rename(tmp_path / "c" / file.name)
    (tmp_path / "c" / owner_name(new)).write_bytes(dead().pack())
    stock, calls = leftovers.leftovers_in, 0

    def find(store: Store) -> list[Leftover]:
        nonlocal calls
        calls += 1
        found = stock(store)
        if calls == 1:
            assert [one.state for one in found] == ["dead"]
            (tmp_path / "new" / ".metadata").rename(tmp_path / "c" / ".metadata")
        return found

    monkeypatch.setattr(leftovers, "leftovers_in", find)
    (removed,) = remove_leftovers(tmp_path / "c")
    assert removed.names == (owner_name(new),)
    assert loaded(tmp_path / "c") == 2
