"""Trainings by a process that has imported torch and a trainer's package once, and forks the ranks of each.

python forked.py PACKAGE SCRIPT FOLDER:STEPS:KILL_AT [...]     one training after another, two ranks each

Each rank finds what torchrun would have set, and begins with nothing but what was imported; as with torchrun, a rank
that dies takes the other one with it, and the next training follows.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

import torch.distributed as dist
import torch.distributed.checkpoint
import torch.distributed.fsdp  # noqa: F401 (for the ranks)

import dcpx  # noqa: F401 (for the ranks)

RANKS = 2


def run_rank(script: str, arguments: list[str]) -> int:
    """Run the script as Python would, and say what it would end with."""
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else error.code is not None
    except BaseException:  # noqa: BLE001 (shown where Python would)
        traceback.print_exc()
        return 1
    return 0


def fork_rank(rank: int, port: int, script: str, arguments: list[str]) -> int:
    if child := os.fork():
        return child
    alike = ("RANK", "LOCAL_RANK"), ("WORLD_SIZE", "LOCAL_WORLD_SIZE")
    os.environ |= {name: str(value) for names, value in zip(alike, (rank, RANKS), strict=True) for name in names}
    os.environ |= {
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "forked",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    status = run_rank(script, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def train(script: str, arguments: list[str]) -> bool:
    """Whether both ranks ended well."""
    # As torchrun's, it is this process's, which lives longer than any rank. Nothing of an earlier training is in it.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    running = {fork_rank(rank, store.port, script, arguments) for rank in range(RANKS)}
    well = True
    while running:
        child, status = os.wait()
        running.remove(child)
        if status and well:
            well = False
            for other in running:
                os.kill(other, signal.SIGKILL)
    return well


def main() -> int:
    package, script, *trainings = sys.argv[1:]
    importlib.import_module(package)
    for training in trainings:
        arguments = training.rsplit(":", 2)
        well = train(script, arguments)
        if not well and arguments[-1] == "0":
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
