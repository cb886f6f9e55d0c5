"""Bytes that several items share: damage names all of them, and nobody passes another's bytes off as a copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.files import data_file, flip, stored
from tests.support.leaks import nothing_left
from tests.support.tensors import bits, blank, weights

import dcpx
from dcpx import CorruptError

# An item of up to 1 MiB is read at once, of a larger one only the chunks needed.
LARGE, SMALL = weights(torch.bfloat16, (1700, 1024), 1), weights(torch.float32, (64, 64), 2)
STATE: dict[str, torch.Tensor] = {
    "large": LARGE,
    "other": weights(torch.bfloat16, (1700, 1024), 3),
    "small": SMALL,
    "large copy": LARGE,
    "small copy": SMALL.clone(),
    "large again": LARGE.clone(),
}
SHARING = {"large": ["large", "large again", "large copy"], "small": ["small", "small copy"]}
every_group = pytest.mark.parametrize("first", SHARING)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copies") / "c"
    dcpx.save(STATE, path)
    return path


@pytest.fixture
def checkpoint(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "c"))


def load(path: Path, **options: Any) -> tuple[dict[str, torch.Tensor], Any]:
    found = {name: blank(tensor) for name, tensor in STATE.items()}
    with nothing_left():
        result = dcpx.load(found, path, **options)
    return found, result


def places_of(path: Path, name: str) -> dict[str, int]:
    """Bytes within an item's frame: of its header, a chunk's record, a chunk's payload and the index."""
    info = stored(path)[name]
    begin, end = info.offset, info.offset + info.length
    return {"header": begin + 9, "chunk": begin + info.length // 2, "index": end - 20}


@every_group
@pytest.mark.parametrize("where", ["header", "chunk", "index"])
def test_damage_names_every_item_that_stands_on_it(first: str, where: str, checkpoint: Path):
    flip(data_file(checkpoint), places_of(checkpoint, first)[where])
    report = dcpx.verify(checkpoint)
    assert sorted(report.lost) == SHARING[first]
    assert sorted(str(problem.item) for problem in report.problems) == SHARING[first]
    assert all(problem.error.where.item == problem.item for problem in report.problems)
    if where == "chunk":
        assert len({(problem.chunk, problem.begin, problem.end) for problem in report.problems}) == 1
    found, failures = load(checkpoint, partial=True)
    assert sorted(failures) == SHARING[first]
    assert all(bits(found[name]) == bits(STATE[name]) for name in STATE if name not in failures)
    with pytest.raises(CorruptError) as caught:
        load(checkpoint)
    assert all(repr(name) in str(caught.value) for name in SHARING[first])


def test_damage_to_what_is_not_shared(checkpoint: Path):
    flip(data_file(checkpoint), places_of(checkpoint, "other")["chunk"])
    assert dcpx.verify(checkpoint).lost == ["other"]
    with pytest.raises(CorruptError) as caught:
        load(checkpoint)
    assert "stand on the same bytes" not in str(caught.value)


def test_a_load_of_the_copy_alone_names_the_others(checkpoint: Path):
    flip(data_file(checkpoint), places_of(checkpoint, "large")["chunk"])
    with pytest.raises(CorruptError, match=r"'large', 'large again' stand on the same bytes") as caught:
        dcpx.load({"large copy": blank(LARGE)}, checkpoint)
    assert caught.value.where.item == "large copy"


def test_a_lost_file(checkpoint: Path):
    data_file(checkpoint).unlink()
    assert sorted(dcpx.verify(checkpoint).lost) == sorted(STATE)
    assert sorted(load(checkpoint, partial=True)[1]) == sorted(STATE)


def test_quick_verification(checkpoint: Path):
    flip(data_file(checkpoint), places_of(checkpoint, "small")["index"])
    assert sorted(dcpx.verify(checkpoint, quick=True).lost) == SHARING["small"]
