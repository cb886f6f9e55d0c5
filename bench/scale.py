"""Where do the seconds go when a checkpoint has very many items, or very many ranks?

One process saves and loads 1,000 to 100,000 tensors of 8 elements; and 1,024 ranks, gone through one after another by
DCP's own planners, save 100 shards each: what their coordinator does counts, and what one rank does. "planning" is what
DCP's planners take in the same calls; all else is dcpx's. "plan caching" saves the same 20,000 items again and again
with other values, with plans that DCP makes anew and with those of the save before. Below /dev/shm, without fsync.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import torch
import torch.distributed.checkpoint as dcp
from rich.console import Console
from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner, FileSystemWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, TensorWriteData, WriteItem, WriteItemType

import dcpx

from .in_turn import Row
from .memory import MIB, _peak, _reset_peak

COUNTS = (1_000, 10_000, 100_000)
RANKS, SHARDS = 1024, 100
CACHED, SAVES = 20_000, 3
"""Items of the saves with cached plans, and how many of them there are after the first."""

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
        shutil.rmtree(folder)
        rows += _cached_plans(folder)
    return rows


def _state(values: torch.Tensor) -> dict[str, Any]:
    """A tensor for each row of these values."""
    names = (f"layers.{number // 10}.{number % 10}.weight" for number in range(len(values)))
    return dict(zip(names, values, strict=True))


def _items(folder: Path, count: int) -> list[Row]:
    state = _state(torch.randn(count, 8))
    with _timed(dcpx.Writer, SAVING) as seconds:
        saving = _measured(lambda: dcpx.save(state, folder, sync=False), seconds)
    targets = _state(torch.zeros(count, 8))
    with _timed(dcpx.Reader, LOADING) as seconds:
        loading = _measured(lambda: dcpx.load(targets, folder), seconds)
    if not all(torch.equal(targets[name], state[name]) for name in state):
        raise ValueError("a load isn't exact")
    return [_shown(f"{count:,} items", way, found) for way, found in (("save", saving), ("load", loading))]


def _cached_plans(folder: Path) -> list[Row]:
    if not hasattr(SavePlanner, "_cached_save_plan"):
        return []
    values, targets = torch.randn(CACHED, 8), torch.zeros(CACHED, 8)
    state = _state(values)
    savers: dict[type, Callable[[SavePlanner], object]] = {
        dcpx.Writer: lambda planner: dcpx.save(state, folder, planner=planner, sync=False),
        FileSystemWriter: lambda planner: dcp.save(
            state, storage_writer=FileSystemWriter(folder, sync_files=False), planner=planner
        ),
    }
    rows = []
    for storage, save in savers.items():
        for cached in (False, True):
            for name, cache in vars(SavePlanner).items():
                if name.startswith("_cached_"):
                    cache.clear()
            found = []
            for _ in range(1 + SAVES):
                values.add_(1)
                planner = DefaultSavePlanner(enable_plan_caching=cached)
                with _timed(storage, SAVING) as seconds:
                    found.append(_measured(partial(save, planner), seconds))
                if storage is dcpx.Writer:
                    dcpx.load(_state(targets), folder)
                    if not torch.equal(targets, values):
                        raise ValueError("a load isn't exact")
                shutil.rmtree(folder)
            middle = sorted(found[1:], key=itemgetter("seconds"))[SAVES // 2]
            way = f"{'dcpx' if storage is dcpx.Writer else 'stock'}, {'cached' if cached else 'new'} plans"
            rows.append(_shown("plan caching", way, middle))
    return rows


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
