"""The contract of a store, held by every keeper: local, objects, what fsspec and what DCP's file systems know."""

from __future__ import annotations

import errno
import io
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemBase

import dcpx
from dcpx import LimitError
from dcpx.dcp.store import FileSystemStore, store_of
from dcpx.store.address import open_store
from dcpx.store.contract import Store
from dcpx.store.local import LocalStore
from dcpx.store.objects import ObjectStore
from dcpx.store.remote import RemoteStore
from tests.support.leaks import nothing_left
from tests.support.s3 import BUCKET, KEY, SECRET, bucket_options

TEMPORARY = "temporary"


class Subclassed(FileSystem):
    """Somebody's own local file system, whose streams aren't Python's."""

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        with io.FileIO(path, mode) as file:
            yield _Stream(file)


class _Stream(io.RawIOBase):
    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def readable(self) -> bool:
        return self._file.readable()

    def readinto(self, buffer: Any, /) -> int:
        return self._file.readinto(buffer)

    def write(self, data: Any, /) -> int:
        return self._file.write(memoryview(data)[:100_000])


class Memory(FileSystemBase):
    """A store in memory, which shows a file once its stream is closed."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.made: list[str] = []

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        if mode == "wb":
            stream = io.BytesIO()
            yield stream
            self.files[path] = stream.getvalue()
        elif path in self.files:
            yield io.BytesIO(self.files[path])
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def concat_path(self, path: Any, suffix: str) -> str:
        return f"{path}/{suffix}"

    def init_path(self, path: Any) -> str:
        return str(path)

    def mkdir(self, path: Any) -> None:
        self.made.append(str(path))

    def exists(self, path: Any) -> bool:
        return any(name == str(path) or name.startswith(f"{path}/") for name in self.files)

    def rename(self, path: Any, new_path: Any) -> None:
        self.files[new_path] = self.files.pop(path)

    def rm_file(self, path: Any) -> None:
        if self.files.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def ls(self, path: Any) -> list[str]:
        return [name for name in self.files if name.startswith(f"{path}/")]

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


KEEPERS: dict[str, Callable[[Path], Store]] = {
    "local": LocalStore,
    "local, unsynced": lambda path: open_store(path, sync=False),
    "subclassed": lambda path: store_of(Subclassed(), path),
    "memory": lambda path: store_of(Memory(), str(path)),
    "objects in memory": lambda path: open_store(f"memory:/{path}/c"),
    "fsspec in memory": lambda path: RemoteStore(f"memory:/{path}/c", {}),
    "fsspec that renames": lambda path: RemoteStore(f"file://{path}", {}),
}
LOCAL = ["local", "local, unsynced", "subclassed"]
TELLING = [*LOCAL, "objects in memory", "fsspec in memory", "fsspec that renames", "S3", "fsspec's S3"]
"""Those that know whether an object is new."""


@pytest.fixture(params=[*KEEPERS, "S3", "fsspec's S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "S3":
        options = bucket_options(request.getfixturevalue("s3"))
        found = open_store(f"s3://{BUCKET}/{uuid.uuid4()}/c", storage_options=options)
    elif request.param == "fsspec's S3":
        options = {"key": KEY, "secret": SECRET, "endpoint_url": request.getfixturevalue("s3")}
        found = open_store(f"s3://{BUCKET}/{uuid.uuid4()}/c", storage_options=options, through_fsspec=True)
    else:
        found = KEEPERS[request.param](tmp_path / "a" / "c")
    assert found.names() == []
    found.make()
    found.make()
    found.sync_root()
    with nothing_left():
        yield found


local_only = pytest.mark.parametrize("store", LOCAL, indirect=True)
telling = pytest.mark.parametrize("store", TELLING, indirect=True)


def read_range(store: Store, name: str, offset: int, size: int) -> bytes:
    reader = store.open(name)
    try:
        buffer = bytearray(size)
        return bytes(buffer[: reader.read_into(offset, memoryview(buffer))])
    finally:
        reader.close()


# --- what is there ----------------------------------------------------------------------------------------------------


def test_who_keeps_what(tmp_path: Path):
    assert type(store_of(FileSystem(), tmp_path)) is LocalStore
    assert type(open_store(tmp_path)) is LocalStore
    assert type(store_of(Memory(), "x")) is FileSystemStore
    assert store_of(Subclassed(), tmp_path).place("x") == str(tmp_path / "x")
    assert type(open_store(f"file://{tmp_path}")) is LocalStore
    assert type(open_store("s3://bucket/c")) is type(open_store("gs://bucket/c")) is ObjectStore
    assert type(open_store("http://127.0.0.1:1/c")) is RemoteStore
    for path in (Path("s3://bucket/c"), "s3://", "memory:///", "", "nonsense://x/y"):
        with pytest.raises(ValueError):
            open_store(path)
    with pytest.raises(ValueError, match="a local path has none"):
        open_store(tmp_path, storage_options={"endpoint": "x"})
    with pytest.raises(ValueError, match="nonsense"):
        open_store("s3://bucket/c", storage_options={"nonsense": "x"})


def test_nothing_is_there(store: Store):
    assert store.names() == []
    assert not store.exists("x")
    for call in (store.size, store.open, lambda name: store.read(name, 10)):
        with pytest.raises(FileNotFoundError):
            call("x")
    if type(store) is ObjectStore or store.place("").startswith("s3:"):
        store.remove("x")  # such a store can't tell
    else:
        with pytest.raises(FileNotFoundError):
            store.remove("x")


def test_objects_come_and_go(store: Store):
    store.write("x", b"abc")
    store.write("y", b"", durable=False)
    store.sync()
    assert sorted(store.names()) == ["x", "y"]
    assert store.exists("x")
    assert (store.size("x"), store.size("y")) == (3, 0)
    assert (store.read("x", 3), store.read("y", 0)) == (b"abc", b"")
    store.write("x", b"de")
    assert store.read("x", 100) == b"de"
    store.remove("x")
    assert store.names() == ["y"]
    assert store.place("y").endswith("c/y")


def test_a_limit(store: Store):
    content = os.urandom(9 << 20)
    store.write("x", content)
    assert store.read("x", len(content)) == content
    for limit in (0, 5 << 20, len(content) - 1):
        with pytest.raises(LimitError, match=f"more than {limit} bytes") as caught:
            store.read("x", limit)
        assert caught.value.where.file == store.place("x")


@local_only
def test_what_is_no_object(store: Store):
    path = Path(store.place(""))
    (path / "folder").mkdir()
    os.mkfifo(path / "queue")
    for name in ("folder", "queue"):
        assert store.exists(name)
        for call in (store.size, store.open, lambda name: store.read(name, 10)):
            with pytest.raises(OSError, match="no regular file"):
                call(name)


@local_only
def test_no_place(store: Store):
    file = Path(store.place("x"))
    file.touch()
    for path in (file.parent / "nowhere", file / "within"):
        other = type(store)(path) if isinstance(store, LocalStore) else store_of(Subclassed(), path)
        assert other.names() == []
        assert not other.exists("x")
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            other.write("x", b"")
    with pytest.raises(NotADirectoryError):
        LocalStore(file).names()


def test_what_a_listing_says(tmp_path: Path):
    store = LocalStore(tmp_path)
    (tmp_path / "x").write_bytes(bytes(5))
    os.utime(tmp_path / "x", (7, 12.5))
    (tmp_path / "link").symlink_to("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "queue")
    (tmp_path / "unasked").touch()
    found = store.entries(lambda name: name != "unasked")
    assert found["x"] == (5, 12.5, False)
    assert {name for name, entry in found.items() if entry.link} == {"link", "dangling"}
    assert found.keys() == {"x", "link", "dangling"}
    with pytest.raises(FileNotFoundError):
        LocalStore(tmp_path / "nowhere").entries(bool)
    with pytest.raises(OSError, match="don't say when"):
        store_of(Memory(), "x").entries(bool)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_an_error_is_no_answer(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    store = LocalStore(tmp_path)
    monkeypatch.setattr(os, "stat", fail)
    monkeypatch.setattr(os, "listdir", fail)
    for call in (store.names, lambda: store.exists("x"), lambda: store.size("x"), lambda: store.open("x")):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == number


# --- one object -------------------------------------------------------------------------------------------------------


def test_an_object_in_many_parts(store: Store):
    parts = [os.urandom(size) for size in (1, 5000, 300_000, 7)]
    writer = store.create("x")
    assert writer.place == store.place("x")
    writer.write([memoryview(part) for part in parts[:3]])
    writer.write([memoryview(parts[3])])
    writer.finish()
    content = b"".join(parts)
    assert store.size("x") == len(content)
    assert read_range(store, "x", 4000, 200_000) == content[4000:204_000]
    assert read_range(store, "x", len(content) - 3, 10) == content[-3:], "fewer only at the end"
    assert read_range(store, "x", len(content) + 5, 10) == b""


def test_parts_that_change_once_they_are_written(store: Store):
    memory = bytearray(1 << 20)
    content = os.urandom(12 << 20)
    writer = store.create("x")
    for begin in range(0, len(content), len(memory)):
        memory[:] = content[begin : begin + len(memory)]
        writer.write([memoryview(memory)[:7], memoryview(memory)[7:]])
    memory[:] = bytes(len(memory))
    writer.finish()
    assert store.read("x", len(content)) == content


def test_more_parts_than_a_system_takes(store: Store):
    writer = store.create("x")
    writer.write([memoryview(b"ab")] * 5000)
    writer.finish()
    assert store.read("x", 10_000) == b"ab" * 5000


def test_many_threads_read(store: Store):
    content = os.urandom(100_000)
    store.write("x", content)
    reader = store.open("x")

    def check(offset: int) -> bool:
        buffer = bytearray(1000)
        return reader.read_into(offset, memoryview(buffer)) == 1000 and buffer == content[offset : offset + 1000]

    with ThreadPoolExecutor(8, thread_name_prefix="test") as pool:
        assert all(pool.map(check, range(0, 99_000, 99)))
    reader.close()


def test_an_object_that_is_discarded(store: Store):
    writer = store.create("x")
    writer.write([memoryview(b"abc")])
    writer.discard()
    assert not store.exists("x")
    if not isinstance(store, (ObjectStore, RemoteStore)):
        with pytest.raises(OSError):
            writer.discard()


def test_a_reader_that_reads_no_chunks(store: Store):
    store.write("x", b"abc")
    reader = store.open("x")
    assert reader.reads_chunks is isinstance(store, LocalStore)
    if not reader.reads_chunks:
        with pytest.raises(NotImplementedError, match="reads no chunks"):
            reader.read_chunks([])
    reader.close()


@pytest.mark.parametrize("call", ["writev", "fsync"])
def test_a_small_object_that_fails_is_gone(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    store = LocalStore(tmp_path)
    monkeypatch.setattr(os, call, fail)
    for write in (
        lambda: store.write("x", b"abc"),
        lambda: store.publish("x", b"abc", TEMPORARY, replace=False),
        lambda: store.publish("x", b"abc", TEMPORARY, replace=True),
    ):
        with nothing_left(), pytest.raises(OSError, match="Input/output error"):
            write()
        assert store.names() == []


# --- published --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
def test_published(replace: bool, store: Store):
    store.publish("x", b"abc", TEMPORARY, replace=replace)
    assert (store.names(), store.read("x", 3)) == (["x"], b"abc")
    store.publish("x", b"de", TEMPORARY, replace=True)
    assert (store.names(), store.read("x", 3)) == (["x"], b"de")


@telling
def test_nothing_is_replaced_unasked(store: Store):
    store.write("x", b"abc")
    with pytest.raises(FileExistsError):
        store.publish("x", b"de", TEMPORARY, replace=False)
    assert (store.names(), store.read("x", 3)) == (["x"], b"abc")


@local_only
@pytest.mark.parametrize("replace", [False, True])
def test_a_move_that_fails_leaves_nothing(replace: bool, store: Store):
    (Path(store.place("x")) / "within").mkdir(parents=True)
    with pytest.raises(OSError):
        store.publish("x", b"de", TEMPORARY, replace=replace)
    assert store.names() == ["x"]


def test_one_of_many_publishes(tmp_path: Path):
    def publish(number: int) -> bool:
        try:
            store.publish("x", b"%d" % number, f"{number}.tmp", replace=False)
        except FileExistsError:
            return False
        return True

    store = LocalStore(tmp_path, sync=False)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(publish, range(50)))
    assert store.names() == ["x"]
    assert [int(store.read("x", 2))] == [number for number, one in enumerate(won) if one]


# --- whole checkpoints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [dcpx.Pack(), dcpx.ZStandard(), None], ids=["pack", "zstd", "none"])
@pytest.mark.parametrize("kind", [Subclassed, Memory])
def test_a_file_system_of_somebody_elses(kind: type[FileSystemBase], pack: Any, tmp_path: Path):
    """Whoever sets it as DCP's own storage classes take it, `fs` and `path`, saves and loads through it."""
    fs = kind()

    def save(number: int, **options: Any) -> None:
        writer = dcpx.Writer(tmp_path / "c", pack=pack, **options)
        writer.fs = fs  # type: ignore[assignment]
        writer.path = fs.init_path(tmp_path / "c")
        state = {"w": torch.full((300, 301), float(number)), "step": number}
        dcp.save(state, storage_writer=writer, no_dist=True)

    def load() -> int:
        reader = dcpx.Reader(tmp_path / "c")
        reader.fs = fs  # type: ignore[assignment]
        reader.path = fs.init_path(tmp_path / "c")
        state = {"w": torch.zeros(300, 301), "step": 0}
        dcp.load(state, storage_reader=reader, no_dist=True)
        assert torch.equal(state["w"], torch.full((300, 301), float(state["step"])))
        return int(state["step"])

    save(1)
    assert load() == 1
    with pytest.raises(dcp.api.CheckpointException, match="exists already"):
        save(2)
    assert load() == 1
    save(3, overwrite=True)
    assert load() == 3
    assert len(store_of(fs, fs.init_path(tmp_path / "c")).names()) == 3, "nothing is left of the others"
    if kind is Memory:
        assert not list(tmp_path.iterdir())
