"""A checkpoint that is replaced while several ranks load it: all of them load the new one, whoever noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.planner import LoadPlan

import dcpx
from dcpx import ReplacedError
from tests.dist.ranks import run
from tests.support.versions import gloo

pytestmark = [
    gloo,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def state(seed: int) -> dict[str, Any]:
    return {"x": torch.full((300,), float(seed)), "object": ("saved", seed)}


def save_alone(path: Path, seed: int) -> None:
    dcp.save(state(seed), storage_writer=dcpx.Writer(path, overwrite=True), no_dist=True)


def replaced(rank: int, world: int, path: Path, always: bool, before: str) -> None:
    """On the last rank the checkpoint is replaced before it calls the reader's method `before`, once or always."""
    if rank == 0:
        save_alone(path / "c", 1)
    dist.barrier()
    stock, seed = getattr(dcpx.Reader, before), 1

    def after_another_save(self: dcpx.Reader, *arguments: Any) -> Any:
        nonlocal seed
        dist.barrier()
        if rank == world - 1 and (always or seed == 1):
            seed += 1
            save_alone(path / "c", seed)
        dist.barrier()
        return stock(self, *arguments)

    found = state(0)
    with mock.patch.object(dcpx.Reader, before, after_another_save):
        if not always:
            dcpx.load(found, path / "c")
            assert found["object"] == ("saved", 2)
            assert torch.equal(found["x"], state(2)["x"])
            return
        with pytest.raises(ReplacedError, match="rank"):
            dcpx.load(found, path / "c")


def replaced_before_reading(rank: int, world: int, path: Path) -> None:
    replaced(rank, world, path, False, "read_data")


def replaced_always(rank: int, world: int, path: Path) -> None:
    replaced(rank, world, path, True, "read_data")


def opened_apart(rank: int, world: int, path: Path) -> None:
    """Rank 1 opens a later save than rank 0."""
    if rank == 0:
        save_alone(path / "c", 1)
    dist.barrier()
    stock, seen = dcpx.Reader.prepare_local_plan, 0

    def prepare(self: dcpx.Reader, plan: LoadPlan) -> LoadPlan:
        nonlocal seen
        seen += 1
        if seen == 1:
            dist.barrier()
            if rank == 1:
                save_alone(path / "c", 2)
                self.set_up_storage_reader(self.read_metadata(), False)
        return stock(self, plan)

    found = state(0)
    with mock.patch.object(dcpx.Reader, "prepare_local_plan", prepare):
        dcpx.load(found, path / "c")
    assert seen == 2
    assert found["object"] == ("saved", 2)


@pytest.mark.parametrize("work", [replaced_before_reading, replaced_always, opened_apart])
def test_replaced(work: Any, tmp_path: Path):
    run(work, 2, tmp_path / "ranks")
