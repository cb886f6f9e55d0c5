"""FileSink: whatever is written arrives, in large aligned writes, and a write that fails is never silent."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx.dcp.store import StreamWriter
from dcpx.kernels import Xxh3_128
from dcpx.store import local
from dcpx.store.contract import ObjectWriter
from dcpx.store.local import LocalStore
from dcpx.store.sink import BLOCK, FileSink
from tests.support.leaks import nothing_left
from tests.support.sinks import Sink, full_disk

PAGE = 4096
PATTERN = bytes(range(1, 252)) * (3 * BLOCK // 251)


def piece(start: int, size: int) -> bytes:
    """Some bytes that differ from those of another start."""
    begin = start % 251
    return PATTERN[begin : begin + size]


EDGES = [PAGE, (64 << 10) - 1, 64 << 10, BLOCK, BLOCK + 1]
SIZES = st.integers(0, 300) | st.integers(0, 3 * PAGE) | st.sampled_from(EDGES)
STEPS = st.lists(st.tuples(st.sampled_from(["write", "through", "through", "flush"]), SIZES), max_size=40)


def play(sink: FileSink, steps: list[tuple[str, int]]) -> bytes:
    """Take the steps, and return what must have arrived."""
    expected = bytearray()
    for number, (step, size) in enumerate(steps):
        data = bytearray(piece(number, size))
        if step == "write":
            sink.write(bytes(data))
        elif step == "through":
            sink.write_through(data, Xxh3_128())
        else:
            sink.flush()
            data.clear()
        expected += data
        assert sink.position == len(expected)
        data[:] = bytes(len(data))  # what went through is the writer's again
    sink.flush()
    return bytes(expected)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_writes_arrive_in_a_file(steps: list[tuple[str, int]]):
    with tempfile.TemporaryDirectory() as folder:
        sink = FileSink(LocalStore(folder).create("x"))
        expected = play(sink, steps)
        sink.finish()
        assert (Path(folder) / "x").read_bytes() == expected


def streaming(stream: object) -> ObjectWriter:
    """A writer to any stream, as of a store that is no local directory."""
    return StreamWriter(cast(IO[bytes], stream), "a stream", lambda: None)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(1, 7))
def test_any_writes_arrive_in_another_stream(steps: list[tuple[str, int]], share: int):
    stream = Sink(lambda size, turn: max(size // share, 1))
    expected = play(FileSink(streaming(stream)), steps)
    assert stream.data == expected


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ObjectWriter]:
    writer = LocalStore(tmp_path).create("file")
    yield writer
    writer.discard()


def content(file: ObjectWriter) -> bytes:
    return Path(file.place).read_bytes()


Calls = list[tuple[int, int]]
"""Where a write began, and how many bytes it took."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The writes that reach the system."""
    found: Calls = []
    write = os.writev

    def writev(descriptor: int, parts: list[memoryview]) -> int:
        found.append((os.lseek(descriptor, 0, os.SEEK_CUR), sum(map(len, parts))))
        return write(descriptor, parts)

    monkeypatch.setattr(os, "writev", writev)
    return found


def test_writes_are_large_and_aligned(file: ObjectWriter, calls: Calls):
    sink = FileSink(file)
    for number in range(3000):
        sink.write(piece(number, 4321))
    sink.flush()
    assert len(content(file)) == 3000 * 4321
    assert all(begin % PAGE == 0 for begin, _ in calls)
    assert all(size % PAGE == 0 and BLOCK - PAGE <= size < BLOCK + 4321 for _, size in calls[:-1])


def test_small_writes_are_gathered(file: ObjectWriter, calls: Calls):
    sink = FileSink(file)
    for number in range(20_000):
        sink.write(piece(number, 200))
    sink.flush()
    assert content(file) == b"".join(piece(number, 200) for number in range(20_000))
    assert len(calls) <= 21
    assert all(begin % PAGE == 0 for begin, _ in calls)


def test_what_is_written_is_not_copied(file: ObjectWriter, monkeypatch: pytest.MonkeyPatch):
    seen: list[object] = []
    write = os.writev

    def writev(descriptor: int, parts: list[memoryview]) -> int:
        seen.extend(part.obj for part in parts)
        return write(descriptor, parts)

    monkeypatch.setattr(os, "writev", writev)
    data = [piece(0, BLOCK), bytearray(PAGE), piece(1, 70_000)]
    sink = FileSink(file)
    for one in data:
        sink.write(one)
    sink.flush()
    assert {id(one) for one in seen} == {id(one) for one in data}


def test_what_is_not_contiguous_is_written_in_c_order(file: ObjectWriter):
    sink = FileSink(file)
    sink.write(memoryview(b"abcdef")[::2])
    sink.write_through(memoryview(bytearray(b"uvwxyz"))[::-1], Xxh3_128())
    sink.flush()
    assert content(file) == b"acezyxwvu"


@pytest.mark.parametrize("local", [True, False])
def test_very_many_tiny_writes_take_little(local: bool, file: ObjectWriter):
    stream = Sink()
    sink, hasher = FileSink(file if local else streaming(stream)), Xxh3_128()
    tracemalloc.start()
    try:
        for _ in range(100_000):
            sink.write_through(b"x", hasher)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    sink.flush()
    assert (content(file) if local else bytes(stream.data)) == b"x" * 100_000


# A system that takes only a part, or fails


@pytest.mark.parametrize("most", [1, 3, PAGE - 1, 100_000])
def test_short_writes_are_completed(most: int, file: ObjectWriter, monkeypatch: pytest.MonkeyPatch):
    def writev(descriptor: int, parts: list[memoryview]) -> int:
        assert 0 < len(parts) <= 1024, "more parts than the system takes"
        return os.write(descriptor, b"".join(parts)[:most])

    monkeypatch.setattr(os, "writev", writev)
    sizes = [5, 1, 0, 300] * 3 if most < 10 else [BLOCK, 1, 70_000, 200] * 2
    expected = play(FileSink(file), [("write", size) for size in sizes])
    assert content(file) == expected


def test_a_write_that_takes_nothing_is_an_error(file: ObjectWriter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "writev", lambda descriptor, parts: 0)
    sink = FileSink(file)
    sink.write(b"abc")
    with pytest.raises(OSError, match="took 0 of 3 bytes"):
        sink.flush()


WAYS: dict[str, Callable[[FileSink], object]] = {
    "flush": lambda sink: (sink.write(b"abc"), sink.flush()),
    "write": lambda sink: sink.write(piece(0, BLOCK)),
    "write_through": lambda sink: sink.write_through(piece(0, 100_000), Xxh3_128()),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_is_an_error(way: str):
    full = LocalStore("/dev", sync=False).create("full")
    with pytest.raises(OSError) as caught:
        WAYS[way](FileSink(full))
    assert caught.value.errno == errno.ENOSPC
    full.finish()


@pytest.mark.parametrize("way", WAYS)
def test_a_full_store_is_an_error(way: str):
    with pytest.raises(OSError) as caught:
        WAYS[way](FileSink(streaming(Sink(full_disk(0)))))
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("answer", [0, None, -1, "many"])
def test_a_stream_that_does_not_say_what_it_took(answer: object):
    sink = FileSink(streaming(Sink(lambda size, turn: answer)))
    sink.write(b"abc")
    with pytest.raises((OSError, TypeError)):
        sink.flush()


# Ends


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose bytes were to reach the disk."""
    found: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: found.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    return found


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("durable", [True, False])
def test_the_end_reaches_the_disk(sync: bool, durable: bool, synced: list[str], tmp_path: Path):
    sink = FileSink(LocalStore(tmp_path, sync=sync).create("file", durable=durable))
    sink.write(b"abc")
    assert synced == []
    sink.finish()
    assert synced == ([str(tmp_path / "file")] if sync and durable else [])
    assert (tmp_path / "file").read_bytes() == b"abc"


@pytest.mark.parametrize("sync", [True, False])
def test_the_end_of_a_file_beneath_a_stream_reaches_the_disk(sync: bool, synced: list[str], tmp_path: Path):
    path = tmp_path / "file"
    sink = FileSink(StreamWriter(path.open("wb"), str(path), path.unlink, sync=sync))
    sink.write(b"abc")
    sink.finish()
    assert synced == ([str(path)] if sync else [])
    assert path.read_bytes() == b"abc"


@pytest.mark.parametrize("stream", [Sink(), io.BytesIO()])
def test_the_end_of_a_stream_without_a_file(stream: Any, synced: list[str]):
    FileSink(streaming(stream)).finish()
    assert stream.closed
    assert synced == []


def test_a_failing_sync_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with nothing_left():
        sink = FileSink(LocalStore(tmp_path).create("file"))
        with pytest.raises(OSError, match="Input/output"):
            sink.finish()
    sink.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("finished", [False, True])
def test_what_is_discarded_is_gone(finished: bool, tmp_path: Path):
    with nothing_left():
        sink = FileSink(LocalStore(tmp_path).create("file"))
        sink.write(piece(0, BLOCK + 5))
        if finished:
            sink.finish()
        sink.discard()
    assert not list(tmp_path.iterdir())


def test_the_kernel_is_told_of_large_writes(file: ObjectWriter, monkeypatch: pytest.MonkeyPatch):
    told: list[tuple[int, int]] = []
    assert local._sync_file_range is not None
    monkeypatch.setattr(local, "_sync_file_range", lambda descriptor, *rest: told.append(rest[:2]))
    play(FileSink(file), [("write", BLOCK), ("write", 5), ("flush", 0), ("write", BLOCK)])
    assert told == [(0, BLOCK), (BLOCK + 5, BLOCK - 5)]


def test_without_a_hint_to_the_kernel(file: ObjectWriter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "_sync_file_range", None)
    expected = play(FileSink(file), [("write", BLOCK), ("write", 5)])
    assert content(file) == expected


def test_room_is_set_aside_on_a_device_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[int, ...]] = []
    real = local._fallocate
    assert real is not None

    def fallocate(descriptor: int, *rest: int) -> None:
        asked.append(rest)
        real(descriptor, *rest)

    monkeypatch.setattr(local, "_fallocate", fallocate)
    monkeypatch.setattr(local, "_RESERVED", 3 * BLOCK)
    monkeypatch.setattr(os, "major", lambda device: 8)
    large, small = LocalStore(tmp_path).create("large"), LocalStore(tmp_path).create("small")
    expected = play(FileSink(large), [("write", BLOCK)] * 4 + [("write", 7)])
    assert asked == [(1, 0, 3 * BLOCK), (1, 3 * BLOCK, 3 * BLOCK)]
    large.finish()
    assert content(large) == expected
    assert os.stat(large.place).st_blocks * 512 < len(expected) + BLOCK
    play(FileSink(small), [("write", 1000)])
    monkeypatch.setattr(os, "major", lambda device: 0)
    elsewhere = LocalStore(tmp_path).create("elsewhere")
    play(FileSink(elsewhere), [("write", BLOCK)])
    assert len(asked) == 2
    small.finish()
    elsewhere.finish()


@pytest.mark.parametrize("fallocate", [None, lambda *asked: -1])
def test_room_that_is_refused_is_no_error(
    fallocate: Callable[..., int] | None, file: ObjectWriter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local, "_fallocate", fallocate)
    monkeypatch.setattr(os, "major", lambda device: 8)
    expected = play(FileSink(file), [("write", BLOCK), ("write", 5)])
    file.finish()
    assert content(file) == expected


def test_a_wrapped_file_sees_every_write(tmp_path: Path):
    class Counted(io.FileIO):
        taken = 0

        def write(self, data: object, /) -> int:
            self.taken += memoryview(data).nbytes  # type: ignore[arg-type]
            return super().write(data)  # type: ignore[arg-type]

    with Counted(tmp_path / "x", "w") as counted:
        sink = FileSink(streaming(io.BufferedWriter(counted)))
        sink.write(piece(0, BLOCK + 77))
        sink.finish()
        assert counted.taken == BLOCK + 77
