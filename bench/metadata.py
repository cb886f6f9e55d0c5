"""How long does it take to read a `.metadata` file safely, beside `pickle.load`, which runs what the file says?

The file is what DCP's planner makes of a model with that many small tensors. A figure is the median of several
readings, the two readers in turn, with Python's cyclic garbage collector as a program finds it (on) and without it.
With it on, `pickle.load` spends most of its time in the collector, which dcpx holds back while it reads.
"""

from __future__ import annotations

import gc
import pickle
import statistics
import time
from collections.abc import Callable
from typing import Any

COUNTS = (1_000, 20_000, 100_000)
REPEATS = 5


def run() -> list[dict[str, object]]:
    from dcpx.dcp.metadata import load_metadata

    rows: list[dict[str, object]] = []
    print("seconds to read the metadata of a checkpoint, medians of", REPEATS)
    print(f"{'items':>8}{'bytes':>12}  {'collector':<10}{'pickle.load':>12}{'dcpx':>8}{'ratio':>7}")
    for count in COUNTS:
        data = _metadata(count)
        if load_metadata(data) != pickle.loads(data):
            raise AssertionError("what was read differs from what pickle reads")
        for collector in (True, False):
            stock, safe = _in_turn(data, [pickle.loads, load_metadata], collector)
            rows.append({"items": count, "bytes": len(data), "collector": collector, "pickle_s": stock, "dcpx_s": safe})
            state = "on" if collector else "off"
            print(f"{count:>8}{len(data):>12,}  {state:<10}{stock:>12.3f}{safe:>8.3f}{safe / stock:>7.2f}")
    return rows


def _metadata(count: int) -> bytes:
    """The content of `.metadata` for `count` tensors, as stock DCP would write it."""
    import torch
    from torch.distributed.checkpoint import DefaultSavePlanner
    from torch.distributed.checkpoint.filesystem import _StorageInfo
    from torch.distributed.checkpoint.metadata import StorageMeta

    memory = torch.zeros(64, 64)
    names = (f"layers.{number // 7}.mlp.experts.{number % 7}.weight" for number in range(count))
    state: dict[str, Any] = {"model": {name: memory[:3, : 4 + len(name) % 9] for name in names}}
    planner = DefaultSavePlanner()
    planner.set_up_planner(state, None, True)
    (plan,), metadata = planner.create_global_plan([planner.create_local_plan()])
    size = 1234
    metadata.storage_data = {
        item.index: _StorageInfo("__0_0.distcp", number * size, size) for number, item in enumerate(plan.items)
    }
    metadata.storage_meta = StorageMeta("/checkpoints/step-1000", "9d6ee1de-7f1c-4b43-a4a5-1f0a2f1a6a3e")
    metadata.version = "1.0.0"
    return pickle.dumps(metadata)


def _in_turn(data: bytes, readers: list[Callable[[bytes], object]], collector: bool) -> list[float]:
    """Median seconds of each reader."""
    times: list[list[float]] = [[] for _ in readers]
    for _ in range(REPEATS):
        for reader, seconds in zip(readers, times, strict=True):
            gc.collect()
            if not collector:
                gc.disable()
            begin = time.perf_counter()
            found = reader(data)
            seconds.append(time.perf_counter() - begin)
            gc.enable()
            del found
    return [statistics.median(seconds) for seconds in times]
