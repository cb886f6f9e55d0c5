"""Sharded tensors of two ranks, written in every way, load on one, two and four, sharded otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed._shard.sharded_tensor import Shard as LocalShard
from torch.distributed._shard.sharded_tensor import ShardedTensor, init_from_local_shards
from torch.distributed._shard.sharding_spec import ShardMetadata
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import dcpx
from tests.dist.ranks import run
from tests.support.tensors import bits
from tests.support.versions import gloo

pytestmark = [
    gloo,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

WRITERS: dict[str, Callable[[Path], Any]] = {
    "stock": lambda path: FileSystemWriter(path, sync_files=False),
    "stock, pack": lambda path: FileSystemWriter(path, sync_files=False, _extensions=[dcpx.Pack()]),
    "dcpx": lambda path: dcpx.Writer(path, sync_files=False),
    "dcpx, small": lambda path: dcpx.Writer(
        path, sync_files=False, pack=dcpx.Pack(chunk_size=4096), threads=3, budget=1 << 16
    ),
    "dcpx, plain": lambda path: dcpx.Writer(path, sync_files=False, pack=None),
}
READERS: dict[str, Callable[[Path], Any]] = {
    "stock": lambda path: FileSystemReader(path, _extension_registry=dcpx.default_registry()),  # type: ignore[arg-type]
    "dcpx": dcpx.Reader,
    "dcpx, small": lambda path: dcpx.Reader(path, threads=3, budget=1),
}

# Along the dimension that is cut, the sizes leave unequal shards, and with four ranks empty ones.
TENSORS = {
    "rows": (torch.bfloat16, (11, 600)),
    "columns": (torch.float32, (300, 7)),
    "three": (torch.int64, (5, 40, 33)),
    "few": (torch.float64, (3, 4)),
    "large": (torch.bfloat16, (1030, 1500)),
    "everywhere": (torch.float32, (50, 7)),
}
SHARDED = {"uneven": (torch.float32, (90, 31)), "grid": (torch.float16, (64, 48))}


def whole(name: str) -> torch.Tensor:
    """The tensor of this name, the same on every rank."""
    dtype, shape = (TENSORS | SHARDED)[name]
    values = torch.randn(shape, generator=torch.Generator().manual_seed(sum(name.encode())))
    return (values * 50).to(dtype)


def blank(name: str) -> torch.Tensor:
    return torch.full_like(whole(name), 7)


def parts_of(name: str, rank: int, world: int) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Every shard of a ShardedTensor as its offsets, its sizes and the rank that holds it."""
    _, (rows, columns) = SHARDED[name]
    if name == "uneven":  # the first rank holds most of it
        edges = [0, *(rows - world + 1 + number for number in range(world))]
        return [((edges[n], 0), (edges[n + 1] - edges[n], columns), n) for n in range(world)]
    side = 2 * world  # a grid, dealt out in turn: every rank holds several shards
    h, w = rows // side, columns // 2
    return [((i * h, j * w), (h, w), (i + j) % world) for i in range(side) for j in range(2)]


def sharded(name: str, tensor: torch.Tensor, rank: int, world: int) -> ShardedTensor:
    """`tensor` as a ShardedTensor; all but this rank's own shards is dropped."""
    shards = []
    for offsets, sizes, owner in parts_of(name, rank, world):
        if owner == rank:
            part = tensor[tuple(slice(o, o + n) for o, n in zip(offsets, sizes, strict=True))].clone()
            shards.append(LocalShard(part, ShardMetadata(list(offsets), list(sizes), f"rank:{rank}/cpu")))
    return init_from_local_shards(shards, *tensor.shape)


def state(rank: int, world: int, make: Callable[[str], torch.Tensor], turned: bool) -> dict[str, Any]:
    """All tensors, cut along one dimension, or along another if `turned`."""
    mesh = init_device_mesh("cpu", (world,))
    first, second = (Shard(1), Shard(0)) if turned else (Shard(0), Shard(1))
    placed = {"rows": first, "columns": second, "three": Shard(2) if turned else Shard(1), "few": first, "large": first}
    found: dict[str, Any] = {name: distribute_tensor(make(name), mesh, [place]) for name, place in placed.items()}
    found["everywhere"] = distribute_tensor(make("everywhere"), mesh, [first if turned else Replicate()])
    found |= {name: sharded(name, make(name), rank, world) for name in SHARDED}
    return found | {
        "plain": torch.arange(9) if make is whole else torch.zeros(9, dtype=torch.int64),
        "object": ("a", 1),
    }


def assert_loaded(found: dict[str, Any], rank: int, world: int) -> None:
    for name in TENSORS:
        tensor = found[name].full_tensor() if isinstance(found[name], DTensor) else found[name]
        assert bits(tensor) == bits(whole(name)), name
    for name in SHARDED:
        if isinstance(found[name], torch.Tensor) and not isinstance(found[name], ShardedTensor):
            assert bits(found[name]) == bits(whole(name)), name
            continue
        for shard in found[name].local_shards():
            offsets, sizes = shard.metadata.shard_offsets, shard.metadata.shard_sizes
            part = whole(name)[tuple(slice(o, o + n) for o, n in zip(offsets, sizes, strict=True))]
            assert bits(shard.tensor) == bits(part), (name, offsets)
    assert found["plain"].tolist() == list(range(9))
    assert found["object"] == ("a", 1)


def save_all(rank: int, world: int, path: Path) -> None:
    os.environ["PYTHONWARNINGS"] = "ignore"
    for writer, make in WRITERS.items():
        dcp.save(state(rank, world, whole, False), storage_writer=make(path / writer))


def load_all(rank: int, world: int, path: Path) -> None:
    for writer in WRITERS if world == 2 else ("stock, pack", "dcpx"):
        for reader, make in READERS.items():
            for turned in (False, True) if reader == "dcpx" else (True,):
                found = state(rank, world, blank, turned)
                dcp.load(found, storage_reader=make(path / writer))
                assert_loaded(found, rank, world)
    (path / f"loaded {world}.{rank}").touch()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("directions") / "ranks"
    run(save_all, 2, path)
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("writer", WRITERS)
def test_one_process_loads_what_two_ranks_saved(writer: str, reader: str, saved: Path):
    found: dict[str, Any] = {name: blank(name) for name in TENSORS | SHARDED}
    found |= {"plain": torch.zeros(9, dtype=torch.int64), "object": None}
    dcp.load(found, storage_reader=READERS[reader](saved / writer))
    assert_loaded(found, 0, 1)


@pytest.mark.parametrize("world", [2, 4])
def test_other_ranks_load_what_two_saved(world: int, saved: Path):
    run(load_all, world, saved)
    assert len(list(saved.glob(f"loaded {world}.*"))) == world
