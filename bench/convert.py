"""How fast is 1 GB of weights converted to a dcpx checkpoint and back, and how much memory does it take?

Below /dev/shm, which is as fast as memory: what is measured is the conversion. `verify=True` is the default, and reads
all that was written once more.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

import dcpx

from .in_turn import Row, in_turn
from .states import STATES, check_exact, nbytes

ROUNDS = 5


def run(rounds: int = ROUNDS) -> list[Row]:
    state = {f"{name}.{layer}": part for name, stack in STATES["large"]().items() for layer, part in enumerate(stack)}
    raw = nbytes(state)
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as name:
        folder = Path(name)
        source = folder / "x.safetensors"
        save_file(state, source)  # 2,496 tensors, of which the largest has 23 MB
        del state
        rows = []
        for verify in (True, False):

            def to_dcpx(verify: bool = verify) -> None:
                shutil.rmtree(folder / "dcpx", ignore_errors=True)
                dcpx.convert(source, folder / "dcpx", verify=verify)

            def to_safetensors(verify: bool = verify) -> None:
                dcpx.convert(folder / "dcpx", folder / "back.safetensors", overwrite=True, verify=verify)

            def stock() -> None:
                """What one writes oneself: all of it in memory, and saved by stock DCP."""
                import torch.distributed.checkpoint as dcp

                shutil.rmtree(folder / "stock", ignore_errors=True)
                dcp.save(dict(load_file(source)), checkpoint_id=folder / "stock", no_dist=True)

            def same(way: str) -> None:
                if way == "to safetensors":
                    check_exact(load_file(folder / "back.safetensors"), load_file(source))

            to_dcpx()
            ways = {"to dcpx": to_dcpx, "to safetensors": to_safetensors, "load_file and stock dcp.save": stock}
            rows += in_turn(f"convert, verify={verify}", raw, ways, rounds=rounds, check=same)
        return rows
