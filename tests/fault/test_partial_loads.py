"""Loads that bring back what is whole: every item is exact or named as failed, and none is both."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.support.files import flip, stored
from tests.support.leaks import nothing_left
from tests.support.planners import Part, PartsPlanner, RaisingPlanner, read
from tests.support.tensors import bits, blank, freed, weights
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.planner import ReadItem

import dcpx
from dcpx import CorruptError, DcpxError, LoadError, MissingFileError, TruncatedError

TENSORS = {
    **{f"small {number}": torch.full((50,), float(number)) for number in range(60)},
    "middle": weights(torch.float32, (300, 200), 1),
    "large": weights(torch.bfloat16, (1500, 1001), 2),
    "turned": weights(torch.float32, (700, 900), 3).t(),
    "zeros": torch.zeros(3_000_000),
    "conjugated": weights(torch.complex64, (50, 60), 4).conj(),
}
OBJECTS = {"object": ("a", 1), "long object": "x" * 2_000_000}
STATE: dict[str, Any] = TENSORS | OBJECTS
WRITERS: dict[str, Callable[[Path], Any]] = {
    "pack": lambda path: dcpx.Writer(path, sync_files=False),
    "raw, a file each": lambda path: dcpx.Writer(
        path, pack=dcpx.Pack("raw"), sync_files=False, single_file_per_rank=False
    ),
    "zstd": lambda path: dcpx.Writer(path, pack=dcpx.ZStandard(), sync_files=False, threads=1),
    "stock, pack": lambda path: FileSystemWriter(path, _extensions=[dcpx.Pack()], sync_files=False),
}
every_writer = pytest.mark.parametrize("writer", WRITERS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("partial")
    for name, make in WRITERS.items():
        dcp.save(STATE, storage_writer=make(root / name))
    return root


@pytest.fixture
def checkpoint(saved: Path, writer: str, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved / writer, tmp_path / "copy"))


def load(path: Path, **options: Any) -> dict[str, DcpxError]:
    """What couldn't be loaded; all else is exact."""
    loaded: dict[str, Any] = {name: blank(tensor) for name, tensor in TENSORS.items()} | dict.fromkeys(OBJECTS)
    with nothing_left():
        failures = dcpx.load(loaded, path, partial=True, **options)
    for name, value in STATE.items():
        if name in failures:
            assert str(failures[name].where.file).endswith(".distcp")
        elif name in TENSORS:
            assert bits(loaded[name]) == bits(value), name
        else:
            assert loaded[name] == value, name
    return failures


@every_writer
def test_what_is_whole_has_no_failures(writer: str, saved: Path):
    assert load(saved / writer) == {}


@every_writer
@pytest.mark.parametrize("name", ["small 0", "small 30", "middle", "large", "turned", "conjugated", *OBJECTS])
def test_one_damaged_item_is_the_only_failure(name: str, writer: str, checkpoint: Path):
    info = stored(checkpoint)[name]
    chance = random.Random(name)
    flip(checkpoint / info.relative_path, info.offset + chance.randrange(info.length))
    failures = load(checkpoint, threads=chance.choice([1, 3]))
    # The container that Zstandard or stock DCP stores has bytes that mean nothing.
    assert set(failures) <= {name}
    if writer != "zstd":
        assert isinstance(failures[name], CorruptError)
        assert failures[name].where.item == name
        with pytest.raises(CorruptError) as caught:
            dcpx.load({name: blank(TENSORS[name]) if name in TENSORS else None}, checkpoint)
        assert caught.value.where.item == name


@every_writer
def test_many_damaged_items(writer: str, checkpoint: Path):
    damaged = [f"small {number}" for number in range(0, 60, 7)] + ["large", "object"]
    for name, info in stored(checkpoint).items():
        if name in damaged:
            for at in range(info.offset, info.offset + info.length, 37):
                flip(checkpoint / info.relative_path, at)
    failures = load(checkpoint, threads=2, budget=1)
    assert set(failures) == set(damaged)


@pytest.mark.parametrize("writer", ["pack", "zstd", "stock, pack"])
def test_a_file_that_ends_early(writer: str, checkpoint: Path):
    infos = stored(checkpoint)
    info = infos["small 20"]
    with (checkpoint / info.relative_path).open("r+b") as file:
        file.truncate(info.offset + info.length // 2)
    failures = load(checkpoint)
    behind = {name for name, one in infos.items() if one.relative_path == info.relative_path}
    assert set(failures) == {name for name in behind if infos[name].offset >= info.offset}
    assert all(isinstance(error, TruncatedError) for error in failures.values())


@pytest.mark.parametrize("writer", ["raw, a file each"])
def test_files_that_are_missing(writer: str, checkpoint: Path):
    missing = ["small 7", "large", "object"]
    for name in missing:
        (checkpoint / stored(checkpoint)[name].relative_path).unlink()
    failures = load(checkpoint)
    assert set(failures) == set(missing)
    assert all(isinstance(error, MissingFileError) for error in failures.values())


@every_writer
@pytest.mark.parametrize("name", ["small 3", "middle", "large"])
def test_a_target_that_cannot_be_filled(name: str, writer: str, saved: Path):
    tensor = TENSORS[name]
    once = torch.zeros([1] * tensor.dim(), dtype=tensor.dtype).expand(tensor.shape)
    others = [other for other in TENSORS if other != name]
    loaded = {name: once} | {other: blank(TENSORS[other]) for other in others}
    with nothing_left():
        failures = dcpx.load(loaded, saved / writer, partial=True)
    assert set(failures) == {name}
    assert isinstance(failures[name], LoadError)
    assert all(bits(loaded[other]) == bits(TENSORS[other]) for other in others)


@every_writer
def test_only_what_is_whole_is_committed(writer: str, checkpoint: Path):
    info = stored(checkpoint)["large"]
    flip(checkpoint / info.relative_path, info.offset + info.length // 2)
    parts = [Part(name, (0,) * TENSORS[name].dim(), blank(TENSORS[name])) for name in ("large", "middle")]
    parts += [Part("large", (0, 0), torch.zeros(2, 2, dtype=torch.bfloat16)), Part("object")]
    planner = PartsPlanner(parts)
    reader = dcpx.Reader(checkpoint, partial=True)
    with nothing_left():
        read(checkpoint, planner, reader)
    assert set(reader.failures) == {"large"}
    assert planner.committed == [1]
    assert set(planner.objects) == {3}


@pytest.mark.parametrize("writer", ["pack"])
def test_damaged_metadata_still_ends_the_load(writer: str, checkpoint: Path):
    (checkpoint / ".metadata").write_bytes(b"nothing")
    with nothing_left(), pytest.raises(DcpxError):
        dcpx.load({"object": None}, checkpoint, partial=True)


# --- targets that can't be made, or aren't taken ----------------------------------------------------------------------


class Refusing(RaisingPlanner):
    """Raises, or gives a target of another shape."""

    def resolve_tensor(self, request: ReadItem) -> torch.Tensor:
        found = super().resolve_tensor(request)
        return found.unsqueeze(0) if self.meets("shape", request) else found


@every_writer
@pytest.mark.parametrize("name", ["small 0", "small 30", "small 59", "large"])
@pytest.mark.parametrize("method", ["resolve", "commit", "shape", "freed"])
def test_a_target_takes_none_of_its_neighbours_with_it(method: str, name: str, writer: str, saved: Path):
    targets = {one: blank(tensor) for one, tensor in TENSORS.items()}
    if method == "freed":
        targets[name] = freed(targets[name])
    parts = [Part(one, (0,) * target.dim(), target) for one, target in targets.items()]
    planner = Refusing([*parts, *(Part(one) for one in OBJECTS)], method, name, OSError("not this one"))
    reader = dcpx.Reader(saved / writer, partial=True, threads=3)
    with nothing_left():
        read(saved / writer, planner, reader)
    assert set(reader.failures) == {name}
    assert isinstance(reader.failures[name], LoadError)
    assert reader.failures[name].where.item == name
    assert all(bits(targets[other]) == bits(TENSORS[other]) for other in TENSORS if other != name)
    assert sorted(planner.committed) == [n for n, part in enumerate(parts) if part.name != name]
    assert len(planner.objects) == len(OBJECTS)
