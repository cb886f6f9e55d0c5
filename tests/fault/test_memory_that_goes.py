"""Planners that take memory away while a save or a load goes on: refused or right, and never beyond what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import WriteItem

import dcpx

SMALL = 500
"""Elements of float32 of a tensor whose frame the kernels make as a whole."""


def state(elements: int) -> dict[str, torch.Tensor]:
    return {f"{number:03}": torch.full((elements,), float(number + 1)) for number in range(200)}


def check(path: Path, elements: int) -> None:
    saved, loaded = state(elements), {name: torch.zeros(elements) for name in state(elements)}
    dcpx.load(loaded, path)
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


class Freeing(DefaultSavePlanner):
    """Frees the memory of what it gave some items ago, and has it used for something else."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[torch.Tensor] = []
        self._others: list[torch.Tensor] = []

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor:
        given = super().resolve_data(write_item)
        assert isinstance(given, torch.Tensor)
        self._given.append(given)
        if len(self._given) > 6:
            self._given.pop(0).untyped_storage().resize_(0)
            self._others.append(torch.full((given.numel(),), -1.0))
        return given


class Scratch(DefaultSavePlanner):
    """Gives one buffer for all items, which it fills anew for each."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = torch.zeros(SMALL)

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor:
        given = super().resolve_data(write_item)
        assert isinstance(given, torch.Tensor)
        return self._buffer.copy_(given)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("planner", [Freeing, Scratch])
def test_a_small_tensor_is_copied_when_it_is_given(
    planner: type[DefaultSavePlanner], threads: int, tmp_path: Path
) -> None:
    dcpx.save(state(SMALL), tmp_path / "c", planner=planner(), threads=threads, sync=False)
    check(tmp_path / "c", SMALL)


def test_a_large_tensor_can_not_be_freed(tmp_path: Path) -> None:
    with pytest.raises(dcpx.SaveError, match="not resizable"):
        dcpx.save(state(100_000), tmp_path / "c", planner=Freeing(), sync=False)


_LOAD = """
import sys, torch, dcpx
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner

class Shrinking(DefaultLoadPlanner):
    last = None

    def resolve_tensor(self, read_item):
        given = super().resolve_tensor(read_item)
        if self.last is not None:
            self.last.untyped_storage().resize_(int(sys.argv[3]))
        self.last = given
        return given

path, elements, _, threads = sys.argv[1], *map(int, sys.argv[2:])
targets = {f"{number:03}": torch.zeros(elements) for number in range(200)}
try:
    dcpx.load(targets, path, planner=Shrinking(), threads=threads)
except dcpx.LoadError as error:
    print("refused:", "storage" in str(error), "item '" in str(error))
"""


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(("elements", "left"), [(SMALL, 64), (SMALL, 0), (5, 8), (2000, 64)])
def test_a_target_that_shrinks(elements: int, left: int, threads: int, tmp_path: Path) -> None:
    dcpx.save(state(elements), tmp_path / "c", sync=False)
    arguments = [str(tmp_path / "c"), str(elements), str(left), str(threads)]
    command = [sys.executable, "-W", "ignore", "-c", _LOAD, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused: True True\n"), done.stderr
