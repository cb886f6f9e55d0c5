"""Where do the seconds go when a checkpoint has very many items, or very many ranks?

One process saves and loads 1,000 to 100,000 tensors of 8 elements; and 1,024 ranks, gone through one after another by
DCP's own planners, save 100 shards each: what their coordinator does counts, and what one rank does. "planning" is what
DCP's planners take in the same calls; all else is dcpx's. Below /dev/shm, without fsync.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import torch
from rich.console import Console
from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType

import dcpx

from .in_turn import Row
from .memory import MIB, _peak, _reset_peak

COUNTS = (1_000, 10_000, 100_000)
RANKS, SHARDS = 1024, 100

F = TypeVar("F", bound=Callable[..., Any])

PLANNING = {
    DefaultSavePlanner: ("set_up_planner", "create_local_plan", "create_global_plan", "finish_plan"),
    DefaultLoadPlanner: ("set_up_planner", "create_local_plan", "create_global_plan", "finish_plan"),
}
SAVING = ("prepare_local_plan", "prepare_global_plan", "write_data", "finish")
LOADING = ("read_metadata", "prepare_local_plan", "prepare_global_plan", "read_data")


def run() -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as name:
        folder = Path(name) / "c"
        for count in COUNTS:
            rows += _items(folder, count)
            shutil.rmtree(folder)
        rows += _ranks(folder)
    return rows


def _items(folder: Path, count: int) -> list[Row]:
    values = torch.randn(count, 8)
    names = [f"layers.{number // 10}.{number % 10}.weight" for number in range(count)]
    state: dict[str, Any] = dict(zip(names, values, strict=True))
    with _timed(dcpx.Writer, SAVING) as seconds:
        saving = _measured(lambda: dcpx.save(state, folder, sync=False), seconds)
    targets: dict[str, Any] = dict(zip(names, torch.zeros(count, 8), strict=True))
    with _timed(dcpx.Reader, LOADING) as seconds:
        loading = _measured(lambda: dcpx.load(targets, folder), seconds)
    if not all(torch.equal(targets[name], state[name]) for name in names):
        raise ValueError("a load isn't exact")
    return [_shown(f"{count:,} items", way, found) for way, found in (("save", saving), ("load", loading))]


def _measured(work: Callable[[], object], seconds: dict[str, float]) -> Row:
    gc.collect()
    before = _reset_peak()
    begin = time.perf_counter()
    work()
    whole = time.perf_counter() - begin
    return {"seconds": whole, "extra": _peak() - before, **seconds, "beyond_planning": whole - seconds["planning"]}


@contextmanager
def _timed(storage: type, steps: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """The seconds of each step of the storage, and under "planning" those of DCP's planners, nested calls once."""
    seconds: dict[str, float] = defaultdict(float)
    within: list[str] = []

    def timing(called: F, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if name in within:
                return called(*arguments, **options)
            within.append(name)
            begin = time.perf_counter()
            try:
                return called(*arguments, **options)
            finally:
                seconds[name] += time.perf_counter() - begin
                within.remove(name)

        return call

    patches = [mock.patch.object(storage, step, timing(getattr(storage, step), step)) for step in steps]
    for planner, calls in PLANNING.items():
        patches += [mock.patch.object(planner, name, timing(getattr(planner, name), "planning")) for name in calls]
    for patch in patches:
        patch.start()
    try:
        yield seconds
    finally:
        for patch in patches:
            patch.stop()


class _Shards(DefaultSavePlanner):
    """Plans two rows of each of SHARDS items for a rank, as DCP does it for a sharded tensor."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.set_up_planner({}, None, rank == 0)

    def create_local_plan(self) -> SavePlan:
        chunk = ChunkStorageMetadata(torch.Size([2 * self.rank, 0]), torch.Size([2, 4]))
        data = TensorWriteData(chunk, TensorProperties(torch.float32), torch.Size([2 * RANKS, 4]))
        names = (f"layers.{item // 10}.{item % 10}.weight" for item in range(SHARDS))
        kind = WriteItemType.SHARD
        items = [WriteItem(MetadataIndex(name, chunk.offsets), kind, tensor_data=data) for name in names]
        self.plan = SavePlan(items, planner_data={})
        return self.plan

    def lookup_object(self, index: MetadataIndex) -> Any:
        return torch.full((2, 4), float(self.rank))


def _ranks(folder: Path) -> list[Row]:
    writers = [dcpx.Writer(folder, threads=1, sync_files=False) for _ in range(RANKS)]
    planners = [_Shards(rank) for rank in range(RANKS)]
    with _timed(dcpx.Writer, SAVING) as seconds:
        plans = []
        for rank, (writer, planner) in enumerate(zip(writers, planners, strict=True)):
            writer.set_up_storage_writer(rank == 0, rank=rank, use_collectives=True)
            plans.append(writer.prepare_local_plan(planner.create_local_plan()))
        plans, metadata = planners[0].create_global_plan(plans)
        plans = writers[0].prepare_global_plan(plans)
        results = [
            writer.write_data(planner.finish_plan(plan), planner).wait()
            for writer, planner, plan in zip(writers, planners, plans, strict=True)
        ]
        before = _reset_peak()
        writers[0].finish(metadata, results)
    found: Row = {"extra": _peak() - before, **seconds}
    for step in ("prepare_local_plan", "write_data"):
        found[step] = seconds[step] / RANKS
    begin = time.perf_counter()
    dcpx.Reader(folder).read_metadata()
    found["read_metadata"] = time.perf_counter() - begin
    return [_shown(f"{RANKS:,} ranks of {SHARDS} shards", "save", found)]


def _shown(section: str, way: str, found: Row) -> Row:
    row: Row = {"section": section, "way": way, **{key: _rounded(value) for key, value in found.items()}}
    told = [f"{key} {value:.3f}" for key, value in row.items() if isinstance(value, float)]
    extra = found["extra"]
    assert isinstance(extra, int)
    Console(width=150).print(f"{section}, {way}: {', '.join(told)}, {extra / MIB:.0f} MiB more")
    return row


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
