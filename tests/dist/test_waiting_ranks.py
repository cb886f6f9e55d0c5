"""A rank that never comes is named by those that wait for it; and what all ranks need one of them reads."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx import DcpxError, LoadError, SaveError
from dcpx.catalog.names import is_manifest
from dcpx.store.local import LocalStore
from tests.dist.ranks import run
from tests.support.versions import gloo

pytestmark = [gloo, pytest.mark.timeout(120)]

PATIENCE = timedelta(seconds=3)


def state(seed: float = 1) -> dict[str, Any]:
    return {"x": torch.full((300,), float(seed)), "object": ("saved", seed)}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each small file is read by this process."""
    reads: Counter[str] = Counter()
    stock = LocalStore.read

    def read(self: LocalStore, name: str, limit: int) -> bytes:
        reads["manifest" if is_manifest(name) else name] += 1
        return stock(self, name, limit)

    with mock.patch.object(LocalStore, "read", read):
        yield reads


# --- what the ranks do ------------------------------------------------------------------------------------------------


def one_stays_away(rank: int, world: int, path: Path) -> None:
    dcpx.save(state(), path / "old")
    dist.barrier()
    names = sorted(os.listdir(path / "old"))
    for work in ("save", "load", "background"):
        group = dist.new_group(backend="gloo", timeout=PATIENCE)
        # They have met in this group before: it isn't the first time for any of them.
        dcpx.load(state(0), path / "old", process_group=group)
        if rank == 1:
            continue
        ways: dict[str, Callable[[], object]] = {
            "save": partial(dcpx.save, state(2), path / "old", overwrite=True, process_group=group),
            "load": partial(dcpx.load, state(0), path / "old", process_group=group),
            "background": lambda group=group: dcpx.async_save(state(2), path / "new", process_group=group).result(),
        }
        with pytest.raises(LoadError if work == "load" else SaveError, match="rank 1 never came") as caught:
            ways[work]()
        assert caught.value.remedy.startswith("See what keeps them")
    dist.barrier()
    found = state(0)
    dcpx.load(found, path / "old", no_dist=True)
    assert found["object"] == ("saved", 1)
    if rank == 0:
        assert sorted(os.listdir(path / "old")) == names  # of the first save, and nothing else
        assert not (path / "new").exists() or os.listdir(path / "new") == []


def two_stay_away(rank: int, world: int, path: Path) -> None:
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    if rank == 0:
        with pytest.raises(SaveError, match="ranks 1, 2 never came"):
            dcpx.save(state(2), path / "c", process_group=group)
    dist.barrier()


def none_is_named_for_another_failure(rank: int, world: int, path: Path) -> None:
    """A rank that is late to fail, or has failed itself, isn't said to be missing."""
    time.sleep(rank / 5)
    bad = {"x": torch.empty(3, device="meta")} if rank == 1 else state(2)
    with pytest.raises(DcpxError) as caught:
        dcpx.save(bad, path / "c")
    assert "never came" not in str(caught.value)
    dist.barrier()


def read_once(rank: int, world: int, path: Path) -> None:
    dcpx.save(state(), path / "dcpx")
    dcp.save(state(), checkpoint_id=path / "stock")
    for kind in ("dcpx", "stock"):
        found = state(0)
        with counted() as reads:
            dcpx.load(found, path / kind)
        assert found["object"] == ("saved", 1)
        assert torch.equal(found["x"], state()["x"])
        every: list[Any] = [None] * world
        dist.all_gather_object(every, dict(reads))
        # The stock reader's file of the same name as our manifest is looked for, by the same rank.
        assert every[0][".metadata"] == 1
        assert every[0].get("manifest", 1) == 1
        assert all(reads == {} for reads in every[1:]), every


def read_once_by_a_part(rank: int, world: int, path: Path) -> None:
    """The group's first rank isn't rank 0; the others go on by themselves."""
    dcpx.save(state(), path / "c")
    group = dist.new_group([1, 2])
    found = state(0)
    with counted() as reads:
        if rank:
            dcpx.load(found, path / "c", process_group=group)
            assert found["object"] == ("saved", 1)
    assert reads[".metadata"] == (rank == 1)
    dist.barrier()


def damage_is_told_everywhere(rank: int, world: int, path: Path) -> None:
    dcpx.save(state(), path / "c")
    dist.barrier()
    if rank == 0:
        manifest = next((path / "c").glob("*.manifest.json"))
        manifest.write_bytes(manifest.read_bytes()[:-20])
    dist.barrier()
    with pytest.raises(DcpxError, match="manifest") as caught:
        dcpx.load(state(0), path / "c")
    assert "manifest.json" in str(caught.value)
    found = state(0)
    assert dcpx.load(found, path / "c", partial=True)
    assert found["object"] == ("saved", 1)
    with pytest.raises(LoadError, match="no checkpoint"):
        dcpx.load(state(0), path / "nothing")
    dist.barrier()


WAITING = (one_stays_away, two_stay_away, none_is_named_for_another_failure)
READING = (read_once, read_once_by_a_part, damage_is_told_everywhere)


def work(rank: int, world: int, path: Path, parts: tuple[Any, ...]) -> None:
    for part in parts:
        part(rank, world, path / part.__name__)


@pytest.mark.parametrize("parts", [WAITING, READING], ids=["waiting", "reading"])
def test_ranks(parts: tuple[Any, ...], tmp_path: Path):
    run(partial(work, parts=parts), 3, tmp_path)
