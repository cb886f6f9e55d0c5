"""The README's larger examples, run as they stand there, and what they do looked at; test_pages runs all others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import dcpx
from tests.docs.pages import ROOT, blocks

_ABORTED_AT_THE_END = "terminate called without an active exception"


def block(begin: str) -> str:
    (found,) = [one.text for one in blocks(ROOT / "README.md") if one.text.startswith(begin)]
    return found


def run(folder: Path, *command: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    # Gloo's threads may abort a process that has come to its end: what it was to do is compared, and done.
    ended = "torch.distributed.run" in command and _ABORTED_AT_THE_END in ran.stderr
    assert ran.returncode == 0 or ended, ran.stdout[-3000:] + ran.stderr[-3000:]
    return ran.stdout


def test_the_first_script_trains_and_resumes_on_another_number_of_processes(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(block("# train.py"))
    two = run(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py")
    assert re.findall(r"step (\d+):", two) == ["5", "10"]
    one = run(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "train.py")
    assert re.findall(r"step (\d+):", one) == ["15", "20"]
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", two + one)]
    assert losses == sorted(losses, reverse=True)
    assert dcpx.verify(tmp_path / "checkpoints" / "20").ok


def test_the_first_pieces_work_with_dcps_own_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, on one state; what they load is compared."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"dcpx": dcpx, "torch": torch, "state": {"w": torch.arange(3000.0), "step": 7}}
    exec(block("import torch.distributed.checkpoint as dcp"), names)
    state = names["state"]
    assert names["missing"] == {}
    assert torch.equal(state["w"], torch.arange(3000.0))
    assert state["step"] == 7
