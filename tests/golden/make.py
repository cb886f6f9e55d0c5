"""Makes the archive of this dcpx and this torch, unless there is one: `python -m tests.golden.make`."""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import dcpx
from tests.dist.ranks import run
from tests.golden import values

KINDS = ("stock", "dcpx")
WORLD = 2


def save(rank: int, world: int, path: Path) -> None:
    """On every rank: save the values below `path`, by names that say nothing of where that is."""
    os.chdir(path)
    mesh = init_device_mesh("cpu", (world,))
    cut = [distribute_tensor(value, mesh, [Shard(number)]) for number, value in enumerate(values.sharded().values())]
    state: dict[str, Any] = dict(zip(values.sharded(), cut, strict=True)) | values.tensors() | values.objects()
    dcp.save(state, checkpoint_id="stock")
    dcpx.save(state, "dcpx")


def main() -> None:
    name = f"dcpx-{version('dcpx')}-torch-{torch.__version__.partition('+')[0]}.zip"
    target = Path(__file__).with_name(name)
    if target.exists():
        sys.exit(f"{name} is there, and is never made again")
    with tempfile.TemporaryDirectory() as folder:
        run(save, WORLD, Path(folder))
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for kind in KINDS:
                for file in sorted(Path(folder, kind).iterdir()):
                    # Not the file's own time: a golden file says nothing of when it was made.
                    archive.writestr(zipfile.ZipInfo(f"{kind}/{file.name}"), file.read_bytes(), zipfile.ZIP_DEFLATED)
    print(f"{name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
