"""What the trainings have in common: a small model, its data, and how they tell of themselves.

python SCRIPT FOLDER STEPS KILL_AT     saves after every second step; dies of SIGKILL within step KILL_AT, if not 0
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

FOLDER, STEPS, KILL_AT = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
RANK = int(os.environ.get("RANK", "0"))
EVERY = 2


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(37, 61), torch.nn.GELU(), torch.nn.Linear(61, 11))


def batch(step: int) -> torch.Tensor:
    return torch.randn(8, 37, generator=torch.Generator().manual_seed(1000 * RANK + step))


def tell(step: int, loss: torch.Tensor) -> None:
    """Every bit of the loss; and the death, where it is due."""
    with open(FOLDER / f"losses-{RANK}.jsonl", "a") as file:
        file.write(json.dumps([step, loss.detach().item().hex()]) + "\n")
    if step == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
