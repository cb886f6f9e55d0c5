"""Every bit of every file of a checkpoint, and many of a large one: none changes what is loaded, and each is noticed.

By default every seventh bit, so that each byte has one flipped or two, and each of its bits is met; with other
extensions than Pack every 23rd, which is one in each three bytes; every third length, and those near either end; and
300 flips in the large one. With `make soak` every bit, every length, and 10,000 flips.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.support.files import manifest_file
from tests.support.planners import Part, PartsPlanner, read
from tests.support.tensors import bits, blank, weights

import dcpx
from dcpx import DcpxError

LONG = "DCPX_STRESS" in os.environ
STEP = 1 if LONG else 7
STEP_OF_OTHERS = 1 if LONG else 23
STEP_OF_LENGTHS = 1 if LONG else 3
FLIPS = 10_000 if LONG else 300

SMALL: dict[str, Any] = {
    "bf16": weights(torch.bfloat16, (12, 25), 1),
    "f32": weights(torch.float32, (7,), 2),
    "i64": torch.arange(5),
    "scalar": torch.tensor(2.5),
    "object": (3, 0.25),
}
PACKS: dict[str, Callable[[], Any]] = {
    "pack": dcpx.Pack,
    "raw": lambda: dcpx.Pack("raw"),
    "zstd": dcpx.ZStandard,
    "chain": lambda: dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()),
    "plain": lambda: None,
}


class Loads:
    """Loads of all of a state, or of one item, compared bit for bit with what was saved."""

    def __init__(self, path: Path, state: dict[str, Any]) -> None:
        self.path, self.state = path, state
        self.objects = self._load(list(state)).objects if not all_tensors(state) else {}

    def outcome(self, names: list[str]) -> DcpxError | None:
        """The error of a load, if it has one; nothing else may be raised, and nothing loaded that wasn't saved."""
        try:
            planner = self._load(names)
        except DcpxError as error:
            return error
        for (name, _, target), number in zip(planner.parts, range(len(names)), strict=True):
            if target is None:
                assert planner.objects[number] == next(iter(self.objects.values())), f"{name} came back wrong"
            else:
                assert bits(target) == bits(self.state[name]), f"{name} came back wrong"
        return None

    def _load(self, names: list[str]) -> PartsPlanner:
        parts = []
        for name in names:
            value = self.state[name]
            is_tensor = isinstance(value, torch.Tensor)
            parts.append(Part(name, (0,) * value.dim(), blank(value)) if is_tensor else Part(name))
        planner = PartsPlanner(parts)
        read(self.path, planner, threads=1)
        return planner


def all_tensors(state: dict[str, Any]) -> bool:
    return all(isinstance(value, torch.Tensor) for value in state.values())


def flips(path: Path, places: Iterator[tuple[int, int]] | list[tuple[int, int]]) -> Iterator[int]:
    """Flip one bit after another, each put back before the next; gives the byte's place while it is flipped."""
    file = os.open(path, os.O_RDWR)
    try:
        for at, bit in places:
            (byte,) = os.pread(file, 1, at)
            os.pwrite(file, bytes([byte ^ 1 << bit]), at)
            yield at
            os.pwrite(file, bytes([byte]), at)
    finally:
        os.close(file)


def every_bit(path: Path, step: int) -> list[tuple[int, int]]:
    return [divmod(number, 8) for number in range(0, path.stat().st_size * 8, step)]


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bits")
    for name, make in PACKS.items():
        writer = dcpx.Writer(root / name, pack=make(), threads=1, user={"step": 3})
        dcp.save(SMALL, storage_writer=writer)
    return root


def ranges(path: Path) -> list[tuple[int, int, str]]:
    stored = dcpx.Reader(path).read_metadata().storage_data
    found = sorted((info.offset, info.offset + info.length, index.fqn) for index, info in stored.items())
    assert [start for start, _, _ in found] == [0, *(end for _, end, _ in found[:-1])], "gaps would escape this test"
    return found


@pytest.mark.parametrize("pack", PACKS)
def test_every_bit_of_the_data(pack: str, saved: Path, tmp_path: Path):
    path = Path(shutil.copytree(saved / pack, tmp_path / "c"))
    loads = Loads(path, SMALL)
    (file,) = path.glob("*.distcp")
    items = ranges(path)
    assert items[-1][1] == file.stat().st_size
    harmless = []
    places = every_bit(file, STEP if pack == "pack" else STEP_OF_OTHERS)
    for at in flips(file, places):
        (name,) = (name for start, end, name in items if start <= at < end)
        error = loads.outcome([name])
        if error is None:
            # A bit that Zstandard's decoder doesn't use: what it decodes to is what was saved.
            harmless.append(at)
            (problem,) = dcpx.verify(path).problems
            assert problem.file == file.name
        else:
            assert error.where.file == str(file)
            assert error.where.item == name
    assert len(harmless) < len(places) / 200 if pack == "pack" else harmless == []
    assert loads.outcome(list(SMALL)) is None


@pytest.mark.parametrize("name", ["metadata", "manifest"])
def test_every_bit_of_what_describes_it(name: str, saved: Path, tmp_path: Path):
    path = Path(shutil.copytree(saved / "pack", tmp_path / "c"))
    loads = Loads(path, SMALL)
    file = path / ".metadata" if name == "metadata" else manifest_file(path)
    silent = [at for at in flips(file, every_bit(file, STEP)) if loads.outcome(list(SMALL)) is None]
    assert silent == []
    assert loads.outcome(list(SMALL)) is None


@pytest.mark.parametrize("name", ["metadata", "manifest"])
def test_what_describes_it_cut_or_continued(name: str, saved: Path, tmp_path: Path):
    path = Path(shutil.copytree(saved / "pack", tmp_path / "c"))
    loads = Loads(path, SMALL)
    file = path / ".metadata" if name == "metadata" else manifest_file(path)
    whole = file.read_bytes()
    for size in sorted({*range(0, len(whole), STEP_OF_LENGTHS), *range(20), *range(len(whole) - 20, len(whole))}):
        file.write_bytes(whole[:size])
        assert loads.outcome(list(SMALL)) is not None, f"{size} bytes sufficed"
    for more in (b"\0", b"\n", b"{}", whole):
        file.write_bytes(whole + more)
        assert loads.outcome(list(SMALL)) is not None
        file.write_bytes(more + whole)
        assert loads.outcome(list(SMALL)) is not None


def test_flips_in_a_large_checkpoint(tmp_path: Path):
    """50 MB, all of it one load's in the end, but each flip is looked for where it is."""
    state = {f"weights {number}": weights(torch.bfloat16, (700, 500), number) for number in range(50)}
    state |= {f"moments {number}": weights(torch.float32, (500, 500), 100 + number) ** 2 for number in range(15)}
    state |= {f"bias {number}": weights(torch.float32, (500,), 200 + number) for number in range(100)}
    assert sum(tensor.nbytes for tensor in state.values()) > 50_000_000 - 300_000
    path = tmp_path / "c"
    dcpx.save(state, path, sync=False)
    loads = Loads(path, state)
    (file,) = path.glob("*.distcp")
    items = ranges(path)
    chance = random.Random(1)
    places = [(chance.randrange(file.stat().st_size), chance.randrange(8)) for _ in range(FLIPS)]
    silent = []
    for at in flips(file, places):
        (name,) = (name for start, end, name in items if start <= at < end)
        if loads.outcome([name]) is None:
            silent.append(at)
    assert silent == []
    assert loads.outcome(list(state)) is None
