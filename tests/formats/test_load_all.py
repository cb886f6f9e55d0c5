"""`dcpx.load_all`: a whole checkpoint without a template."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dcpx
from tests.formats.kinds import NESTED


def test_load_all(tmp_path: Path):
    dcpx.save(NESTED, tmp_path / "c")
    assert dcpx.load_all(tmp_path / "c", keys="step") == {"step": 7}
    some = dcpx.load_all(tmp_path / "c", keys=["model.layers.1", "opt.lr"])
    assert torch.equal(some["model"]["layers"][1]["w"], NESTED["model"]["layers"][1]["w"])  # type: ignore[index]
    with pytest.raises(dcpx.NotFoundError, match="nobody"):
        dcpx.load_all(tmp_path / "c", keys=["step", "nobody"])
    with pytest.raises(TypeError, match="nonsense"):
        dcpx.load_all(tmp_path / "c", nonsense=1)
    with pytest.raises(dcpx.NotFoundError):
        dcpx.load_all(tmp_path / "nowhere")
