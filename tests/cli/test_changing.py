"""`dcpx convert` and `dcpx recode`, which need torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file

import dcpx
from tests.cli.conftest import Run, state


def test_recode(saved: Path, tmp_path: Path, run: Run):
    for level in ("small", "plain", "fast"):
        run("recode", saved / "step-1", tmp_path / level, "--level", level, torch=True)
        assert dcpx.diff(saved / "step-1", tmp_path / level).is_same
        assert dcpx.verify(tmp_path / level).ok
    stored = {level: dcpx.inspect(tmp_path / level).stored for level in ("small", "plain", "fast")}
    assert stored["small"] <= stored["fast"] < stored["plain"]
    assert dcpx.inspect(tmp_path / "small").user == {"step": 1}, "what the user said stays"


def test_convert(saved: Path, tmp_path: Path, run: Run):
    (tmp_path / "names.json").write_text(json.dumps({"model.embed": "e"}))
    weights = tmp_path / "w.safetensors"
    done = run("convert", saved / "step-1", weights, "--names", tmp_path / "names.json", status=2, torch=True)
    assert "--skip-objects" in done.stderr
    assert f"'{saved / 'step-1'}', item 'step'" in done.stderr, "an object that the format can't hold is named"
    done = run("convert", saved / "step-1", tmp_path / "all.safetensors", "--skip-objects", torch=True)
    assert "left out: step" in done.stdout
    (tmp_path / "bad.json").write_text("{")
    done = run("convert", saved / "step-1", weights, "--names", tmp_path / "bad.json", status=2, torch=True)
    assert "bad.json holds no JSON" in done.stderr
    assert "can't be streamed" in run("convert", saved / "step-1", "-", status=2, torch=True, cwd=tmp_path).stderr
    dcpx.save({"model": state(1)["model"]}, tmp_path / "model")
    done = run(
        "convert", tmp_path / "model", weights, "--names", tmp_path / "names.json", "--dtype", "float16", torch=True
    )
    assert "safetensors, 10 tensors" in done.stdout
    assert load_file(weights)["e"].dtype == torch.float16
    assert "exists" in run("convert", tmp_path / "model", weights, status=2, torch=True).stderr
    run("convert", weights, tmp_path / "back", "--overwrite", torch=True)


def test_without_torch(saved: Path, tmp_path: Path, run: Run):
    assert "torch" in run("convert", saved / "step-1", tmp_path / "x.safetensors", status=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dtype_that_is_none(saved: Path, tmp_path: Path, run: Run):
    done = run("convert", saved / "step-1", tmp_path / "x", "--dtype", "save", status=2, torch=True)
    assert "is no dtype" in done.stderr


def test_a_device_is_not_replaced(saved: Path, tmp_path: Path, run: Run):
    os.mkfifo(tmp_path / "x.safetensors")
    arguments = [saved / "step-1", tmp_path / "x.safetensors", "--overwrite", "--skip-objects"]
    assert "exists already" in run("convert", *arguments, status=2, torch=True).stderr
    assert (tmp_path / "x.safetensors").is_fifo()
