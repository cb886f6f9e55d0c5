"""What ranks hold under one name and don't agree about: warned of, or refused, before it is a checkpoint."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import dcpx
from dcpx import DcpxWarning, SaveError
from tests.dist.ranks import run
from tests.support.versions import gloo
from tests.support.warned import warned

pytestmark = [
    gloo,
    pytest.mark.timeout(120),
]


def agreed(rank: int, world: int) -> dict[str, Any]:
    """What nobody need be told of: the same everywhere, a rank's own, or a part of one tensor."""
    whole = torch.arange(1000.0)
    return {
        "model": {f"layer {number}": torch.full((50, 50), float(number)) for number in range(5)},
        "large": torch.arange(200_000),
        "sharded": distribute_tensor(whole, init_device_mesh("cpu", (world,)), [Shard(0)]),
        "step": 12,
        "names": {"a": {"x", "y", "z", rank * 0}, "b": {key: key for key in sorted("pqr", reverse=rank % 2 == 1)}},
        f"rng {rank}": torch.full((8,), rank),
        f"object {rank}": {"rank": rank},
    }


def work(rank: int, world: int, path: Path) -> None:
    assert warned(lambda: dcpx.save(agreed(rank, world), path / "agreed")) == []
    loaded = {"step": None, "model": {"layer 3": torch.zeros(50, 50)}}
    dcpx.load(loaded, path / "agreed")
    assert (loaded["step"], loaded["model"]["layer 3"][0, 0].item()) == (12, 3.0)

    differing = {
        "rng": torch.full((5056,), rank, dtype=torch.uint8),
        "large": torch.full((500_000,), float(rank)),
        "loader": {"position": 100 + rank},
        "same": torch.ones(5),
    }
    for planner in (None, DefaultSavePlanner(dedup_save_to_lowest_rank=True)):
        state = agreed(rank, world) | differing
        found = warned(partial(dcpx.save, state, path / "differing", planner=planner, overwrite=True))
        assert len(found) == (1 if rank == 0 else 0), found
        if rank == 0:
            assert all(repr(name) in found[0] for name in ("rng", "large", "loader.position")), found
            assert "same" not in found[0]
            assert planner is None or "'rng', stored as rank 0 has it" in found[0]

    # The writer alone compares as well.
    found = warned(lambda: dcp.save(differing, storage_writer=dcpx.Writer(path / "writer")))
    assert bool(found) is (rank == 0)

    # Where warnings are errors, the save fails on every rank, and none waits for another.
    with warnings.catch_warnings():
        warnings.simplefilter("error", DcpxWarning)
        for state, text in ((differing, "different values under one name"), ({"x": {1: "one"}}, "'x.1'")):
            with pytest.raises(SaveError, match=text):
                dcpx.save(state, path / "errors")
            dist.barrier()
            assert not list((path / "errors").iterdir())

    # What no rank could load is no checkpoint.
    for number, (name, value) in enumerate(
        {
            "size": torch.zeros(3 + rank),
            "dimensions": torch.zeros([1] * (1 + rank)),
            "dtype": torch.zeros(3, dtype=(torch.float32, torch.float64)[rank]),
            "kind": (torch.zeros(3), "an object")[rank],
        }.items()
    ):
        with pytest.raises(SaveError, match=r"rank 0 holds .* rank 1 ") as caught_error:
            dcpx.save({name: value}, path / str(number))
        assert caught_error.value.where.item == name
        dist.barrier()
        assert not (path / str(number) / ".metadata").exists()
    with pytest.raises(SaveError, match=r"rank 0 holds .* rank 1 "):  # a planner that doesn't look
        dcpx.save({"size": torch.zeros(3 + rank)}, path / "planner", planner=DefaultSavePlanner())
    dist.barrier()
    assert not list((path / "planner").iterdir())

    # Each rank by itself has nothing to compare, with or without a group.
    own = {"x": torch.zeros(3 + rank), "o": rank}
    assert warned(lambda: dcpx.save(own, path / "own", use_collectives=False)) == []
    assert warned(lambda: dcpx.save(own, path / f"alone {rank}", no_dist=True)) == []
    state = {"x": torch.ones(3 + rank), "o": None}
    dcpx.load(state, path / f"alone {rank}", no_dist=True)
    assert state["o"] == rank


def test_ranks_compare_what_they_hold(tmp_path: Path):
    run(work, 2, tmp_path / "ranks")
