"""Tensors that are written to while they are saved: what is stored agrees with its checksums, and it is said."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.support.extensions import Passing
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import WriteItem
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

import dcpx
from dcpx.codecs import Coded, Lanes
from dcpx.codecs.auto import Auto, Smallest
from dcpx.extension import StreamTransformExtension
from dcpx.frame.chunks import RawChunk, encode_chunk
from dcpx.kernels import Xxh3_128
from dcpx.store import sink as sink_module
from dcpx.store.local import LocalStore
from dcpx.store.sink import FileSink


class Twice(Passing):
    """An extension that looks twice at what it is given: it keeps all until the end, and says how it began."""

    descriptor = "stream.twice@tests/1"

    def __init__(self, at_writes: Callable[[], object] = lambda: None) -> None:
        self._at_writes = at_writes

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _TwiceWriter(output, self._at_writes))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        digest, data = input.read(32), input.read()
        assert xxh3_128_hexdigest(data).encode() == digest, "the two looks differ"
        return io.BytesIO(data)


class _TwiceWriter(io.RawIOBase):
    def __init__(self, output: IO[bytes], at_writes: Callable[[], object]) -> None:
        super().__init__()
        self._output, self._at_writes = output, at_writes
        self._parts: list[memoryview] = []
        self._digest = Xxh3_128()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._digest.update(data)
        self._at_writes()
        self._parts.append(memoryview(data))
        return memoryview(data).nbytes

    def close(self) -> None:
        if not self.closed:
            for part in (self._digest.hexdigest().encode(), *self._parts):
                self._output.write(part)
            super().close()
            self._output.close()


PACKS: dict[str, Callable[[], StreamTransformExtension | None]] = {
    "fast": dcpx.Pack,
    "small": lambda: dcpx.Pack(level="small"),
    "planes": lambda: dcpx.Pack("planes"),
    "zstd": lambda: dcpx.Pack("zstd"),
    "raw": lambda: dcpx.Pack("raw"),
    "chunks of 4 KiB": lambda: dcpx.Pack(chunk_size=4096),
    "none": lambda: None,
    "zstandard": dcpx.ZStandard,
    "zstandard, then pack": lambda: dcpx.Chain(dcpx.ZStandard(), dcpx.Pack("raw")),
    "pack, then zstandard": lambda: dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()),
    "empty chain": dcpx.Chain,
    "another's": Twice,
    "another's, then pack": lambda: dcpx.Chain(Twice(), dcpx.Pack("raw")),
}


@contextmanager
def changing(tensors: list[torch.Tensor]) -> Iterator[None]:
    """Other threads write to the tensors for the time of the block."""
    stop = threading.Event()

    def change() -> None:
        with torch.inference_mode():
            while not stop.is_set():
                for tensor in tensors:
                    tensor.neg_()

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def state_of_all_kinds() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weights = (torch.randn(3 << 20) * 0.02).bfloat16()
    state = {
        "large": weights,
        "random": torch.randint(-128, 127, (2 << 20,), dtype=torch.int8),
        "part": weights[7:100_000],
        "transposed": (torch.randn(700, 500)).t(),
        "counted": torch.arange(300_000),
        "complex": torch.randn(300_000, dtype=torch.complex64),
        "parameter": torch.nn.Parameter(torch.randn(200_000), requires_grad=False),
    }
    return state | {f"small{size}": torch.randn(size) for size in (1, 5, 500, 1000, 1025, 2000, 20_000)}


@pytest.mark.filterwarnings("ignore::dcpx.DcpxWarning")
@pytest.mark.parametrize("name", PACKS)
def test_what_changes_while_it_is_saved_loads(name: str, tmp_path: Path):
    pack, state = PACKS[name](), state_of_all_kinds()
    registry = dcpx.ExtensionRegistry()
    registry.register(Twice)
    magnitudes = {key: value.abs() for key, value in state.items()}
    for attempt in range(2):
        path = tmp_path / str(attempt)
        with changing(list(state.values())):
            dcpx.save(state, path, pack=pack)
        loaded = {key: torch.empty_like(value) for key, value in state.items()}
        dcp.load(loaded, storage_reader=dcpx.Reader(path, registry=registry), no_dist=True)
        for key, value in loaded.items():
            assert torch.equal(value.abs(), magnitudes[key]), key
        assert dcpx.verify(path, registry=registry).ok


# One look, shown without a race: what codes, hashes or writes changes the memory as soon as it was looked at.


class Changing:
    """A codec that changes a chunk's memory, and makes nothing smaller."""

    id, name = 7, "changing"

    def __init__(self, memory: bytearray, payload: bytes | None) -> None:
        self.memory, self.payload = memory, payload

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        self.memory[:] = bytes(len(self.memory))
        return None if self.payload is None else Coded(self.id, 0, self.payload)

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        raise NotImplementedError


def test_a_chunk_that_stays_raw_is_what_was_hashed():
    memory = bytearray(b"as it was" * 1000)
    before = bytes(memory)
    for codec in (Changing(memory, None), Changing(memory, b"coded")):
        memory[:] = before
        stored = encode_chunk(RawChunk(memoryview(memory), Smallest(codec), Lanes(), still=False))
        assert stored.content == xxh3_64_intdigest(before)
        assert bytes(stored.payload) == (codec.payload or before)


@pytest.mark.parametrize("encoder", [Auto(), Auto(small=True), Smallest()])
def test_a_stored_chunk_is_none_of_the_tensors_memory(encoder: Auto | Smallest):
    memory = bytearray(torch.randint(0, 256, (50_000,), dtype=torch.uint8).numpy().tobytes())
    before = bytes(memory)
    coded, content = encoder.encode(memoryview(memory), Lanes(), still=False)
    memory[:] = bytes(len(memory))
    assert (coded.codec, bytes(coded.payload)) == (0, before)
    assert content == xxh3_64_intdigest(before)


def test_memory_that_holds_still_is_not_copied():
    memory = memoryview(torch.randint(0, 256, (50_000,), dtype=torch.uint8).numpy().tobytes())
    for encoder in (Auto(), Smallest()):
        coded, _ = encoder.encode(memory, Lanes(), still=True)
        assert memoryview(coded.payload).obj is memory.obj


@pytest.mark.parametrize("size", [1, 1000, 64 << 10, (3 << 20) + 5])
def test_what_is_written_is_what_was_hashed(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    memory = bytearray(b"x" * size)

    class ChangingHasher:
        """Changes the memory as soon as it was looked at."""

        def __init__(self) -> None:
            self.hasher = Xxh3_128()

        def update(self, *buffers: Any) -> None:
            self.hasher.update(*buffers)
            memory[:] = bytes(byte ^ 1 for byte in memory[:1]) * size

        def hexdigest(self) -> str:
            return self.hasher.hexdigest()

    monkeypatch.setattr(sink_module, "Xxh3_128", ChangingHasher)
    item = ChangingHasher()
    path = tmp_path / "file"
    sink = FileSink(LocalStore(tmp_path).create(path.name))
    sink.write_through(memoryview(memory), cast(Xxh3_128, item))
    sink.finish()
    written = path.read_bytes()
    assert len(written) == size
    assert sink.digest() == item.hexdigest() == xxh3_128_hexdigest(written)


# Saying so


def saved_with_warnings(state: dict[str, Any], path: Path, **arguments: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dcpx.save(state, path, **arguments)
    return [str(one.message) for one in caught if one.category is dcpx.DcpxWarning]


class ChangesOthers(DefaultSavePlanner):
    """Adds one to some of the tensors when the one named "last" is asked for."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        self._tensors = tensors

    def resolve_data(self, write_item: WriteItem) -> Any:
        if write_item.index.fqn == "last":
            for tensor in self._tensors:
                tensor.add_(1)
        return super().resolve_data(write_item)


def test_a_save_names_what_changed(tmp_path: Path):
    state = {name: torch.randn(3000) for name in ("a", "b", "c", "d", "held", "last")}
    planner = ChangesOthers(*(state[name] for name in "abcd"))
    (message,) = saved_with_warnings(state, tmp_path, planner=planner)
    assert "'a', 'b', 'c' and 1 more" in message


def test_a_save_through_streams_names_what_changed(tmp_path: Path):
    state = {name: torch.randn(3000) for name in "abc"}
    (message,) = saved_with_warnings(state, tmp_path, pack=Twice(lambda: state["b"].add_(1)))
    assert ": 'b'. " in message


@pytest.mark.parametrize("name", ["fast", "none", "zstandard"])
def test_nothing_is_said_of_what_holds_still(name: str, tmp_path: Path):
    with torch.inference_mode():
        without_version = torch.randn(3000)
    state = {"a": torch.randn(3000), "view": torch.randn(50, 60).t(), "inference": without_version, "object": {1, 2}}
    assert saved_with_warnings(state, tmp_path, pack=PACKS[name]()) == []
