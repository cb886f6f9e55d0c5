"""Small checkpoints that say which save they are of, and what lies in their directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import dcpx
from tests.support.leaks import nothing_left


def state(seed: int) -> dict[str, Any]:
    return {"x": torch.full((300,), float(seed)), "y": torch.arange(40) + seed, "object": ("saved", seed)}


def loaded(path: Path, **options: Any) -> int:
    """The seed of the state at `path`, all of it."""
    found: dict[str, Any] = {"x": torch.zeros(300), "y": torch.zeros(40, dtype=torch.int64), "object": None}
    with nothing_left():
        dcpx.load(found, path, **options)
    seed = found["object"][1]
    assert torch.equal(found["x"], state(seed)["x"])
    assert torch.equal(found["y"], state(seed)["y"])
    return int(seed)


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def assert_one_checkpoint(path: Path, *others: str) -> str:
    """Only a checkpoint's files, and `others`; returns the save's UUID."""
    save = next(name for name in names(path) if name.endswith(".manifest.json")).removesuffix(".manifest.json")
    assert names(path) == sorted([".metadata", f"{save}.manifest.json", f"{save}__0_0.distcp", *others])
    return save
