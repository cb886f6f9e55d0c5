"""The golden checkpoints in spec/vectors/checkpoints.tar.gz: whatever dcpx becomes, it judges each as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from judged import INDEX, judged, loaded, unpacked
from tests.support.versions import rank_local
from xxhash import xxh3_128_hexdigest

import dcpx

CHECKPOINTS: dict[str, dict[str, Any]] = json.loads(INDEX.read_text("utf-8"))
GOOD = [name for name, entry in CHECKPOINTS.items() if "error" not in entry]
BAD = [name for name, entry in CHECKPOINTS.items() if "error" in entry]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return unpacked()


@pytest.fixture
def checkpoint(name: str, files: dict[str, bytes], tmp_path: Path) -> Path:
    for path, content in files.items():
        if path.startswith(f"{name}/"):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(content)
    return tmp_path / name


def test_the_index_lists_what_lies_there(files: dict[str, bytes]):
    assert {path.partition("/")[0] for path in files} == set(CHECKPOINTS)
    assert len(GOOD) >= 7
    assert len(BAD) >= 90
    assert {entry["error"] for name, entry in CHECKPOINTS.items() if name in BAD} == {
        *("CorruptError", "TruncatedError", "UnsupportedError", "LimitError")
    }


@pytest.mark.parametrize("name", [name if name != "rank" else pytest.param(name, marks=rank_local) for name in GOOD])
def test_a_good_checkpoint(name: str, checkpoint: Path):
    entry = CHECKPOINTS[name]
    report = dcpx.verify(checkpoint)
    assert report.ok, report
    targets = {
        name: torch.empty(tensor["shape"], dtype=getattr(torch, tensor["dtype"]))
        for name, tensor in entry["tensors"].items()
    }
    for name, (dtype, shape, data) in loaded(checkpoint, targets).items():
        assert {"dtype": dtype, "shape": shape, "xxh3_128": xxh3_128_hexdigest(data)} == entry["tensors"][name]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint(name: str, checkpoint: Path):
    assert CHECKPOINTS[name]["error"] in judged(checkpoint)
