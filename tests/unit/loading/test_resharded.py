"""Parts of stored tensors: the right elements, read once, decoded once, and told to the planner once."""

from __future__ import annotations

import io
import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.planner import ReadItem

import dcpx
from dcpx import LoadError, kernels
from dcpx.frame.map import FrameMap
from tests.support.planners import Part, PartsPlanner, read, read_parts
from tests.support.tensors import LAYOUTS, bits, blank, random_tensor, weights

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")

STATE: dict[str, torch.Tensor] = {
    "1": weights(torch.bfloat16, (30_000,), 1),
    "2": weights(torch.float32, (90, 130), 2),
    "2 narrow": random_tensor(torch.float64, (3000, 3), 3),
    "3": random_tensor(torch.int16, (12, 40, 23), 4),
    "3 turned": weights(torch.float16, (40, 30, 21), 5).permute(2, 0, 1),
    "4": weights(torch.bfloat16, (6, 7, 20, 19), 6),
    "bytes": random_tensor(torch.uint8, (50, 401), 7),
    "complex": random_tensor(torch.complex128, (40, 30), 8),
    "flags": random_tensor(torch.bool, (9, 1000), 9),
    "zeros": torch.zeros(100, 100),
    "small": random_tensor(torch.float32, (4, 6), 10),
}
OBJECTS: dict[str, Any] = {"object": ("a", {1: 2}), "long object": b"x" * 3_000_000 + bytes(range(256))}
SCALARS = {"scalar": torch.tensor(2.5), "empty": torch.zeros(3, 0)}

WRITERS = {
    "small chunks": lambda path: dcpx.Writer(path, pack=dcpx.Pack(chunk_size=4096), sync_files=False),
    "raw": lambda path: dcpx.Writer(path, pack=dcpx.Pack("raw", chunk_size=8192), sync_files=False),
    "packed": lambda path: dcpx.Writer(path, sync_files=False),
    "chained": lambda path: dcpx.Writer(path, pack=dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()), sync_files=False),
    "stock, packed": lambda path: FileSystemWriter(path, sync_files=False, _extensions=[dcpx.Pack(chunk_size=4096)]),
    "stock": lambda path: FileSystemWriter(path, sync_files=False),
}
every_writer = pytest.mark.parametrize("writer", WRITERS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The state, written in every way."""
    root = tmp_path_factory.mktemp("resharded")
    for name, make in WRITERS.items():
        dcp.save({**STATE, **OBJECTS, **SCALARS}, storage_writer=make(root / name))
    return {name: root / name for name in WRITERS}


def part_of(name: str, offsets: tuple[int, ...], sizes: tuple[int, ...]) -> torch.Tensor:
    tensor = STATE[name]
    for dimension, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        tensor = tensor.narrow(dimension, offset, size)
    return tensor


def assert_parts(planner: PartsPlanner) -> None:
    for number, (name, offsets, target) in enumerate(planner.parts):
        if offsets is None or target is None:
            assert number in planner.objects
        else:
            expected = part_of(name, offsets, tuple(target.shape)).to(target.dtype)
            assert bits(target) == bits(expected), (name, offsets, tuple(target.shape))
    assert sorted(planner.committed) == [number for number, part in enumerate(planner.parts) if part.target is not None]


# The right elements


@st.composite
def some_parts(draw: st.DrawFn) -> list[Part]:
    found = []
    for name in draw(st.lists(st.sampled_from(sorted(STATE)), min_size=1, max_size=8)):
        shape = STATE[name].shape
        sizes = tuple(draw(st.one_of(st.integers(0, size), st.just(size), st.just(1))) for size in shape)
        offsets = tuple(draw(st.integers(0, limit - size)) for limit, size in zip(shape, sizes, strict=True))
        target = blank(part_of(name, offsets, sizes))
        layout = draw(st.sampled_from(sorted(LAYOUTS)))
        found.append(Part(name, offsets, LAYOUTS[layout](target) if target.numel() else target))
    return found


@every_writer
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=some_parts(), threads=st.integers(1, 3), budget=st.sampled_from([1, 10_000, 1 << 28]))
def test_any_parts(writer: str, parts: list[Part], threads: int, budget: int, saved: dict[str, Path]):
    assert_parts(read_parts(saved[writer], parts, threads=threads, budget=budget))


@every_writer
@pytest.mark.parametrize("name", STATE)
def test_rows_columns_and_blocks(name: str, writer: str, saved: dict[str, Path]):
    """Every tensor cut in three along every dimension, and along all at once."""
    shape = STATE[name].shape
    cuts = [[(0, size // 3), (size // 3, size - 1 - size // 3), (size - 1, 1)] for size in shape]
    parts = []
    for dimension, cut in enumerate(cuts):
        for offset, size in cut:
            offsets = tuple(offset if d == dimension else 0 for d in range(len(shape)))
            sizes = tuple(size if d == dimension else full for d, full in enumerate(shape))
            parts.append(Part(name, offsets, blank(part_of(name, offsets, sizes))))
    for one in product(*cuts):
        offsets, sizes = tuple(offset for offset, _ in one), tuple(size for _, size in one)
        parts.append(Part(name, offsets, blank(part_of(name, offsets, sizes))))
    assert_parts(read_parts(saved[writer], parts))


@every_writer
def test_parts_into_another_dtype(writer: str, saved: dict[str, Path]):
    parts = [
        Part("2", (7, 5), torch.zeros(60, 100, dtype=torch.float64)),
        Part("2", (0, 0), torch.zeros(90, 130, dtype=torch.bfloat16)),
        Part("1", (1001,), torch.zeros(20_000, dtype=torch.float32)),
        Part("3", (1, 2, 3), torch.zeros(20, 30, 10, dtype=torch.int64).permute(2, 1, 0)[:, :30]),
    ]
    assert_parts(read_parts(saved[writer], parts))


@every_writer
def test_empty_parts_scalars_and_objects(writer: str, saved: dict[str, Path]):
    scalar, again = torch.tensor(0.0), torch.tensor(0.0, dtype=torch.float64)
    parts = [
        Part("2", (90, 0), torch.zeros(0, 130)),
        Part("2", (5, 5), torch.zeros(10, 0)),
        Part("empty", (0, 0), torch.zeros(3, 0)),
        Part("scalar", (), scalar),
        Part("scalar", (), again),
        Part("object"),
        Part("object"),
        Part("long object"),
    ]
    planner = read_parts(saved[writer], parts)
    assert sorted(planner.committed) == [0, 1, 2, 3, 4]
    assert (scalar.item(), again.item()) == (2.5, 2.5)
    assert {number: len(content) > 0 for number, content in planner.objects.items()} == {5: True, 6: True, 7: True}
    assert planner.objects[5] == planner.objects[6]
    loaded: dict[str, Any] = dict.fromkeys(OBJECTS)
    dcpx.load(loaded, saved[writer])
    assert loaded == OBJECTS


@every_writer
def test_nothing_at_all(writer: str, saved: dict[str, Path]):
    assert read_parts(saved[writer], []).committed == []


@every_writer
def test_overlapping_and_repeated_parts(writer: str, saved: dict[str, Path]):
    whole = blank(STATE["2"])
    parts = [Part("2", (0, 0), whole), Part("2", (0, 0), whole)]
    parts += [Part("2", (row, 3), blank(part_of("2", (row, 3), (30, 90)))) for row in (0, 1, 29, 60)]
    assert_parts(read_parts(saved[writer], parts))


def test_targets_that_share_memory(saved: dict[str, Path]):
    room = torch.zeros(130, 90).t()
    parts = [
        Part("2", (row, column), room[row : row + 45, column : column + 65]) for row in (0, 45) for column in (0, 65)
    ]
    assert_parts(read_parts(saved["small chunks"], parts))
    assert bits(room) == bits(STATE["2"])


@pytest.mark.parametrize(
    "part",
    [
        Part("2", (0, 100), torch.zeros(90, 31)),
        Part("2", (-1, 0), torch.zeros(1, 1)),
        Part("2", (0,), torch.zeros(5)),
        Part("small", (4, 0), torch.zeros(1, 1)),
        Part("nothing", (0,), torch.zeros(1)),
        Part("nothing"),
    ],
)
@every_writer
def test_parts_that_are_not_there(writer: str, part: Part, saved: dict[str, Path]):
    with pytest.raises(dcpx.DcpxError) as caught:
        read_parts(saved[writer], [part])
    assert caught.value.where.item == part.name


# Read once, decoded once


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A tensor of 8 MiB, stored in chunks of 64 KiB, each of four rows."""
    path = tmp_path_factory.mktemp("large") / "c"
    tensor = weights(torch.bfloat16, (512, 8192), 11)
    dcpx.save({"x": tensor}, path, pack=dcpx.Pack(chunk_size=64 << 10), sync=False)
    return path, tensor


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """How often each chunk, named by its frame and its number, was decoded to the end."""
    found: Counter[tuple[int, int]] = Counter()
    lock = threading.Lock()
    native, reading, own = kernels.decode_chunks, kernels.read_chunks, FrameMap.decode

    def decode_chunks(jobs: list[Any]) -> list[int]:
        rest = native(jobs)
        with lock:
            found.update((job[3], job[2]) for number, job in enumerate(jobs) if number not in rest)
        return rest

    def read_chunks(descriptor: int, jobs: list[Any]) -> list[int]:
        rest = reading(descriptor, jobs)
        with lock:
            found.update((job[4], job[3]) for number, job in enumerate(jobs) if number not in rest)
        return rest

    def decode(self: FrameMap, number: int, record: memoryview, out: memoryview) -> None:
        own(self, number, record, out)
        with lock:
            found[self.header.checksum, number] += 1

    monkeypatch.setattr(kernels, "decode_chunks", decode_chunks)
    monkeypatch.setattr(kernels, "read_chunks", read_chunks)
    monkeypatch.setattr(FrameMap, "decode", decode)
    return found


class Reads:
    """What this process read of files: bytes and calls, as the kernel counts them, since `clear`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._before = self._counted()

    @property
    def size(self) -> int:
        return self._counted()["rchar"] - self._before["rchar"]

    @property
    def calls(self) -> int:
        return self._counted()["syscr"] - self._before["syscr"]

    def _counted(self) -> dict[str, int]:
        lines = Path("/proc/self/io").read_text().splitlines()
        return {name: int(count) for name, count in (line.split(": ") for line in lines)}


@pytest.fixture
def reads() -> Reads:
    if not Path("/proc/self/io").exists():
        pytest.skip("the kernel doesn't tell what a process reads")
    return Reads()


def assert_large(tensor: torch.Tensor, parts: list[Part]) -> None:
    for _, offsets, target in parts:
        assert offsets is not None
        assert target is not None
        part = tensor[tuple(slice(o, o + n) for o, n in zip(offsets, target.shape, strict=True))]
        assert torch.equal(target.view(torch.int16), part.contiguous().view(torch.int16))


def stored_size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.glob("*.distcp"))


def test_an_eighth_of_the_rows_reads_an_eighth(
    large: tuple[Path, torch.Tensor], reads: Reads, decoded: Counter[tuple[int, int]]
):
    path, tensor = large
    for first in range(0, 512, 64):
        reads.clear()
        decoded.clear()
        parts = [Part("x", (first, 0), torch.zeros(64, 8192, dtype=torch.bfloat16))]
        read_parts(path, parts)
        assert_large(tensor, parts)
        assert stored_size(path) / 9 < reads.size < stored_size(path) / 8 + 40_000  # the header, the index
        assert len(decoded) == 16
        assert set(decoded.values()) == {1}


def test_one_element_reads_one_chunk(large: tuple[Path, torch.Tensor], reads: Reads, decoded: Counter[tuple[int, int]]):
    path, tensor = large
    parts = [Part("x", (333, 4444), torch.zeros(1, 1, dtype=torch.bfloat16))]
    read_parts(path, parts)
    assert_large(tensor, parts)
    assert reads.size < 100_000
    assert list(decoded.values()) == [1]


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("threads", [0, 3])
def test_all_eighths_decode_every_chunk_once(
    threads: int, dimension: int, large: tuple[Path, torch.Tensor], reads: Reads, decoded: Counter[tuple[int, int]]
):
    path, tensor = large
    size = tensor.shape[dimension] // 8
    parts = []
    for number in range(8):
        offsets = (number * size, 0) if dimension == 0 else (0, number * size)
        parts.append(Part("x", offsets, torch.zeros_like(tensor.narrow(dimension, 0, size)).contiguous()))
    read_parts(path, parts, threads=threads)
    assert_large(tensor, parts)
    assert len(decoded) == 128
    assert set(decoded.values()) == {1}
    assert reads.size < stored_size(path) + 40_000


def test_chunks_between_two_parts_are_not_read(
    large: tuple[Path, torch.Tensor], reads: Reads, decoded: Counter[tuple[int, int]]
):
    path, tensor = large
    parts = [Part("x", (row, 0), torch.zeros(4, 8192, dtype=torch.bfloat16)) for row in (0, 8, 16, 500)]
    read_parts(path, parts)
    assert_large(tensor, parts)
    assert len(decoded) == 4
    assert reads.size < 4 * (64 << 10) + 40_000


class OneReader(FileSystem):
    """Streams that are no local files, and count how often they are read."""

    def __init__(self) -> None:
        self.reads = 0

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        outer = self

        class Stream(io.BytesIO):
            def readinto(self, buffer: Any, /) -> int:
                outer.reads += 1
                return super().readinto(buffer)

        yield Stream(Path(path).read_bytes())


def test_small_chunks_of_a_stream_are_read_together(
    large: tuple[Path, torch.Tensor], decoded: Counter[tuple[int, int]]
):
    path, tensor = large
    parts = [Part("x", (0, 0), torch.zeros_like(tensor))]
    reader = dcpx.Reader(path)
    reader.fs = streams = OneReader()
    read(path, PartsPlanner(parts), reader)
    assert_large(tensor, parts)
    assert len(decoded) == 128
    assert streams.reads < 20


def test_small_items_are_read_together(tmp_path: Path, reads: Reads):
    state = {str(number): torch.full((50,), float(number)) for number in range(1000)}
    dcpx.save(state, tmp_path / "c", sync=False)
    loaded = {name: torch.zeros(50) for name in state}
    reads.clear()
    dcpx.load(loaded, tmp_path / "c")
    assert reads.calls < 40, "metadata included"
    assert all(torch.equal(loaded[name], state[name]) for name in state)


# Told once, and not before


class Checking(PartsPlanner):
    """Looks at every target when it is committed."""

    def commit_tensor(self, request: ReadItem, tensor: torch.Tensor) -> None:
        super().commit_tensor(request, tensor)
        assert threading.current_thread() is threading.main_thread()
        name, offsets, target = self.parts[self.number(request)]
        assert offsets is not None
        assert target is not None
        assert bits(tensor) == bits(part_of(name, offsets, tuple(target.shape))), "it was told too early"


@every_writer
def test_commit_follows_the_data(writer: str, saved: dict[str, Path]):
    parts = [Part(name, (0,) * tensor.dim(), blank(tensor)) for name, tensor in STATE.items() for _ in range(2)]
    parts += [Part("2", (row, 0), torch.zeros(10, 130)) for row in range(0, 90, 10)]
    planner = Checking(parts)
    read(saved[writer], planner, threads=3, budget=20_000)
    assert_parts(planner)
    assert sorted(planner.resolved) == list(range(len(parts)))


@every_writer
def test_a_target_of_another_shape_is_named(writer: str, saved: dict[str, Path]):
    class Wrong(PartsPlanner):
        def resolve_tensor(self, request: ReadItem) -> torch.Tensor:
            return super().resolve_tensor(request)[:1]

    with pytest.raises(LoadError, match=r"gives \(4, 6\), the target is \(1, 6\)") as caught:
        read(saved[writer], Wrong([Part("small", (0, 0), torch.zeros(4, 6))]))
    assert caught.value.where.item == "small"
    assert str(caught.value.where.file).endswith(".distcp")


def test_errors_survive_pickling(saved: dict[str, Path]):
    with pytest.raises(LoadError) as caught:
        dcpx.load({"2": torch.zeros(5, 5)}, saved["packed"])
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
