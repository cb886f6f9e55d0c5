"""The command as a user runs it, in a process of its own in which torch can't be imported."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx

COMMAND = Path(sysconfig.get_path("scripts")) / "dcpx"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """In which `import torch` fails, as it does where there is none."""
    folder = tmp_path_factory.mktemp("no-torch")
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "DCPX_INSTALL")}
    return {**kept, "PYTHONPATH": str(folder), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="session")
def run(environment: dict[str, str]) -> Run:
    """Runs the command with these arguments; `status` is what it must end with."""

    def run(
        *arguments: object, status: int = 0, torch: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        variables = {**environment, **options.pop("variables", {})}
        if torch:
            del variables["PYTHONPATH"]
        options = {"capture_output": True, "text": True, "timeout": 120, **options}
        done = subprocess.run([sys.executable, str(COMMAND), *map(str, arguments)], env=variables, **options)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in str(done.stderr)
        return done

    return run


def state(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    layers = {
        str(number): {"weight": torch.randn(64, 48, generator=generator).bfloat16(), "bias": torch.zeros(64)}
        for number in range(4)
    }
    return {
        "model": {"layers": layers, "embed": torch.randn(300, 48, generator=generator), "scale": torch.tensor(1.5)},
        "step": step,
    }


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's checkpoints: `step-1` and `step-2` of dcpx's, and `stock` of stock DCP's."""
    folder = tmp_path_factory.mktemp("saved")
    for step in (1, 2):
        dcpx.save(state(step), folder / f"step-{step}", user={"step": step})
    dcp.save(state(1), checkpoint_id=folder / "stock", no_dist=True)
    return folder
