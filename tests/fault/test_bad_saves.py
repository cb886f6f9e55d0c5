"""Saves that can't succeed: typed errors that say what and where, no file and no thread left behind."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.support.extensions import Passing
from tests.support.leaks import nothing_left
from tests.support.tensors import bits, blank, weights
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import WriteItem

import dcpx
from dcpx import DcpxError, SaveError
from dcpx.extension import Item
from dcpx.saving import files
from dcpx.store.contract import ObjectWriter
from dcpx.store.local import LocalStore

STATE: dict[str, Any] = {
    **{f"small {number}": torch.full((50,), float(number)) for number in range(60)},
    "large": weights(torch.bfloat16, (1100, 1001)),
    "turned": weights(torch.float32, (1001, 600)).t(),
    "conjugated": torch.ones(70, dtype=torch.complex64).conj(),
    "object": (1, 2),
    "long object": os.urandom(2_000_000),
}
PACKS: dict[str, Callable[[], Any]] = {
    "pack": dcpx.Pack,
    "raw": lambda: dcpx.Pack("raw", chunk_size=4096),
    "zstd": dcpx.ZStandard,
    "plain": lambda: None,
}
every_pack = pytest.mark.parametrize("pack", PACKS)
threads = pytest.mark.parametrize("threads", [0, 1, 3])


def assert_nothing_there(path: Path) -> None:
    """Nothing that a failed save wrote is left; the next one succeeds."""
    assert [file.name for file in path.iterdir()] == [] if path.exists() else True
    dcpx.save(STATE, path, sync=False)
    loaded = {name: blank(one) for name, one in STATE.items() if isinstance(one, torch.Tensor)}
    dcpx.load(loaded, path)
    assert all(bits(loaded[name]) == bits(STATE[name]) for name in loaded)


class FailingPlanner(DefaultSavePlanner):
    """Has no data for one of its items."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__()
        self._name, self._error = name, error

    def resolve_data(self, write_item: WriteItem) -> Any:
        if write_item.index.fqn == self._name:
            raise self._error
        return super().resolve_data(write_item)


@every_pack
@threads
@pytest.mark.parametrize("name", ["small 45", "large", "object"])
def test_a_planner_that_raises(name: str, threads: int, pack: str, tmp_path: Path):
    planner = FailingPlanner(name, RuntimeError("no luck"))
    with nothing_left(), pytest.raises(SaveError, match="no luck"):
        dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), threads=threads, planner=planner, sync=False)
    assert_nothing_there(tmp_path / "c")


def test_a_planner_that_is_interrupted(tmp_path: Path):
    with nothing_left(), pytest.raises(KeyboardInterrupt):
        dcpx.save(STATE, tmp_path / "c", planner=FailingPlanner("turned", KeyboardInterrupt()), sync=False)
    assert_nothing_there(tmp_path / "c")


@threads
@pytest.mark.parametrize("answer", ["nonsense", ZeroDivisionError("no luck")], ids=repr)
def test_a_policy_that_fails(answer: Any, threads: int, tmp_path: Path):
    def policy(item: Item) -> str | None:
        if item.fqn != "large":
            return None
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    with nothing_left(), pytest.raises(SaveError, match=r"no luck|nonsense"):
        dcpx.save(STATE, tmp_path / "c", pack=dcpx.Pack(policy=policy), threads=threads, sync=False)
    assert_nothing_there(tmp_path / "c")


class Broken(dcpx.Pack):
    """An encoder that fails on a worker."""

    def choose(self, item: Item | None) -> Any:
        choice = super().choose(item)
        return choice._replace(elements=self) if item is not None and item.fqn == "large" else choice

    def encode(self, raw: memoryview, lanes: object, still: bool) -> None:
        raise MemoryError("no luck")


def failing_writes(after: int) -> Callable[..., int]:
    """A disk on which only the first bytes have room."""
    room, writev = [after], os.writev

    def write(descriptor: int, parts: list[memoryview]) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        first = parts[0][: room[0]]
        room[0] -= len(first)
        return writev(descriptor, [first])

    return write


@every_pack
@threads
@pytest.mark.parametrize("room", [0, 100_000, 3_000_000])
def test_a_full_disk(room: int, threads: int, pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch, nothing_left():
        patch.setattr(os, "writev", failing_writes(room))
        with pytest.raises(SaveError, match="No space left") as caught:
            dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), threads=threads, sync=False)
    assert str(caught.value.where.file).endswith(".distcp" if room else ".saving")
    assert_nothing_there(tmp_path / "c")


@every_pack
@threads
def test_a_disk_that_fails_to_sync(threads: int, pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".distcp"):
            raise OSError(errno.EIO, "Input/output error")
        sync(descriptor)

    with monkeypatch.context() as patch, nothing_left():
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(SaveError, match="Input/output error") as caught:
            dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), threads=threads)
    assert str(caught.value.where.file).endswith(".distcp")
    assert_nothing_there(tmp_path / "c")


@every_pack
def test_a_later_file_that_fails(pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those before it are complete, on the disk, and removed all the same."""
    stock, created = LocalStore.create, []

    def create(self: LocalStore, name: str, **options: bool) -> ObjectWriter:
        created.append(name)
        if len(created) == 4:
            raise OSError(errno.EMFILE, "Too many open files")
        return stock(self, name, **options)

    with monkeypatch.context() as patch, nothing_left():
        patch.setattr(LocalStore, "create", create)
        patch.setattr(files, "FILE_BYTES", 100_000)
        with pytest.raises(SaveError, match="Too many open files") as caught:
            dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), threads=1, sync=False)
    assert str(caught.value.where.file).endswith(".distcp")
    assert_nothing_there(tmp_path / "c")


def test_many_files_of_one_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "FILE_BYTES", 100_000)
    with nothing_left():
        dcpx.save(STATE, tmp_path / "c")
    assert len(list((tmp_path / "c").glob("*.distcp"))) >= 4
    loaded = {name: blank(one) for name, one in STATE.items() if isinstance(one, torch.Tensor)}
    with nothing_left():
        dcpx.load(loaded, tmp_path / "c")
    assert all(bits(loaded[name]) == bits(STATE[name]) for name in loaded)


@threads
def test_an_encoder_that_fails(threads: int, tmp_path: Path):
    with nothing_left(), pytest.raises(SaveError, match="no luck"):
        dcpx.save(STATE, tmp_path / "c", pack=Broken(), threads=threads, sync=False)


def test_a_directory_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with nothing_left(), pytest.raises(DcpxError):
        dcpx.save(STATE, tmp_path / "file" / "c")


@every_pack
def test_a_directory_that_vanishes(pack: str, tmp_path: Path):
    def remove(progress: object) -> None:
        shutil.rmtree(tmp_path / "c", ignore_errors=True)

    with nothing_left(), pytest.raises(SaveError):
        dcpx.save(STATE, tmp_path / "c", pack=PACKS[pack](), threads=1, progress=remove)


def refuse_large(item: Item) -> str | None:
    return "nonsense" if item.fqn == "large" else None


CAUSES: dict[str, dict[str, Any]] = {
    "planner": {"planner": FailingPlanner("large", RuntimeError("no luck"))},
    "planner, plain": {"planner": FailingPlanner("large", RuntimeError("no luck")), "pack": None},
    "policy": {"pack": dcpx.Pack(policy=refuse_large)},
    "encoder": {"pack": Broken()},
}


@pytest.mark.parametrize("cause", CAUSES)
def test_the_item_is_named(cause: str, tmp_path: Path):
    with pytest.raises(SaveError) as caught:
        dcpx.save(STATE, tmp_path / "c", sync=False, **CAUSES[cause])
    assert caught.value.where.item == "large"


class Halving(Passing):
    """Its stream takes half of what it is given, and says so."""

    descriptor = "halving@tests/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        class Stream(io.RawIOBase):
            def writable(self) -> bool:
                return True

            def write(self, data: Any, /) -> int:
                half = memoryview(data).cast("B")[: (len(memoryview(data).cast("B")) + 1) // 2]
                output.write(half)
                return len(half)

        return Stream()  # type: ignore[return-value]


def test_an_extension_that_takes_a_part_of_each_write(tmp_path: Path):
    dcpx.save(STATE, tmp_path, pack=Halving(), sync=False)
    registry = dcpx.ExtensionRegistry()
    registry.register(Halving)
    loaded: dict[str, Any] = {name: blank(one) for name, one in STATE.items() if isinstance(one, torch.Tensor)}
    loaded |= {"object": None, "long object": None}
    dcp.load(loaded, storage_reader=dcpx.Reader(tmp_path, registry=registry))
    for name, value in STATE.items():
        assert bits(loaded[name]) == bits(value) if isinstance(value, torch.Tensor) else loaded[name] == value
