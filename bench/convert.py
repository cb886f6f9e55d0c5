"""How fast is 1 GB of weights converted to a dcpx checkpoint and back, and how much memory does it take?

Below /dev/shm, which is as fast as memory: what is measured is the conversion. `verify=True` is the default, and reads
all that was written once more.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file

import dcpx

from .in_turn import Row, in_turn
from .states import STATES, check_exact, nbytes

ROUNDS = 5


def run(rounds: int = ROUNDS) -> list[Row]:
    """Tensors as a model of 24 layers has them, the largest of 23 MB, and the same weights in blocks of 8 MB."""
    stacks = STATES["large"]().items()
    layers = {f"{name}.{layer}": part for name, stack in stacks for layer, part in enumerate(stack)}
    blocks = {f"{name}.{n}": part for name, stack in stacks for n, part in enumerate(stack.flatten().split(4_000_000))}
    rows: list[Row] = []
    for state in (layers, blocks):
        for verify in (True, False):
            title = f"convert {len(state):,} tensors, " + ("verified" if verify else "not verified")
            rows += _both_ways(title, state, rounds, verify=verify)
    return rows


def _both_ways(title: str, state: dict[str, torch.Tensor], rounds: int, *, verify: bool) -> list[Row]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as name:
        folder = Path(name)
        source = folder / "x.safetensors"
        save_file(state, source)

        def to_dcpx() -> None:
            shutil.rmtree(folder / "dcpx", ignore_errors=True)
            dcpx.convert(source, folder / "dcpx", verify=verify)

        def to_safetensors() -> None:
            (folder / "back.safetensors").unlink(missing_ok=True)
            dcpx.convert(folder / "dcpx", folder / "back.safetensors", verify=verify)

        def stock() -> None:
            """What one writes oneself: all of it in memory, and saved by stock DCP."""
            shutil.rmtree(folder / "stock", ignore_errors=True)
            dcp.save(dict(load_file(source)), checkpoint_id=folder / "stock", no_dist=True)

        def same(way: str) -> None:
            if way == "to safetensors":
                check_exact(load_file(folder / "back.safetensors"), load_file(source))

        to_dcpx()
        ways = {"to dcpx": to_dcpx, "to safetensors": to_safetensors}
        beside = {} if verify else {"load_file and stock dcp.save": stock}
        return in_turn(title, nbytes(state), ways | beside, rounds=rounds, check=same)
