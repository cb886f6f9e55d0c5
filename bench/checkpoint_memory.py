"""How much memory do a save and a load of a checkpoint take beyond the state, and for a load beyond the targets?

Each figure is from a process of its own, that saves or loads something small first to have everything imported, and
reads its own peak resident size from the kernel before and after. Pages of files that are mapped count.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .memory import MIB, _peak, _reset_peak

MEASURED = ("many", "large", "one")
AT_ONCE = 2
"""Processes side by side: a peak doesn't depend on the speed."""


def run(state: str, root: Path) -> list[dict[str, object]]:
    """Rows of `save_extra` and `load_extra` in bytes, or of why they are `missing`; checkpoints go below `root`."""
    from .checkpoint_peers import other_packs, peers, through_dcp

    table = Table(title=f"memory/{state}: peak beyond the state and the targets")
    table.add_column("saved with")
    for heading in ("save MiB", "of raw", "load MiB", "of raw"):
        table.add_column(heading, justify="right")
    names = [*through_dcp(), *other_packs(), *peers()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = list(pool.map(lambda name: _row(name, state, root), names))
    for row in rows:
        table.add_row(str(row["contender"]), *_shown(row))
    Console(width=110).print(table)
    return rows


def _shown(row: dict[str, Any]) -> list[str]:
    if "missing" in row:
        return [f"missing: {row['missing']}"]
    extras = (row["save_extra"], row["load_extra"])
    return [cell for extra in extras for cell in (f"{extra / MIB:.1f}", f"{extra / row['raw']:.2f}")]


def _row(name: str, state: str, root: Path) -> dict[str, object]:
    from .checkpoint_peers import peers

    row: dict[str, object] = {"contender": name}
    with tempfile.TemporaryDirectory(dir=root, prefix="bench-") as folder:
        for direction in ("save", "load"):
            command = [sys.executable, "-W", "ignore", "-m", __name__, name, state, direction, folder]
            # Copies of processes side by side use every core, and would burn time waiting for each other.
            environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode != 0 and name not in peers():
                raise RuntimeError(f"{name}, {direction}: {done.stderr}")
            if done.returncode != 0:
                return {**row, "missing": done.stderr.strip().splitlines()[-1][:80]}
            found = json.loads(done.stdout.splitlines()[-1])
            row |= {"raw": found["raw"], f"{direction}_extra": found["extra"]}
    return row


def measure(name: str, state_name: str, direction: str, folder: str) -> dict[str, int]:
    """`extra`, bytes by which the process's peak grows in one save or load, and `raw`, the bytes of the state."""
    from .checkpoint_peers import other_packs, peers, through_dcp
    from .states import STATES, check_exact, nbytes, one, spoilt

    checkpointer = {**through_dcp(), **other_packs(), **peers()}[name]()
    state, small = STATES[state_name](), one(rows=64)
    targets = spoilt(state) if direction == "load" else {}
    path, small_folder = Path(folder) / "checkpoint", Path(folder) / f"small-{direction}"
    checkpointer.save(small, small_folder, fsync=True)
    checkpointer.load(spoilt(small), small_folder)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory left over from making the state would hide what is taken below
    start = _reset_peak()
    if direction == "save":
        checkpointer.save(state, path, fsync=True)
    else:
        checkpointer.load(targets, path)
    extra = _peak() - start
    if direction == "load":
        check_exact(targets, state)
    return {"extra": extra, "raw": nbytes(state)}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
