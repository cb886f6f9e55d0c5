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
from tests.support.versions import gloo, rank_local

SLICES = {
    "": (),
    "0:10,:": np.s_[0:10, :],
    "-1": np.s_[-1],
    ":,3": np.s_[:, 3],
    "290:,-4:-1": np.s_[290:, -4:-1],
    "5:2": np.s_[5:2],
    "::2": np.s_[::2],
    "290:3:-7,::-1": np.s_[290:3:-7, ::-1],
    "...,1": np.s_[..., 1],
    "...": np.s_[...],
    "2,...": np.s_[2, ...],
    "7,3": np.s_[7, 3],
}


# What is read of a slice is asked for in the same way of both: every other slice of stock's suffices.
@pytest.mark.parametrize(
    ("name", "where"), [*(("step-1", where) for where in SLICES), *(("stock", where) for where in list(SLICES)[1::2])]
)
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
        (["model.embed", "--slice=::0"], "step can't be 0"),
        (["model.embed", "--slice=...,..."], "one ellipsis"),
        (["model.embed", "--slice=1:2:3:4"], "is no slice"),
        (["model.e*"], "there is no item 'model.e*'"),
        (["model.embed", "--rank=1"], "rank 1 has saved none"),
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


def test_where_a_link_a_pipe_and_a_device_are(saved: Path, tmp_path: Path, run: Run):
    expected = state(1)["model"]["embed"].numpy()
    (tmp_path / "there.npy").write_text("before")
    (tmp_path / "link.npy").symlink_to("there.npy")
    run("cat", saved / "step-1", "model.embed", "-o", tmp_path / "link.npy")
    assert (tmp_path / "link.npy").is_symlink()
    assert np.array_equal(np.load(tmp_path / "there.npy"), expected)
    os.mkfifo(tmp_path / "pipe.npy")
    reading = subprocess.Popen(["cat", tmp_path / "pipe.npy"], stdout=subprocess.PIPE)
    run("cat", saved / "step-1", "model.embed", "-o", tmp_path / "pipe.npy")
    assert np.array_equal(np.load(io.BytesIO(reading.communicate()[0])), expected)
    assert (tmp_path / "pipe.npy").is_fifo()
    (tmp_path / "full.html").symlink_to("/dev/full")
    assert "No space left" in run("report", saved / "step-1", "-o", tmp_path / "full.html", status=2).stderr
    assert Path("/dev/full").is_char_device()
    assert sorted(os.listdir(tmp_path)) == ["full.html", "link.npy", "pipe.npy", "there.npy"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_reads(unbuffered: str, tmp_path: Path, environment: dict[str, str]):
    dcpx.save({"x": torch.randn(2000, 2000)}, tmp_path / "c", sync=False)
    command = f"{sys.executable} {COMMAND} cat {tmp_path / 'c'} x -o - | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"
    variables = {**environment, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", command], env=variables, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("141", "")


_OWN = """
import os, sys, torch, torch.distributed as dist, dcpx
child = os.fork()
rank = 1 if child == 0 else 0
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/meet", rank=rank, world_size=2)
dcpx.save({"x": torch.full((3,), float(rank))}, f"{sys.argv[1]}/c", use_collectives=False)
dist.destroy_process_group()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 0)
"""


@gloo
@rank_local
def test_each_rank_s_own(tmp_path: Path, run: Run):
    subprocess.run([sys.executable, "-W", "ignore", "-c", _OWN, str(tmp_path)], check=True, timeout=120)
    assert "the ranks 0, 1" in run("cat", tmp_path / "c", "x", status=2).stderr
    for rank in (0, 1):
        assert f"[{rank}" in run("cat", tmp_path / "c", "x", "--rank", rank).stdout
    done = run("recode", tmp_path / "c", tmp_path / "d", torch=True, status=2)
    assert "one that each has for itself" in done.stderr
