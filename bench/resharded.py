"""What does loading a part of a stored tensor cost? Slices of one 512 MiB bf16 item, stored whole, by rows or columns.

Each slice has a target of its own, as on a rank that holds an eighth of the tensor; "8 of 8" loads all of them in one
load, as a process does that holds several shards.
"""

from __future__ import annotations

import gc
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex
from torch.distributed.checkpoint.planner import LoadPlan
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list

import dcpx

from .checkpoint_peers import Dcpx, Stock
from .states import check_exact, one, spoilt

ROWS = 32_768
"""Of 8192 bf16 elements: 512 MiB."""
PARTS = 8

Offsets = tuple[int, int]


class SlicePlanner(DefaultLoadPlanner):
    """Loads slices of the stored tensor `x`, each into a tensor of its own; the state dict is ignored."""

    def __init__(self, targets: dict[Offsets, torch.Tensor]) -> None:
        super().__init__()
        self._targets = {torch.Size(offsets): target for offsets, target in targets.items()}

    def create_local_plan(self) -> LoadPlan:
        assert self.metadata is not None
        chunks = [ChunkStorageMetadata(offsets, target.size()) for offsets, target in self._targets.items()]
        described: Any = self.metadata.state_dict_metadata["x"]
        return LoadPlan(create_read_items_for_chunk_list("x", described, chunks))

    def lookup_tensor(self, index: MetadataIndex) -> torch.Tensor:
        assert index.offset is not None
        return self._targets[index.offset]


def run(root: Path, rounds: int) -> list[dict[str, object]]:
    """Rows of seconds and their ratio to the same contender's whole load, by pattern of slices; page cache warm."""
    state = one(ROWS)
    contenders: dict[str, Stock | Dcpx] = {
        "DCP plain": Stock(),
        "DCP ZStandard": Stock(zstd=True),
        "dcpx": Dcpx(dcpx.Pack()),
    }
    patterns = {name: _slices(state["x"], *which) for name, which in _PATTERNS.items()}
    times: dict[tuple[str, str], list[float]] = {(name, pattern): [] for name in contenders for pattern in patterns}
    with tempfile.TemporaryDirectory(dir=root, prefix="bench-") as folder:
        for name, contender in contenders.items():
            contender.save(state, Path(folder) / name, fsync=True)
        for number in range(rounds):
            for name, pattern in random.Random(number).sample(list(times), len(times)):
                times[name, pattern].append(_seconds(contenders[name], Path(folder) / name, patterns[pattern]))
    return _show(times)


_PATTERNS: dict[str, tuple[int, Sequence[int], int]] = {
    # The dimension that is cut, which of the parts are loaded, and how many parts there are.
    "whole": (0, range(1), 1),
    "8 of 8 row slices": (0, range(PARTS), PARTS),
    "1 of 8 row slices": (0, [3], PARTS),
    "8 of 8 column slices": (1, range(PARTS), PARTS),
    "1 of 8 column slices": (1, [3], PARTS),
}


def _slices(tensor: torch.Tensor, dim: int, which: Sequence[int], parts: int) -> dict[Offsets, torch.Tensor]:
    size = tensor.shape[dim] // parts
    starts = [number * size for number in which]
    return {(start, 0) if dim == 0 else (0, start): tensor.narrow(dim, start, size) for start in starts}


def _seconds(contender: Stock | Dcpx, folder: Path, slices: dict[Offsets, torch.Tensor]) -> float:
    state = {str(offsets): view.contiguous() for offsets, view in slices.items()}
    targets = spoilt(state)
    planner = SlicePlanner({offsets: targets[str(offsets)] for offsets in slices})
    gc.collect()
    start = time.perf_counter()
    contender.load(targets, folder, planner)
    seconds = time.perf_counter() - start
    check_exact(targets, state)
    return seconds


def _show(times: dict[tuple[str, str], list[float]]) -> list[dict[str, object]]:
    table = Table(title=f"resharded: one stored bf16 item of [{ROWS:,}, 8192], 512 MiB")
    for heading in ("stored with", "loaded"):
        table.add_column(heading)
    for heading in ("s", "of whole"):
        table.add_column(heading, justify="right")
    rows: list[dict[str, object]] = []
    for (name, pattern), seconds in times.items():
        middle, whole = median(seconds), median(times[name, "whole"])
        rows.append(
            {"contender": name, "loaded": pattern, "s": seconds, "median_s": middle, "of_whole": middle / whole}
        )
        table.add_row(name, pattern, f"{middle:.3f}", f"{middle / whole:.2f}", end_section=pattern == [*_PATTERNS][-1])
    Console(width=110).print(table)
    return rows
