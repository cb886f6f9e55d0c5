"""Real trainers, two gloo ranks each, dcpx installed: trained, killed, resumed; each loss is that of a training that
nobody interrupted, bit for bit.

Lightning and Accelerate are run by `make test`, the others by `make trainers`, which installs them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
TRAINERS = {"fabric": "lightning", "accelerate_fsdp": "accelerate", "torchtnt_saver": "torchtnt"}


def train(script: str, folder: Path, steps: int, kill_at: int = 0) -> list[list[tuple[int, str]]]:
    """The steps and losses of each rank, all runs in this folder together."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*command, str(SCRIPTS / f"{script}.py"), str(folder), str(steps), str(kill_at)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    if not kill_at:
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-5000:]
    found = []
    for rank in range(2):
        lines = (folder / f"losses-{rank}.jsonl").read_text().splitlines()
        found.append([(step, loss) for step, loss in map(json.loads, lines)])
    return found


@pytest.mark.parametrize("script", TRAINERS)
def test_killed_and_resumed(script: str, tmp_path: Path):
    if importlib.util.find_spec(TRAINERS[script]) is None:
        pytest.skip(f"{TRAINERS[script]} isn't installed: make trainers")
    whole = train(script, tmp_path / "whole", 6)
    assert [step for step, _ in whole[0]] == [1, 2, 3, 4, 5, 6]
    train(script, tmp_path / "killed", 6, kill_at=5)
    resumed = train(script, tmp_path / "killed", 6)
    for expected, found in zip(whole, resumed, strict=True):
        assert found[-2:] == expected[-2:], "resumed at step 5"
        assert found[:4] == expected[:4]
    written = list((tmp_path / "killed").rglob("*.manifest.json"))
    assert written, "dcpx wrote it"
