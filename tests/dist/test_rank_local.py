"""A checkpoint for each rank by itself: saved without collectives, and each loaded by the rank that saved it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import dcpx
from dcpx import CorruptError, LoadError, NotFoundError
from dcpx.catalog.names import manifest_name, save_of
from tests.dist.ranks import run
from tests.support.versions import gloo

pytestmark = [
    gloo,
    pytest.mark.timeout(120),
]

FAILING_RANK = 2


def save(rank: int, world: int, path: Path) -> None:
    state = {"x": torch.full((3 + rank,), float(rank)), "object": ("rank", rank)}
    dcpx.save(state, path / "own", use_collectives=False)
    dcpx.save(state, path / "own", use_collectives=False, overwrite=True)


def load(rank: int, world: int, path: Path) -> None:
    state = {"x": torch.zeros(3 + rank), "object": None}
    dcpx.load(state, path / "own", rank_local=True)
    assert state["x"].tolist() == [rank] * (3 + rank)
    assert state["object"] == ("rank", rank)


def save_and_load(rank: int, world: int, path: Path) -> None:
    save(rank, world, path)
    load(rank, world, path)


def fail(rank: int, world: int, path: Path) -> None:
    save(rank, world, path)
    load(rank, world, path)

    # One rank's data is damaged: it says so, and the others, who are done, don't wait for it in vain.
    if rank == FAILING_RANK:
        for file in (path / "own").glob(f"*__{rank}_0.distcp"):
            file.write_bytes(bytes(file.stat().st_size))
        with pytest.raises(CorruptError):
            load(rank, world, path)
    else:
        load(rank, world, path)
    dist.barrier()

    # One rank has no checkpoint: all ranks learn it while they plan, before anything is loaded.
    if rank == FAILING_RANK:
        (path / "own" / f"__{rank}.metadata").unlink()
        for file in (path / "own").glob(f"*__{rank}_0.distcp"):  # else it has only lost its pointer
            (path / "own" / manifest_name(str(save_of(file.name)))).unlink()
    dist.barrier()
    state = {"x": torch.zeros(3 + rank), "object": None}
    with pytest.raises(NotFoundError if rank == FAILING_RANK else LoadError, match=rf"__{FAILING_RANK}\.metadata"):
        dcpx.load(state, path / "own", rank_local=True)
    assert not state["x"].any()


def test_both_of_two_ranks_load_their_own(tmp_path: Path):
    run(save_and_load, 2, tmp_path / "ranks")


def test_a_rank_that_cannot_load_its_own(tmp_path: Path):
    run(fail, 4, tmp_path / "ranks")
