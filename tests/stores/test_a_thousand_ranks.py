"""A thousand ranks, gone through one after another by DCP's own steps: what they ask of a store, and how that grows."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch.distributed.checkpoint import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    ReadItem,
    SavePlan,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)

import dcpx
from dcpx.store import objects

RANKS = 1024
REQUESTS = ("delete", "get", "get_ranges", "head", "list_with_delimiter", "open_writer", "put")


def rows(rank: int, item: int) -> torch.Tensor:
    """A rank's two rows of an item."""
    return torch.full((2, 3), rank * 1000.0 + item)


class Shards(DefaultSavePlanner):
    """Plans two rows of each item for a rank, as DCP does it for a sharded tensor; the other steps are DCP's own."""

    def __init__(self, rank: int, world: int, items: int) -> None:
        super().__init__()
        self.rank, self.world, self.items = rank, world, items
        self.set_up_planner({}, None, rank == 0)

    def create_local_plan(self) -> SavePlan:
        chunk = ChunkStorageMetadata(torch.Size([2 * self.rank, 0]), torch.Size([2, 3]))
        data = TensorWriteData(chunk, TensorProperties(torch.float32), torch.Size([2 * self.world, 3]))
        self.plan = SavePlan(
            [
                WriteItem(MetadataIndex(f"item {item}", chunk.offsets), WriteItemType.SHARD, tensor_data=data)
                for item in range(self.items)
            ],
            planner_data={},
        )
        return self.plan

    def lookup_object(self, index: MetadataIndex) -> Any:
        return rows(self.rank, int(index.fqn.split()[1]))


class Rows(DefaultLoadPlanner):
    """Asks for four rows of each item, those of two ranks."""

    def __init__(self, rank: int, items: int) -> None:
        super().__init__()
        self.rank = rank
        self.targets = {f"item {item}": torch.zeros(4, 3) for item in range(items)}

    def create_local_plan(self) -> LoadPlan:
        return LoadPlan(
            [
                ReadItem(
                    LoadItemType.TENSOR,
                    MetadataIndex(name, torch.Size([4 * self.rank, 0])),
                    torch.Size([2 * half, 0]),
                    MetadataIndex(name, torch.Size([4 * self.rank + 2 * half, 0])),
                    torch.Size([0, 0]),
                    torch.Size([2, 3]),
                )
                for name in self.targets
                for half in (0, 1)
            ]
        )

    def resolve_tensor(self, read_item: ReadItem) -> torch.Tensor:
        return self.targets[read_item.dest_index.fqn].narrow(0, read_item.dest_offsets[0], 2)

    def commit_tensor(self, read_item: ReadItem, tensor: torch.Tensor) -> None:
        pass


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The requests to stores of objects, by their kind."""
    found: Counter[str] = Counter()

    def counting(name: str) -> Any:
        stock = getattr(objects.obstore, name)

        def request(*arguments: Any, **options: Any) -> Any:
            found[name] += 1
            return stock(*arguments, **options)

        return mock.patch.object(objects.obstore, name, request)

    patches = [counting(name) for name in REQUESTS]
    for patch in patches:
        patch.start()
    try:
        yield found
    finally:
        for patch in patches:
            patch.stop()


def save(address: str, world: int, items: int) -> None:
    """What `dcp.save` does, on all ranks."""
    writers = [dcpx.Writer(address, threads=1) for _ in range(world)]
    planners = [Shards(rank, world, items) for rank in range(world)]
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
    writers[0].finish(metadata, results)


def load(address: str, world: int, items: int) -> None:
    """What `dcpx.load` does, on three of so many ranks: the first reads the metadata for all of them."""
    first = dcpx.Reader(address, threads=1)
    files = first.read_for_all()
    begun = []
    for rank in (0, world // 2, world - 1):
        reader = first if rank == 0 else dcpx.Reader(address, threads=1)
        reader.know(files)
        metadata = reader.read_metadata()
        planner = Rows(rank, items)
        planner.set_up_planner({}, metadata, rank == 0)
        reader.set_up_storage_reader(metadata, rank == 0, rank=rank, use_collectives=True)
        begun.append((rank, reader, planner, reader.prepare_local_plan(planner.create_local_plan())))
    plans = begun[0][2].create_global_plan([plan for _, _, _, plan in begun])
    for (rank, reader, planner, _), plan in zip(begun, first.prepare_global_plan(plans), strict=True):
        reader.read_data(planner.finish_plan(plan), planner).wait()
        for name, target in planner.targets.items():
            item = int(name.split()[1])
            assert torch.equal(target, torch.cat([rows(2 * rank, item), rows(2 * rank + 1, item)]))


@pytest.mark.timeout(600)
def test_requests_grow_with_ranks():
    asked: dict[tuple[int, int], tuple[Counter[str], Counter[str]]] = {}
    for world, items in ((64, 1), (64, 20), (RANKS, 2)):
        address = f"memory://{uuid.uuid4()}/step"
        with counted() as saving:
            save(address, world, items)
        with counted() as loading:
            load(address, world // 2, items)
        asked[world, items] = saving, loading
    few, many, thousand = asked.values()
    assert few == many, "as many requests for twenty items as for one"
    # Each rank looks whether it may save here, begins its file, and is asked for its size by the coordinator.
    for counts, world in ((few[0], 64), (thousand[0], RANKS)):
        assert counts["open_writer"] == world
        assert counts["head"] <= world + 3
        assert counts["list_with_delimiter"] <= world + 6
        assert counts["put"] <= 3
    # Of the load three ranks are gone through, with two files each.
    for _, loading in asked.values():
        assert loading["get"] == 2, "the metadata and the manifest, once for all"
        assert loading["head"] == 6
        assert loading["get_ranges"] <= 6
        assert loading.total() <= 14
