"""For how long does an asynchronous save hold the training up, and how fast does a loop go on beside it?

The loop multiplies matrices on one core, as a training does; beside it a save of 1 GB goes on in a thread. Stock's
`async_save` copies by the same stager. `clone` is a plain copy of every tensor of the state.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from rich.console import Console

import dcpx

from .in_turn import Row
from .states import STATES, nbytes

ROUNDS = 5


def run(rounds: int = ROUNDS) -> list[Row]:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29541", GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=0, world_size=1)
    group = dist.new_group(backend="gloo")
    state: dict[str, Any] = STATES["large"]()
    found: dict[str, list[tuple[float, float, float]]] = {}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as name:
        warnings.simplefilter("ignore")
        folder = Path(name) / "c"
        ways: dict[str, Callable[[], Any]] = {
            "clone": lambda: {key: value.clone() for key, value in state.items()},
            "stock": lambda: dcp.async_save(state, checkpoint_id=folder, process_group=group),
            "dcpx": lambda: dcpx.async_save(state, folder, process_group=group),
        }
        alone = _loop(lambda steps: steps < 2000)
        for number in range(rounds + 1):
            for way, begin in ways.items():
                shutil.rmtree(folder, ignore_errors=True)
                start = time.perf_counter()
                handle = begin()
                blocked = time.perf_counter() - start
                speed = 0.0 if way == "clone" else _loop(_going(handle))
                took = time.perf_counter() - start
                if way != "clone":
                    handle.result()
                if number:
                    found.setdefault(way, []).append((blocked, speed / alone, took))
                del handle
    dist.destroy_process_group()
    rows: list[Row] = []
    for way, runs in found.items():
        blocked, speed, took = (median(part) for part in zip(*runs, strict=True))
        row: Row = {"section": "async_save", "way": way, "raw": nbytes(state), "blocked_s": blocked}
        rows.append({**row, "loop_of_alone": speed, "until_saved_s": took})
        text = f"{way:8} blocks {blocked:.3f} s; beside it the loop keeps {speed:.0%} of its speed"
        Console(width=110).print(f"{text}; saved after {took:.2f} s")
    return rows


def _going(handle: Any) -> Callable[[int], bool]:
    return lambda steps: not handle.done()


def _loop(goes_on: Callable[[int], bool]) -> float:
    """Steps a second of a training loop for as long as `goes_on` says."""
    weight = torch.randn(256, 256)
    value = torch.randn(64, 256)
    steps, begin = 0, time.perf_counter()
    while goes_on(steps):
        value = torch.tanh(value @ weight)
        steps += 1
    return steps / (time.perf_counter() - begin)
