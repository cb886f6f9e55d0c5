"""Saves and loads that can't succeed: they raise, typed, and nothing half-written counts as a checkpoint."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

import dcpx
from dcpx import DcpxError, ExtensionError, LoadError, SaveError, StreamTransformExtension
from dcpx.dcp.store import StreamWriter
from dcpx.store.contract import ObjectWriter
from dcpx.store.local import LocalStore
from tests.support.extensions import Passing, PassingWriter

STATE: dict[str, Any] = {f"tensor {number}": torch.full((50,), float(number)) for number in range(6)} | {"o": (1, "x")}
ITEMS = len(STATE)


class BoomError(Exception):
    """An extension's own error, of no class that dcpx knows."""


class Failing(Passing):
    """Passes bytes through until the n-th item, whose stream raises at the call named."""

    descriptor = "failing@dcpx-tests/1"

    def __init__(self, item: int, call: str = "write", error: BaseException | None = None) -> None:
        self.item, self.call, self.count = item, call, 0
        self.error = error or BoomError("the extension failed")

    def get_descriptor(self) -> str:
        if self.call == "descriptor" and self.count == self.item:
            raise self.error
        return super().get_descriptor()

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        self.count += 1
        if self.count != self.item:
            return _Through(output, None, None)  # type: ignore[return-value]
        if self.call == "open":
            raise self.error
        return _Through(output, self.call, self.error)  # type: ignore[return-value]


class _Through(PassingWriter):
    def __init__(self, output: IO[bytes], call: str | None, error: BaseException | None) -> None:
        super().__init__(output)
        self._call, self._raised = call, error

    def transform(self, data: memoryview) -> None:
        if self._call == "write" and self._raised:
            raise self._raised
        super().transform(data)

    def finish(self) -> None:
        if self._call == "close" and self._raised:
            raise self._raised


def assert_nothing_published(path: Path) -> None:
    assert not (path / ".metadata").exists()
    with pytest.raises((DcpxError, OSError)):
        dcpx.load({"o": None}, path)


@pytest.mark.parametrize(
    ("call", "threads"),
    # A descriptor is asked for between items: which, is known in one thread only.
    [("open", 1), ("write", 1), ("close", 1), ("descriptor", 1), ("open", 2), ("write", 2), ("close", 2)],
)
@pytest.mark.parametrize("item", [1, 3, ITEMS])
def test_a_failing_extension_fails_the_save(item: int, call: str, threads: int, tmp_path: Path):
    with pytest.raises(SaveError, match="the extension failed"):
        dcpx.save(STATE, tmp_path / "c", pack=Failing(item, call), threads=threads)
    assert_nothing_published(tmp_path / "c")


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_a_failing_extension_fails_the_writer(single: bool, threads: int, tmp_path: Path):
    # As DCP's own save calls it, which raises what is no Exception.
    writer = dcpx.Writer(tmp_path / "c", pack=Failing(4), threads=threads, single_file_per_rank=single)
    with pytest.raises(CheckpointException, match="the extension failed") as caught:
        dcp.save(STATE, storage_writer=writer)
    assert "the extension failed" in str(caught.value.failures[0][0])
    assert_nothing_published(tmp_path / "c")


@pytest.mark.parametrize("threads", [1, 2])
def test_an_extension_of_an_extension_fails_too(threads: int, tmp_path: Path):
    for number, chain in enumerate(
        (dcpx.Chain(dcpx.Pack(), Failing(3)), dcpx.Chain(Failing(3), dcpx.Pack()), dcpx.Chain(Failing(3, "close")))
    ):
        with pytest.raises(SaveError, match="the extension failed"):
            dcpx.save(STATE, tmp_path / str(number), pack=chain, threads=threads)
        assert_nothing_published(tmp_path / str(number))


def test_dcpx_errors_of_an_extension_pass_as_they_are(tmp_path: Path):
    with pytest.raises(ExtensionError, match="no key"):
        dcpx.save(STATE, tmp_path / "c", pack=Failing(2, error=ExtensionError("no key")))
    assert_nothing_published(tmp_path / "c")


def test_the_next_save_succeeds(tmp_path: Path):
    with pytest.raises(SaveError):
        dcpx.save(STATE, tmp_path / "c", pack=Failing(3))
    dcpx.save(STATE, tmp_path / "c")
    loaded = {"tensor 5": torch.zeros(50)}
    dcpx.load(loaded, tmp_path / "c")
    assert torch.equal(loaded["tensor 5"], STATE["tensor 5"])


class Disk(io.RawIOBase):
    """A file that takes at most `most` bytes a write and `room` bytes in all, as raw streams may."""

    def __init__(self, file: IO[bytes], most: int, room: int, full: object) -> None:
        super().__init__()
        self._file, self._most, self._room, self._full = file, most, room, full

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> Any:
        size = min(memoryview(data).nbytes, self._most, self._room)
        self._room -= size
        if size == 0:
            if isinstance(self._full, OSError):
                raise self._full
            return self._full
        return self._file.write(memoryview(data).cast("B")[:size])

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Settings of the Disk that items are written to."""
    settings: dict[str, Any] = {"most": 1 << 30, "room": 1 << 30, "full": OSError(errno.ENOSPC, "No space left")}
    stock = LocalStore.create

    @contextmanager
    def opened(path: Path) -> Iterator[Any]:
        with path.open("wb") as stream:
            yield Disk(stream, **settings)

    def create(self: LocalStore, name: str, *, durable: bool = True) -> ObjectWriter:
        if not name.endswith(".distcp"):
            return stock(self, name, durable=durable)
        path = Path(self.place(name))
        return StreamWriter(opened(path), str(path), path.unlink)

    monkeypatch.setattr(LocalStore, "create", create)
    return settings


PACKS = pytest.mark.parametrize(
    "pack", [dcpx.Pack(), dcpx.Pack("raw"), dcpx.ZStandard(), None], ids=["pack", "raw", "zstd", "none"]
)


@PACKS
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("room", [0, 1, 500, 1000])
def test_a_full_disk_fails_the_save(
    pack: StreamTransformExtension | None, room: int, threads: int, disk: dict[str, Any], tmp_path: Path
):
    disk["room"] = room // threads
    with pytest.raises(SaveError, match="No space left"):
        dcpx.save(STATE, tmp_path / "c", pack=pack, threads=threads)
    assert_nothing_published(tmp_path / "c")


@PACKS
@pytest.mark.parametrize("full", [0, None], ids=repr)
def test_a_write_that_takes_nothing_fails_the_save(
    pack: StreamTransformExtension | None, full: object, disk: dict[str, Any], tmp_path: Path
):
    disk.update(room=1500, full=full)
    with pytest.raises(SaveError):
        dcpx.save(STATE, tmp_path / "c", pack=pack, threads=1)
    assert_nothing_published(tmp_path / "c")


@PACKS
@pytest.mark.parametrize("most", [1, 7, 100])
def test_short_writes_lose_nothing(
    pack: StreamTransformExtension | None, most: int, disk: dict[str, Any], tmp_path: Path
):
    disk["most"] = most
    dcpx.save(STATE, tmp_path / "c", pack=pack)
    loaded = {name: torch.zeros(50) for name in STATE if name != "o"} | {"o": None}
    dcpx.load(loaded, tmp_path / "c")
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE if name != "o")
    assert loaded["o"] == STATE["o"]


def test_an_existing_checkpoint_is_refused_unless_told(tmp_path: Path):
    dcpx.save({"a": torch.ones(3)}, tmp_path / "c")
    before = {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()}
    with pytest.raises(SaveError, match="overwrite=True"):
        dcpx.save({"a": torch.zeros(3)}, tmp_path / "c")
    assert {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()} == before
    dcpx.save({"a": torch.zeros(3)}, tmp_path / "c", overwrite=True)
    loaded = {"a": torch.ones(3)}
    dcpx.load(loaded, tmp_path / "c")
    assert not loaded["a"].any()


def test_what_cannot_be_saved_is_refused(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    for name, state in (("file/c", STATE), ("lambda", {"f": lambda: 0})):
        with pytest.raises(SaveError):
            dcpx.save(state, tmp_path / name)
    assert_nothing_published(tmp_path / "lambda")
    for pack in ("pack", object(), dcpx.Pack):
        with pytest.raises(ExtensionError):
            dcpx.save(STATE, tmp_path / "c", pack=pack)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        dcpx.save(STATE, tmp_path / "c", threads=-1)


def test_a_name_too_long_for_a_header(tmp_path: Path):
    name = "x" * 70000
    dcpx.save({name: torch.arange(5)}, tmp_path / "c")
    loaded = {name: torch.zeros(5, dtype=torch.int64)}
    dcpx.load(loaded, tmp_path / "c")
    assert loaded[name].tolist() == [0, 1, 2, 3, 4]


def test_a_file_size_limit_is_named(tmp_path: Path):
    """A real failure below Python: torch.save alone would report an unexpected position."""
    script = f"""
import resource, signal, torch, dcpx
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
for pack in (dcpx.Pack(), dcpx.ZStandard(), None):
    try:
        dcpx.save({{"weights": torch.randn(1_000_000)}}, {str(tmp_path)!r} + "/c", pack=pack)
    except dcpx.SaveError as error:
        assert "File too large" in str(error) and ".distcp" in str(error), error
    else:
        raise AssertionError("saved beyond the limit")
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


def test_a_save_in_the_background_outlives_the_script(tmp_path: Path):
    """The pools take no more jobs once the interpreter shuts down; the save has to end all the same."""
    script = f"""
import torch, torch.distributed as dist, torch.distributed.checkpoint as dcp, dcpx
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
state = {{f"t{{i}}": torch.randn(1_500_000) for i in range(8)}}
dcp.async_save(state, storage_writer=dcpx.Writer({str(tmp_path)!r} + "/c", threads=2))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
    loaded = {f"t{i}": torch.zeros(1_500_000) for i in range(8)}
    dcpx.load(loaded, tmp_path / "c")
    assert all(tensor.std() > 0.5 for tensor in loaded.values())


class Dribbling(dcpx.ZStandard):
    """A foreign extension whose stream gives a few bytes at a time, as raw streams may."""

    @staticmethod
    def registry_name() -> str:
        return "dribbling@test"

    @staticmethod
    def from_descriptor(version: str) -> Dribbling:
        return Dribbling()

    def get_descriptor(self) -> str:
        return self.registry_name()

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        inner = super().transform_from(input)

        class Stream(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any, /) -> int:
                return inner.readinto(memoryview(buffer)[:7])  # type: ignore[attr-defined]

        return cast(IO[bytes], Stream())


def test_short_reads_of_an_extension_are_completed(tmp_path: Path):
    state = {"a": torch.arange(5000), "o": ["an object", 1]}
    dcpx.save(state, tmp_path / "c", pack=Dribbling())
    registry = dcpx.ExtensionRegistry()
    registry.register(Dribbling)
    loaded: dict[str, Any] = {"a": torch.zeros(5000, dtype=torch.int64), "o": None}
    dcp.load(loaded, storage_reader=dcpx.Reader(tmp_path / "c", registry=registry))
    assert torch.equal(loaded["a"], state["a"])
    assert loaded["o"] == state["o"]


def test_an_interrupt_stays_one(tmp_path: Path):
    class Interrupted(dcpx.ZStandard):
        def transform_to(self, output: IO[bytes]) -> IO[bytes]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dcpx.save(STATE, tmp_path / "c", pack=Interrupted())


def test_targets_that_do_not_fit(tmp_path: Path):
    dcpx.save({"a": torch.ones(3, 4), "o": (1,)}, tmp_path / "c")
    for target in (torch.zeros(4, 3), torch.zeros(3), torch.zeros(3, 4, 1), torch.zeros(()), torch.zeros(5, 5)):
        with pytest.raises(LoadError, match="a"):
            dcpx.load({"a": target}, tmp_path / "c")
    for missing in ({"b": torch.zeros(3)}, {"nothing": 1}, {"a": torch.zeros(3, 4), "b": torch.zeros(1)}):
        with pytest.raises(LoadError, match=r"b|nothing"):
            dcpx.load(missing, tmp_path / "c")


def test_another_dtype_converts_as_in_dcp(tmp_path: Path):
    dcpx.save({"a": torch.tensor([1.5, -2.0])}, tmp_path / "c")
    loaded = {"a": torch.zeros(2, dtype=torch.float64)}
    dcpx.load(loaded, tmp_path / "c")
    assert loaded["a"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("pack", [dcpx.Pack(), dcpx.ZStandard()], ids=["packed", "streamed"])
def test_a_strict_writer_leaves_no_data(pack: StreamTransformExtension, tmp_path: Path):
    """DCP doesn't tell a writer that a save has failed; what this one refuses by itself it also removes."""
    writer = dcpx.Writer(tmp_path, pack=pack, strict=True)
    with pytest.raises(CheckpointException, match="refuses by default"):
        dcp.save({"o": len, "a": torch.ones(3)}, storage_writer=writer)
    assert not [file.name for file in tmp_path.iterdir() if file.name.endswith(".distcp")]


def test_a_state_that_cannot_be_asked_for_is_named(tmp_path: Path):
    class Broken:
        def state_dict(self) -> dict[str, Any]:
            raise BoomError("no state")

        def load_state_dict(self, state: dict[str, Any]) -> None:
            pass

    with pytest.raises(SaveError, match=r"no state \(item 'model'\)"):
        dcpx.save({"model": Broken()}, tmp_path / "c")
