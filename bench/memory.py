"""How much memory do packing and unpacking take beyond the item, through DCP's stock writer and reader?

Each row is a process of its own: it makes a bf16 tensor, saves or loads it once small to have everything imported, then
once large, and reads its own peak resident size from the kernel before and after.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MIB = 1 << 20
ITEM = 512 * MIB
EXTENSIONS = ("none", "ZStandard", "Pack", "Chain(Pack, ZStandard)")


def run() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    print(f"peak resident memory beyond the tensor itself, one item of {ITEM // MIB} MiB, stock DCP reader and writer")
    print(f"{'extension':<24}{'direction':<12}{'MiB':>8}   beyond the second copy that torch.load makes")
    with tempfile.TemporaryDirectory() as folder:
        for extension in EXTENSIONS:
            for direction in ("save", "load"):
                command = [sys.executable, "-W", "ignore", "-m", "bench.memory", extension, direction, folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                extra = json.loads(done.stdout)["extra"]
                over = extra - (ITEM if direction == "load" else 0)
                rows.append({"extension": extension, "direction": direction, "extra": extra, "over_item": over})
                print(f"{extension:<24}{direction:<12}{extra / MIB:>8.1f}   {over / MIB:.1f}")
    return rows


def measure(extension: str, direction: str, folder: Path) -> int:
    """Bytes by which the process's peak grows while one item of ITEM bytes is saved or loaded."""
    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter

    import dcpx

    table: dict[str, list[Any]] = {
        "none": [],
        "ZStandard": [dcpx.ZStandard()],
        "Pack": [dcpx.Pack()],
        "Chain(Pack, ZStandard)": [dcpx.Chain(dcpx.Pack(), dcpx.ZStandard())],
    }
    made = table[extension]

    def save(tensor: torch.Tensor, name: str) -> None:
        dcp.save({"x": tensor}, storage_writer=FileSystemWriter(folder / name, _extensions=made))

    def load(tensor: torch.Tensor, name: str) -> None:
        registry: Any = dcpx.default_registry()
        reader = FileSystemReader(folder / name, _extension_registry=registry)
        dcp.load({"x": tensor}, storage_reader=reader)

    small, large = _tensor(4 * MIB), _tensor(ITEM)
    save(small, "small")
    load(torch.empty_like(small), "small")
    if direction == "save":
        start = _reset_peak()
        save(large, extension)
        return _peak() - start
    target = torch.zeros_like(large)
    start = _reset_peak()
    load(target, extension)
    extra = _peak() - start
    assert torch.equal(target.view(torch.int16), large.view(torch.int16)), "the load isn't bit-exact"
    return extra


def _tensor(size: int):  # type: ignore[no-untyped-def]
    import torch

    generator = torch.Generator().manual_seed(0)
    tensor = torch.empty(size // 2, dtype=torch.bfloat16)
    for part in tensor.split(MIB):  # in parts: a whole f32 copy would raise the peak before it is measured
        part.copy_(torch.randn(part.shape, generator=generator) * 0.02)
    return tensor


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise OSError("the kernel doesn't tell the peak resident size")


if __name__ == "__main__":
    print(json.dumps({"extra": measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]))}))
