"""Several names of one memory, as tied weights have them: written by one worker at a time, left as by stock DCP."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter

import dcpx
from dcpx import kernels
from dcpx.loading import decoding
from dcpx.registry import default_registry
from dcpx.store import local
from tests.support.planners import Part, PartsPlanner, read
from tests.support.tensors import bits, weights

SIZES = [300, 20_000, 400_000]


class Watch:
    """Holds up decoding, and notes when two threads decode to the same bytes at once."""

    def __init__(self) -> None:
        self.met = 0
        self.together = 0
        self._under_way: dict[int, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def writing(self, outs: list[Any]) -> Iterator[None]:
        me = threading.get_ident()
        addresses = [torch.frombuffer(out, dtype=torch.uint8).data_ptr() for out in outs if len(out)]
        spans = [
            (begin, begin + len(out)) for begin, out in zip(addresses, [out for out in outs if len(out)], strict=True)
        ]
        with self._lock:
            for other in self._under_way.values():
                self.together += 1
                self.met += any(a < d and c < b for a, b in spans for c, d in other)
            self._under_way[me] = spans
        threading.Event().wait(0.01)
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[me]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()

    def decode(jobs: list[Any]) -> list[int]:
        with watch.writing([job[1] for job in jobs]):
            return kernels.decode_chunks(jobs)

    def read(descriptor: int, jobs: list[Any]) -> list[int]:
        with watch.writing([job[2] for job in jobs]):
            return kernels.read_chunks(descriptor, jobs)

    class Watched:
        decode_chunks, read_chunks = staticmethod(decode), staticmethod(read)

    monkeypatch.setattr(decoding, "kernels", Watched)
    monkeypatch.setattr(local, "kernels", Watched)
    return watch


@pytest.mark.parametrize("size", SIZES)
def test_no_two_workers_write_to_one_memory(size: int, tmp_path: Path, watch: Watch):
    saved = weights(torch.bfloat16, (size,))
    other = weights(torch.bfloat16, (3_000_000,), 1)
    names = [f"w{number}" for number in range(8)]
    dcpx.save(dict.fromkeys(names, saved) | {"a": other, "z": other}, tmp_path / "c", sync=False)
    target = torch.zeros_like(saved)
    targets = dict.fromkeys(names, target) | {name: torch.zeros_like(other) for name in "az"}
    dcpx.load(dict(targets), tmp_path / "c", threads=4)
    assert all(bits(targets[name]) == bits(one) for name, one in (("w0", saved), ("a", other), ("z", other)))
    assert watch.met == 0
    assert watch.together > 0, "those that share nothing are decoded side by side"


def test_views_that_overlap(tmp_path: Path, watch: Watch):
    saved = weights(torch.bfloat16, (1_000_000,))
    dcpx.save({"all": saved, "head": saved[:600_000], "tail": saved[500_000:]}, tmp_path / "c", sync=False)
    room = torch.zeros_like(saved)
    dcpx.load({"all": room, "head": room[:600_000], "tail": room[500_000:]}, tmp_path / "c", threads=4)
    assert bits(room) == bits(saved)
    assert watch.met == 0


def test_parts_side_by_side_are_written_side_by_side(tmp_path: Path, watch: Watch):
    """Columns of one tensor, as a load of column shards into the whole has them."""
    saved = {str(number): weights(torch.bfloat16, (1000, 1000), number) for number in range(4)}
    dcpx.save(saved, tmp_path / "c", sync=False)
    room = torch.zeros(1000, 4000, dtype=torch.bfloat16)
    parts = [Part(name, (0, 0), room[:, int(name) * 1000 :][:, :1000]) for name in saved]
    planner = PartsPlanner(parts)
    read(tmp_path / "c", planner, threads=4)
    assert bits(room) == bits(torch.cat(list(saved.values()), 1))
    assert watch.together > 0
    assert sorted(planner.committed) == [0, 1, 2, 3], "nothing was loaded twice"


# --- what is left at the end ------------------------------------------------------------------------------------------

WRITERS: dict[str, Any] = {
    "dcpx": lambda path: dcpx.Writer(path, sync_files=False),
    "dcpx, small chunks, several files": lambda path: dcpx.Writer(
        path, pack=dcpx.Pack(chunk_size=4096), sync_files=False, single_file_per_rank=False
    ),
    "dcpx, not packed": lambda path: dcpx.Writer(path, pack=None, sync_files=False),
    "stock": lambda path: FileSystemWriter(path, sync_files=False, single_file_per_rank=False),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("seed", range(6))
def test_the_last_one_of_the_plan_is_left(writer: str, seed: int, tmp_path: Path):
    chance = random.Random(seed)
    names = [f"w{number}" for number in range(9)]
    saved: dict[str, torch.Tensor] = {}
    for name in chance.sample(names, len(names)):
        saved[name] = torch.full((chance.choice(SIZES),), float(len(saved) + 1), dtype=torch.bfloat16)
    dcp.save(saved, storage_writer=WRITERS[writer](tmp_path / "c"))

    def targets() -> dict[str, torch.Tensor]:
        room = torch.zeros(3, 500_000, dtype=torch.bfloat16)
        places = random.Random(seed)
        order = places.sample(names, len(names))
        return {name: room[places.randrange(2)][places.choice([0, 100]) :][: len(saved[name])] for name in order}

    expected, found = targets(), targets()
    dcp.load(expected, storage_reader=FileSystemReader(tmp_path / "c", _extension_registry=default_registry()))
    for _ in range(3):
        dcpx.load(found, tmp_path / "c", threads=4)
        assert all(bits(found[name]) == bits(expected[name]) for name in names)


def test_a_damaged_name_leaves_the_healthy_one(tmp_path: Path):
    saved = {name: weights(torch.float32, (50_000,), number) for number, name in enumerate("abc")}
    dcpx.save(saved, tmp_path / "c", pack=dcpx.Pack("raw"), sync=False)
    infos = {index.fqn: info for index, info in dcpx.Reader(tmp_path / "c").read_metadata().storage_data.items()}
    path = tmp_path / "c" / infos["c"].relative_path
    data = bytearray(path.read_bytes())
    data[infos["c"].offset + infos["c"].length // 2] ^= 1
    path.write_bytes(data)
    target = torch.zeros(50_000)
    failures = dcpx.load(dict.fromkeys("abc", target), tmp_path / "c", partial=True)
    assert set(failures) == {"c"}
    assert bits(target) == bits(saved["b"])
