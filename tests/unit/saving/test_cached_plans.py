"""DCP's cached plans, which outlive a save: of dcpx, of stock DCP, and of both in one process."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import SavePlanner

import dcpx


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    caches = [cache for name, cache in vars(SavePlanner).items() if name.startswith("_cached_")]
    if not caches:
        pytest.skip("this torch caches no plans")
    for cache in caches:
        cache.clear()
    yield
    for cache in caches:
        cache.clear()


def state(number: int, changed: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"w": torch.full((3,), float(number)), "o": (number,)}
    return made | {"x": torch.full((4, number + 1), float(number))} if changed else made


def save(by: str, saved: dict[str, Any], path: Path) -> None:
    planner = DefaultSavePlanner(enable_plan_caching=True)
    if by == "stock":
        dcp.save(saved, checkpoint_id=path, planner=planner)
    else:
        dcpx.save(saved, path, planner=planner, pack=dcpx.Pack() if by == "pack" else None)


@pytest.mark.parametrize("order", [*product(("stock", "pack", "nothing"), repeat=3)], ids="-".join)
def test_saves_one_after_another(order: tuple[str, ...], tmp_path: Path):
    for changes in product((False, True), repeat=len(order)):
        for number, (by, changed) in enumerate(zip(order, changes, strict=True)):
            path = tmp_path / f"{changes}-{number}"
            saved = state(number, changed)
            save(by, saved, path)
            loaded = {
                key: torch.zeros_like(one) if isinstance(one, torch.Tensor) else None for key, one in saved.items()
            }
            dcpx.load(loaded, path)
            assert loaded.pop("o") == saved.pop("o")
            assert all(torch.equal(loaded[key], value) for key, value in saved.items())
            assert not dcpx.verify(path).problems
            assert not [file for file in path.iterdir() if file.suffix in (".saving", ".tmp")]


def test_a_failed_save_leaves_nothing_of_a_cached_plan(tmp_path: Path):
    save("pack", state(0, False), tmp_path / "first")
    freed = torch.ones(3)
    freed.untyped_storage().resize_(0)
    with pytest.raises(dcpx.SaveError):
        save("pack", {"w": freed, "o": (1,)}, tmp_path / "second")
    assert not list((tmp_path / "second").iterdir())
    save("pack", state(2, False), tmp_path / "second")


def test_a_failed_save_leaves_no_plans_to_the_next(tmp_path: Path):
    dcpx.save(state(0, False), tmp_path / "a")
    with pytest.raises(dcpx.SaveError, match="exists already"):
        save("pack", state(1, False), tmp_path / "a")
    save("pack", state(2, False), tmp_path / "b")
    assert dcpx.verify(tmp_path / "b").ok
