"""Planners that take memory away while a save or a load goes on: refused or right, and never beyond what is there."""

from __future__ import annotations

import os
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


_LOADS = """
import os, sys, torch, dcpx
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner

class Shrinking(DefaultLoadPlanner):
    last, left = None, 0

    def resolve_tensor(self, read_item):
        given = super().resolve_tensor(read_item)
        if self.last is not None:
            self.last.untyped_storage().resize_(self.left)
        self.last = given
        return given

def load(path, elements, left, threads):
    targets = {f"{number:03}": torch.zeros(elements) for number in range(200)}
    planner = Shrinking()
    planner.left = left
    try:
        dcpx.load(targets, path, planner=planner, threads=threads)
    except dcpx.LoadError as error:
        return " ".join(map(str, ("refused:", "storage" in str(error), "item '" in str(error))))
    return "loaded"

for case in sys.argv[1:]:
    path, *numbers = case.split(":")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, load(path, *map(int, numbers)).encode())
        os._exit(0)
    os.close(writer)
    answer = open(reader).read()
    print(os.waitpid(child, 0)[1], answer, flush=True)
"""

SHRINKING = [
    (elements, left, threads) for elements, left in ((SMALL, 64), (SMALL, 0), (5, 8), (2000, 64)) for threads in (0, 2)
]


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int, int], str]:
    """How each load ended: in a child of its own, which may crash, of one process that has imported torch."""
    root = tmp_path_factory.mktemp("shrunk")
    for elements in {case[0] for case in SHRINKING}:
        dcpx.save(state(elements), root / str(elements), sync=False)
    cases = [":".join(map(str, (root / str(case[0]), *case))) for case in SHRINKING]
    command = [sys.executable, "-W", "ignore", "-c", _LOADS, *cases]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return dict(zip(SHRINKING, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize(("elements", "left", "threads"), SHRINKING)
def test_a_target_that_shrinks(elements: int, left: int, threads: int, shrunk: dict[tuple[int, int, int], str]) -> None:
    assert shrunk[elements, left, threads] == "0 refused: True True"
