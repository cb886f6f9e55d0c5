"""Real ranks: processes in one gloo group, on this machine."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

__all__ = ["COLLECTIVE_SECONDS", "run"]

JOIN_SECONDS = 90
"""How long all of them may take."""

COLLECTIVE_SECONDS = 20
"""How long a rank waits for the others."""


def run(work: Callable[[int, int, Path], None], world: int, path: Path, *, killed: int | None = None) -> None:
    """`work(rank, world, path)` in as many processes; an error or a hang of any fails the test.

    The rank `killed` must die of SIGKILL, and the others come to their end all the same.
    """
    path.mkdir(exist_ok=True)
    context = mp.spawn(_rank, (work, world, path, f"file://{path}/.rendezvous-{uuid.uuid4()}"), world, join=False)
    end = time.monotonic() + JOIN_SECONDS
    try:
        if killed is not None:
            # The context would take the first death for a failure, and end the others.
            for process in context.processes:
                process.join(max(end - time.monotonic(), 0))
            codes = [process.exitcode for process in context.processes]
            assert codes == [-signal.SIGKILL if rank == killed else 0 for rank in range(world)]
            return
        while not context.join(timeout=5):
            assert time.monotonic() < end, "the ranks hang"
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
            process.join()


def _rank(rank: int, work: Callable[[int, int, Path], None], world: int, path: Path, store: str) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    timeout = timedelta(seconds=COLLECTIVE_SECONDS)
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world, timeout=timeout)
    try:
        work(rank, world, path)
    finally:
        dist.destroy_process_group()
