"""How long do four ranks take to save and load a model that is sharded over them, and one that each holds whole?

Four gloo processes on this machine, by torch's own spawn; stock DCP without an extension beside dcpx, in turn, each to
a fresh directory below the repository with fsync. Loads are compared bit for bit. What each rank holds whole is loaded
from an S3 server as well, over a link of 100 MB/s that all ranks share: where the ranks read for one another, and where
each reads by itself.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from tests.support.s3 import BUCKET, bucket_options, s3_server
from torch.distributed.checkpoint import DefaultLoadPlanner
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import dcpx

from .in_turn import Row, show
from .states import STATES
from .store import slow_link

WORLD = 4
RATE = 100e6
ROUNDS = 5
DISK = Path(__file__).parents[1] / "tmp"


def run(rounds: int = ROUNDS) -> list[Row]:
    DISK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DISK, prefix="bench-") as folder, s3_server() as endpoint:
        with slow_link(endpoint, RATE) as link:
            mp.spawn(_rank, (rounds, folder, link), WORLD)
        rows: list[Row] = json.loads((Path(folder) / "rows.json").read_text())
    for title in dict.fromkeys(str(row["section"]) for row in rows):
        show(title, [row for row in rows if row["section"] == title])
    return rows


def _rank(rank: int, rounds: int, folder: str, link: str) -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("LOCAL_WORLD_SIZE", str(WORLD))  # as torchrun says it
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    mesh = init_device_mesh("cpu", (WORLD,))
    rows: list[Row] = []
    for kind in ("sharded", "replicated"):
        whole = {name: value for name, value in STATES["large"]().items() if value.is_floating_point()}
        if kind == "replicated":  # four times as much memory
            whole = {name: value[:6].clone() for name, value in whole.items()}
        placed = [Shard(0)] if kind == "sharded" else [Replicate()]
        state = {name: distribute_tensor(value, mesh, placed, src_data_rank=None) for name, value in whole.items()}
        raw = sum(value.nbytes for value in whole.values())
        del whole
        targets = {name: _blank(value) for name, value in state.items()}
        path = Path(folder) / "checkpoint"
        ways = _ways(state, targets, path)
        seconds: dict[str, dict[str, list[float]]] = {step: {way: [] for way in ways} for step in ("save", "load")}
        for number in range(rounds + 1):
            for way in list(ways) if number % 2 else reversed(list(ways)):
                for step, work in zip(("save", "load"), ways[way], strict=True):
                    took = _timed(work)
                    if number:
                        seconds[step][way].append(took)
                for name, value in state.items():
                    assert torch.equal(_local(targets[name]).view(torch.int16), _local(value).view(torch.int16)), name
                    _local(targets[name]).zero_()
                dist.barrier()
                if rank == 0:
                    shutil.rmtree(path)
        rows += [_row(f"{kind}, {step}", way, raw, seconds[step]) for step in seconds for way in ways]
    rows += _from_far(link, rounds)
    if rank == 0:
        (Path(folder) / "rows.json").write_text(json.dumps(rows))
    dist.destroy_process_group()


def _from_far(link: str, rounds: int) -> list[Row]:
    """Rows of a load of what each rank holds whole."""
    state = {name: value[:2].clone() for name, value in STATES["large"]().items()}
    targets = {name: torch.zeros_like(value) for name, value in state.items()}
    address, options = f"s3://{BUCKET}/ranks", bucket_options(link)
    dcpx.save(state, address, storage_options=options)
    seconds: dict[str, list[float]] = {"each by itself": [], "for one another": []}
    for _ in range(rounds):
        for way, found in seconds.items():
            # A planner of somebody's own has each rank read by itself.
            planner = DefaultLoadPlanner() if way == "each by itself" else None
            load = partial(dcpx.load, targets, address, planner=planner, storage_options=options)
            found.append(_timed(load))
            for name, value in state.items():
                assert torch.equal(targets[name], value), name
                targets[name].zero_()
    raw = sum(value.nbytes for value in state.values())
    return [_row("replicated, load from S3 at 100 MB/s", way, raw, seconds, "each by itself") for way in seconds]


def _ways(state: Any, targets: Any, path: Path) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """How to save the state, and how to load it into the targets."""
    return {
        "stock": (
            lambda: dcp.save(state, storage_writer=dcp.FileSystemWriter(path)),
            lambda: dcp.load(targets, checkpoint_id=path),
        ),
        "dcpx": (lambda: dcpx.save(state, path), lambda: dcpx.load(targets, path)),
    }


def _blank(value: DTensor) -> DTensor:
    return DTensor.from_local(
        torch.zeros_like(value.to_local()),
        value.device_mesh,
        value.placements,
        run_check=False,
        shape=value.size(),
        stride=value.stride(),
    )


def _local(value: DTensor) -> torch.Tensor:
    found: torch.Tensor = value.to_local()
    return found


def _timed(work: Callable[[], object]) -> float:
    """Seconds until the last rank has done it."""
    gc.collect()
    dist.barrier()
    begin = time.perf_counter()
    work()
    dist.barrier()
    return time.perf_counter() - begin


def _row(section: str, way: str, raw: int, seconds: dict[str, list[float]], first: str = "stock") -> Row:

    found: dict[str, Any] = {"section": section, "way": way, "raw": raw, "seconds": seconds[way]}
    return {
        **found,
        "gbps": raw / median(seconds[way]) / 1e9,
        "of_first": median(seconds[way]) / median(seconds[first]),
    }
