"""FileSource: any range of a file, whatever the file system's streams are like, and typed errors beyond its end."""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.filesystem import FileSystem

from dcpx import CorruptError, LoadError, MissingFileError, TruncatedError
from dcpx.dcp.store import store_of
from dcpx.store.source import FileSource, Sources

CONTENT = random.Random(0).randbytes(300_000)


class Wrapped(FileSystem):
    """DCP's local file system whose streams are wrapped in one of its own making."""

    def __init__(self, wrap: Callable[[IO[bytes]], Any]) -> None:
        self._wrap = wrap

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        with super().create_stream(path, mode) as stream:
            yield self._wrap(stream)  # type: ignore[arg-type]


class Dribble(io.RawIOBase):
    """A stream that gives a few bytes at a time and remembers how much it gave."""

    def __init__(self, stream: IO[bytes], most: int = 777) -> None:
        super().__init__()
        self._stream, self._most, self.given = stream, most, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any, /) -> int:
        count = self._stream.readinto(memoryview(buffer)[: self._most])  # type: ignore[attr-defined]
        self.given += count
        return int(count)


KINDS: dict[str, Callable[[], FileSystem]] = {
    "local": FileSystem,
    "buffered": lambda: Wrapped(lambda stream: io.BufferedReader(Dribble(stream))),  # type: ignore[type-var]
    "raw": lambda: Wrapped(Dribble),
    "memory": lambda: Wrapped(lambda stream: io.BytesIO(stream.read())),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "data.distcp"
    found.write_bytes(CONTENT)
    return found


@contextmanager
def opened(path: Path, kind: str = "local") -> Iterator[FileSource]:
    source = FileSource(store_of(KINDS[kind](), path.parent), path.name)
    try:
        yield source
    finally:
        source.close()


@every_kind
def test_any_range(kind: str, path: Path):
    chance = random.Random(1)
    with opened(path, kind) as source:
        for _ in range(100):
            begin = chance.randrange(len(CONTENT))
            size = chance.choice([0, 1, 100, 5000, 70_000])
            size = min(size, len(CONTENT) - begin)
            assert source.read(begin, size) == CONTENT[begin : begin + size]
        assert source.read(0, len(CONTENT)) == CONTENT
        assert source.read(len(CONTENT), 0) == b""


@every_kind
def test_many_threads_at_once(kind: str, path: Path):
    def check(seed: int) -> bool:
        chance = random.Random(seed)
        begin = chance.randrange(len(CONTENT) - 3000)
        return source.read(begin, 3000) == CONTENT[begin : begin + 3000]

    with opened(path, kind) as source, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(400)))


@every_kind
def test_a_file_that_ends_too_early(kind: str, path: Path):
    with opened(path, kind) as source:
        for begin, size, missing in (
            (len(CONTENT) - 5, 6, 1),
            (len(CONTENT), 1, 1),
            (1 << 40, 10, 10),
            (5, 400_000, 100_005),
        ):
            with pytest.raises(TruncatedError, match=f"{missing} bytes too early") as caught:
                source.read(begin, size)
            assert caught.value.where.file == str(path)
        assert source.read(0, 10) == CONTENT[:10], "the next read is none the worse"


def test_short_reads_of_the_system_are_completed(path: Path, monkeypatch: pytest.MonkeyPatch):
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, parts, offset: preadv(file, [parts[0][:333]], offset))
    with opened(path) as source:
        assert source.read(17, 100_000) == CONTENT[17:100_017]
        with pytest.raises(TruncatedError):
            source.read(len(CONTENT) - 1000, 1001)


def test_a_file_cut_while_it_is_open(path: Path):
    with opened(path) as source:
        assert source.read(0, 1000) == CONTENT[:1000]
        os.truncate(path, 1500)
        assert source.read(1000, 500) == CONTENT[1000:1500]
        with pytest.raises(TruncatedError, match="at 1500"):
            source.read(1000, 501)


def test_a_file_removed_while_it_is_open_can_still_be_read(path: Path):
    with opened(path) as source:
        path.unlink()
        assert source.read(100, 1000) == CONTENT[100:1100]


def test_no_file(path: Path, tmp_path: Path):
    for missing in (tmp_path / "other", tmp_path, path / "within"):
        with pytest.raises((LoadError, MissingFileError)) as caught:
            FileSource(store_of(FileSystem(), missing.parent), missing.name)
        assert caught.value.where.file == str(missing)


@pytest.mark.parametrize("kind", ["local", "raw"])
def test_a_failing_disk(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with opened(path, kind) as source:
        monkeypatch.setattr(os, "preadv", fail)
        monkeypatch.setattr(Dribble, "readinto", fail)
        with pytest.raises(LoadError, match="Input/output error") as caught:
            source.read(0, 10)
        assert caught.value.where.file == str(path)


def test_only_what_is_asked_for_is_read(path: Path):
    found: list[Dribble] = []
    fs = Wrapped(lambda stream: found.append(Dribble(stream)) or found[-1])
    source = FileSource(store_of(fs, path.parent), path.name)
    source.read(1000, 5000)
    source.read(200_000, 10)
    source.close()
    assert [one.given for one in found] == [5010]


# A range as a stream


@every_kind
def test_a_part_is_a_stream_of_its_own(kind: str, path: Path):
    with opened(path, kind) as source:
        part = source.part(1000, 200_000)
        assert part.name == str(path)
        assert part.seekable()
        assert part.readable()
        assert part.read() == CONTENT[1000:201_000]
        assert part.read(1) == b""
        assert part.seek(-10, os.SEEK_END) == 199_990
        assert part.read(100) == CONTENT[200_990:201_000]
        with pytest.raises((ValueError, OSError)):
            part.seek(-1)
        part.close()
        assert source.read(0, 5) == CONTENT[:5], "the file beneath stays open"


Steps = list[tuple[str, int, int]]
STEPS = st.lists(
    st.tuples(st.sampled_from(["read", "read", "seek"]), st.integers(-10, 3000), st.sampled_from([0, 1, 2])),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(begin=st.integers(0, 3000), size=st.integers(0, 3000), steps=STEPS)
def test_a_part_does_as_a_file_would(tmp_path_factory: pytest.TempPathFactory, begin: int, size: int, steps: Steps):
    path = tmp_path_factory.getbasetemp() / "part.distcp"
    if not path.exists():
        path.write_bytes(CONTENT)
    with opened(path) as source:
        part, model = source.part(begin, size), io.BytesIO(CONTENT[begin : begin + size])
        for step, number, whence in steps:
            if step == "read":
                assert part.read(number if number >= 0 else -1) == model.read(number if number >= 0 else -1)
            elif {0: 0, 1: model.tell(), 2: size}[whence] + number >= 0:
                assert part.seek(number, whence) == model.seek(number, whence)
            assert part.tell() == model.tell()


def test_a_part_beyond_the_end(path: Path):
    with opened(path) as source:
        with pytest.raises(TruncatedError):
            source.part(len(CONTENT) - 5, 10).read()


# The files of a load


class Counting(FileSystem):
    """Counts the files that are open."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.open = 0

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[Any]:
        with super().create_stream(path, mode) as stream:
            self.opened.append(Path(path).name)
            self.open += 1
            try:
                yield stream
            finally:
                self.open -= 1


def test_sources_open_each_file_once_and_close_all(tmp_path: Path):
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
    fs = Counting()
    with Sources(store_of(fs, tmp_path)) as sources:
        assert fs.opened == []
        assert [sources[name].read(0, 1) for name in "abab"] == [b"a", b"b", b"a", b"b"]
        assert fs.opened == ["a", "b"]
        sources.done("a")
        sources.done("a")
        sources.done("never opened")
        assert fs.open == 1
        assert sources["a"].read(0, 1) == b"a"
        assert fs.opened == ["a", "b", "a"]
    assert fs.open == 0


def test_sources_close_all_after_an_error(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"a")
    fs = Counting()
    sources = Sources(store_of(fs, tmp_path))
    assert sources["a"].read(0, 1) == b"a"
    with pytest.raises(MissingFileError, match="missing"), sources:
        sources["missing"]
    assert (fs.opened, fs.open) == (["a"], 0)


def test_a_file_that_goes_on(path: Path):
    directory = store_of(FileSystem(), path.parent)
    for more in (0, 1):
        with Sources(directory, {path.name: len(CONTENT) - more}) as sources:
            if more:
                with pytest.raises(CorruptError, match="goes on after") as caught:
                    sources[path.name].read(0, 1)
                assert caught.value.where.file == str(path)
            else:
                assert sources[path.name].read(0, 1) == CONTENT[:1]
