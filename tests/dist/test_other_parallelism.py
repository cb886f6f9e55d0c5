"""A model and its optimizer's state go from one kind of parallelism and number of ranks to the next, bit for bit."""

from __future__ import annotations

import json
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import dcpx
from tests.support.tensors import bits
from tests.support.versions import gloo

from .ranks import run

pytestmark = [gloo, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore::FutureWarning")]

STAGES = [
    ("fsdp and tp", (2, 2)),
    ("tp", (2,)),
    ("plain", (1,)),
    ("fsdp", (3,)),
    ("hsdp", (2, 2)),
    ("ddp", (2,)),
    ("fsdp", (4,)),
]
"""The kind of parallelism, and the mesh of the ranks."""


def model(kind: str, sizes: tuple[int, ...], seed: int) -> torch.nn.Module:
    """Whose sizes leave unequal shards on three and four ranks."""
    torch.manual_seed(seed)
    net: Any = torch.nn.Sequential(torch.nn.Linear(37, 62), torch.nn.ReLU(), torch.nn.Linear(62, 13))
    mesh = init_device_mesh("cpu", sizes, mesh_dim_names=("outer", "inner")[: len(sizes)])
    if "tp" in kind:
        across = mesh["inner"] if "fsdp" in kind else mesh
        parallelize_module(net, across, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    if "fsdp" in kind or kind == "hsdp":
        for part in (net[0], net[2], net):
            fully_shard(part, mesh=mesh["outer"] if "tp" in kind else mesh)
    return DistributedDataParallel(net) if kind == "ddp" else net


def state_of(net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    names = ("model", "optimizer")
    return dict(zip(names, get_state_dict(net, optimizer), strict=True))


def digests(state: Any, name: str = "") -> dict[str, Any]:
    """What all ranks together hold, by name."""
    if isinstance(state, dict):
        parts = (digests(value, f"{name}.{key}") for key, value in state.items())
        return {key: value for part in parts for key, value in part.items()}
    if isinstance(state, list):
        return {name: repr(state)}
    value = state.full_tensor() if isinstance(state, DTensor) else state
    return {name: sha256(bits(value)).hexdigest() if isinstance(value, torch.Tensor) else repr(value)}


def stage(rank: int, world: int, path: Path, number: int) -> None:
    kind, sizes = STAGES[number]
    net = model(kind, sizes, seed=number)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    if number:
        state = state_of(net, optimizer)
        dcpx.load(state, path / str(number - 1))
        set_state_dict(net, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    else:
        for step in range(3):
            numbers = torch.Generator().manual_seed(step)
            net(torch.randn(8, 37, generator=numbers)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    state = state_of(net, optimizer)
    dcpx.save(state, path / str(number), sync=False)
    found = digests(state)
    if rank == 0:
        (path / f"{number}.json").write_text(json.dumps(found))
    dist.barrier()


def test_from_each_to_the_next(tmp_path: Path):
    for number, (_, sizes) in enumerate(STAGES):
        run(partial(stage, number=number), torch.Size(sizes).numel(), tmp_path)
    first, *others = (json.loads((tmp_path / f"{number}.json").read_text()) for number in range(len(STAGES)))
    assert len(first) > 4 + 3 * 4, "the weights, and three for each of the optimizer's"
    assert len(set(first.values())) > 12
    assert all(other == first for other in others)
