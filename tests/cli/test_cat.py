"""`dcpx cat`: a tensor or a slice of it, as text, as .npy and as .safetensors."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import dcpx
from tests.cli.conftest import COMMAND, Run, state
from tests.support.tensors import bits

SLICES = {
    "": (),
    "0:10,:": np.s_[0:10, :],
    "-1": np.s_[-1],
    ":,3": np.s_[:, 3],
    "290:,-4:-1": np.s_[290:, -4:-1],
    "5:2": np.s_[5:2],
}


@pytest.mark.parametrize("where", SLICES)
@pytest.mark.parametrize("name", ["step-1", "stock"])
def test_slices(name: str, where: str, saved: Path, tmp_path: Path, run: Run):
    expected = state(1)["model"]["embed"].numpy()[SLICES[where]]
    run("cat", saved / name, "model.embed", f"--slice={where}", "-o", tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), expected)


def test_to_safetensors_bit_for_bit(saved: Path, tmp_path: Path, run: Run):
    run("cat", saved / "step-1", "model.layers.2.weight", "-o", tmp_path / "x.safetensors")
    assert bits(load_file(tmp_path / "x.safetensors")["model.layers.2.weight"]) == bits(
        state(1)["model"]["layers"]["2"]["weight"]
    )
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_to_standard_output(saved: Path, environment: dict[str, str]):
    command = [sys.executable, str(COMMAND), "cat", str(saved / "step-1"), "model.layers.0.weight", "-o", "-"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert np.array_equal(np.load(io.BytesIO(done.stdout)), state(1)["model"]["layers"]["0"]["weight"].float().numpy())


def test_as_text(saved: Path, run: Run):
    assert run("cat", saved / "step-1", "model.scale").stdout == "model.scale: float32 scalar\n1.5\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["model.embedd"], "the nearest are 'model.embed'"),
        (["step"], "it is an object"),
        (["model.embed", "--slice=900"], "outside dimension 0"),
        (["model.embed", "--slice=0,0,0"], "3 slices were given"),
        (["model.embed", "--slice=::2"], "is no slice"),
        (["model.embed", "--slice=x"], "is no slice"),
        (["model.embed", "-o", "x.txt"], "must end in"),
        (["model.embed", "-o", "/nonexistent/x.npy"], "No such file"),
    ],
)
def test_what_can_not_be_shown(arguments: list[str], error: str, saved: Path, run: Run):
    assert error in run("cat", saved / "step-1", *arguments, status=2).stderr


def test_every_dtype_that_safetensors_has(tmp_path: Path, run: Run):
    names = ["bool", "uint8", "int16", "int64", "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"]
    tensors = {name: torch.arange(-3, 9).to(torch.float32).to(getattr(torch, name)).reshape(3, 4) for name in names}
    dcpx.save(tensors, tmp_path / "c")
    for name, tensor in tensors.items():
        run("cat", tmp_path / "c", name, "-o", tmp_path / "x.safetensors")
        assert bits(load_file(tmp_path / "x.safetensors")[name]) == bits(tensor)
        run("cat", tmp_path / "c", name, "-o", tmp_path / "x.npy")
        numbers = tensor.float() if "float" in name and name not in ("float16", "float64") else tensor
        assert np.array_equal(np.load(tmp_path / "x.npy"), numbers.numpy())


def test_an_error_leaves_what_was_there(tmp_path: Path, run: Run):
    dcpx.save({"x": torch.ones(3, dtype=torch.complex32)}, tmp_path / "c")
    (tmp_path / "x.safetensors").write_text("before")
    assert (
        "has no torch.complex32" in run("cat", tmp_path / "c", "x", "-o", tmp_path / "x.safetensors", status=2).stderr
    )
    assert (tmp_path / "x.safetensors").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["c", "x.safetensors"]
