"""Every metadata file that DCP writes is read as `pickle.load` reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import DefaultSavePlanner, FileSystemWriter
from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter

import dcpx
from dcpx.dcp.private import HAS_RANK_LOCAL
from tests.dist.ranks import run
from tests.interop.states import make_state
from tests.support.metadata_files import assert_loads
from tests.support.versions import gloo, rank_local


def nested_state() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optim": optimizer.state_dict(),
        "list": [torch.ones(2), {"deep": [torch.zeros(1), "text"]}, [torch.ones(1)]],
        "tuple": (torch.ones(1), 2),
        "objects": {"step": 3, "name": "Grüße \N{SNOWMAN}", "none": None, "numbers": [1, 2.5]},
        "dotted.name": 1,
        "": "an empty name",
        "x" * 300: "a long name",
    }


WRITERS: dict[str, Callable[[Path], Any]] = {
    "stock": lambda path: FileSystemWriter(path),
    "stock, a string as path": lambda path: FileSystemWriter(str(path)),
    "stock, threads": lambda path: FileSystemWriter(path, thread_count=2),
    "stock, a file an item": lambda path: FileSystemWriter(path, single_file_per_rank=False),
    "stock, one extension": lambda path: FileSystemWriter(path, _extensions=[dcpx.Pack()]),
    "stock, two extensions": lambda path: FileSystemWriter(path, _extensions=[dcpx.ZStandard(), dcpx.Pack()]),
    "stock, fsspec": lambda path: FsspecWriter(f"file://{path}"),
    "dcpx": lambda path: dcpx.Writer(path),
    "dcpx, plain": lambda path: dcpx.Writer(path, pack=None),
    "dcpx, chain": lambda path: dcpx.Writer(path, pack=dcpx.Chain(dcpx.Pack(), dcpx.ZStandard())),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("state", [make_state, nested_state, dict], ids=["all dtypes", "nested", "empty"])
def test_of_every_writer(writer: str, state: Callable[[], dict[str, Any]], tmp_path: Path):
    dcp.save(state(), storage_writer=WRITERS[writer](tmp_path))
    found = assert_loads((tmp_path / ".metadata").read_bytes())
    assert found.storage_meta is not None
    assert str(found.storage_meta.checkpoint_id).endswith(str(tmp_path))


def test_of_a_planner_that_does_not_flatten(tmp_path: Path):
    planner = DefaultSavePlanner(flatten_state_dict=False)
    state = {"tensor": torch.ones(2), "object": {"a": 1}}
    dcp.save(state, storage_writer=FileSystemWriter(tmp_path), planner=planner)
    assert assert_loads((tmp_path / ".metadata").read_bytes()).planner_data is None


@rank_local
def test_of_a_rank_of_its_own(tmp_path: Path):
    """Without collectives every rank writes metadata of its own."""
    writer = FileSystemWriter(tmp_path)
    dcp.save(nested_state(), storage_writer=writer, use_collectives=False)
    (path,) = tmp_path.glob("*.metadata")
    assert_loads(path.read_bytes())


def sharded_ranks(rank: int, world: int, path: Path) -> None:
    """Save what sharded training does: DTensors, ShardedTensors and a model that is fully sharded."""
    from torch.distributed._shard.sharded_tensor import init_from_local_shards
    from torch.distributed._shard.sharded_tensor.shard import Shard as LocalShard
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (world,))
    plane = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("replicas", "shards"))
    rows = LocalShard.from_tensor_and_offsets(torch.full((2, 3), float(rank)), [2 * rank, 0], rank)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3))
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 5)).sum().backward()
    optimizer.step()
    weights, moments = get_state_dict(model, optimizer)
    state = {
        "rows": distribute_tensor(torch.ones(10, 6), mesh, [Shard(0)]),
        "columns": distribute_tensor(torch.ones(5, 301), mesh, [Shard(1)]),
        "fewer rows than ranks": distribute_tensor(torch.ones(3, 4), mesh, [Shard(0)]),
        "a row": distribute_tensor(torch.ones(1, 4), mesh, [Shard(0)]),
        "everywhere": distribute_tensor(torch.ones(7), mesh, [Replicate()]),
        "both": distribute_tensor(torch.ones(9, 4), plane, [Replicate(), Shard(0)]),
        "plane": distribute_tensor(torch.ones(9, 5), plane, [Shard(0), Shard(1)]),
        "twice": distribute_tensor(torch.ones(9, 5), plane, [Shard(0), Shard(0)]),
        "sharded tensor": init_from_local_shards([rows], 2 * world, 3),
        "plain": torch.ones(3),
        f"rank {rank}": ("object of", rank),
        "model": weights,
        "optim": moments,
    }
    dcp.save(state, storage_writer=FileSystemWriter(path / "stock"))
    dcp.save(state, storage_writer=dcpx.Writer(path / "dcpx"))
    if HAS_RANK_LOCAL:
        dcp.save(state, storage_writer=FileSystemWriter(path / "alone"), use_collectives=False)


@gloo
@pytest.mark.timeout(120)
def test_of_sharded_states(tmp_path: Path):
    run(sharded_ranks, 4, tmp_path)
    files = sorted(tmp_path.glob("*/*.metadata")) + sorted(tmp_path.glob("*/.metadata"))
    assert {path.parent.name for path in files} == {"stock", "dcpx", *(["alone"] if HAS_RANK_LOCAL else [])}
    for path in files:
        found = assert_loads(path.read_bytes())
        if path.parent.name != "alone":
            assert len(found.state_dict_metadata["sharded tensor"].chunks) == 4
            assert len(found.state_dict_metadata["fewer rows than ranks"].chunks) == 4
