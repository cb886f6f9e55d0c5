"""DCP's plan caching on real ranks: one plan for several saves, made anew when what is saved changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import SavePlanner
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

import dcpx
from tests.dist.ranks import run
from tests.support.versions import gloo

pytestmark = [
    gloo,
    pytest.mark.skipif(not hasattr(SavePlanner, "_cached_save_plan"), reason="this torch caches no plans"),
    pytest.mark.timeout(120),
]

SAVES, ADDED = 5, 3
"""How many saves there are, and from which on there is one tensor more."""


def state(mesh: DeviceMesh, rank: int, step: int, factor: int = 1) -> dict[str, Any]:
    """What a rank saves at a step: shards, what both have, and what it alone has. With the factor 0 a target."""
    rows = torch.arange(35.0).reshape(7, 5) + 100 * (step + 1)
    found: dict[str, Any] = {
        "sharded": distribute_tensor(rows * factor, mesh, [Shard(0)]),
        "both": torch.full((3,), (step + 1) * factor),
        f"own of {rank}": torch.full((2, rank + 1), 10.0 * step + rank + 1) * factor,
        "object": {"step": (step + 1) * factor},
    }
    if step >= ADDED:
        found["added"] = distribute_tensor(rows.T.contiguous() * factor, mesh, [Shard(1)])
    return found


def _save_and_load(rank: int, world: int, path: Path) -> None:
    mesh = init_device_mesh("cpu", (world,))
    described = []
    for step in range(SAVES):
        planner = DefaultSavePlanner(enable_plan_caching=True)
        folder = path / str(step)
        dcpx.save(state(mesh, rank, step), folder, planner=planner)
        described.append(SavePlanner._cached_metadata.get("DefaultSavePlanner"))
        loaded, expected = state(mesh, rank, step, factor=0), state(mesh, rank, step)
        dcpx.load(loaded, folder)
        assert loaded.pop("object") == expected.pop("object")
        for name, value in expected.items():
            found, wanted = (one.to_local() if isinstance(one, DTensor) else one for one in (loaded[name], value))
            assert torch.equal(found, wanted), (step, name)
        if rank == 0:
            report = dcpx.verify(folder)
            assert report.ok, report
    if rank == 0:  # the coordinator's metadata: made once, and once more when a tensor came
        made_anew = [step for step in range(1, SAVES) if described[step] is not described[step - 1]]
        assert made_anew == [ADDED]
        assert described[0] is not None


def test_saves_with_one_plan_load_exactly(tmp_path: Path):
    run(_save_and_load, 2, tmp_path)
