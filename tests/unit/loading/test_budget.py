"""The budget holds: what a save or load takes beyond the tensors themselves doesn't grow with them."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dcpx
from dcpx.codecs import Encoder, Lanes
from dcpx.frame.builder import FrameBuilder, RawChunk

MIB = 1 << 20
SIZE = 192 * MIB
ROOM = 64 * MIB
"""Bytes that a save or load may take beyond its budget."""

BUDGETS = [1 * MIB, 64 * MIB]

# A process of its own, which reads its peak resident size from the kernel before and after.
SCRIPT = """
import ctypes, gc, json, logging, pathlib, sys
import torch
import dcpx

logging.disable()
folder, content, size, budgets = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])


def peak():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024


def extra(work):
    gc.collect()
    for tensor in resident:  # what was swapped out would come back as if it were new
        torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())[::4096].sum()
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    work()
    return peak() - before


def weights(shape):
    found = torch.zeros(shape, dtype=torch.bfloat16)
    if content == "weights":
        some = torch.randn(1 << 20) * 0.02
        for part in found.view(-1).split(1 << 20):
            part.copy_(some[: len(part)])
    return found


rows, columns = size // 2 // 4096, 4096
state = {"contiguous": weights((rows, columns)), "turned": weights((columns, rows)).t()}
resident = list(state.values())
for name, tensor in state.items():  # everything is imported, and the allocator warm
    dcpx.save({"x": tensor[:64, :64]}, f"{folder}/warm {name}", sync=False)
    dcpx.load({"x": torch.zeros(64, 64, dtype=torch.bfloat16).t()}, f"{folder}/warm {name}")
found = {}
for budget in budgets:
    for name in state:
        path = f"{folder}/{budget} {name}"
        found[f"save {name}, {budget}"] = extra(
            lambda: dcpx.save({"x": state[name]}, path, threads=2, budget=budget, sync=False)
        )
        target = torch.empty_like(state[name]).fill_(7)
        resident.append(target)
        found[f"load {name}, {budget}"] = extra(lambda: dcpx.load({"x": target}, path, threads=2, budget=budget))
        assert torch.equal(target.view(torch.int16), state[name].view(torch.int16))
        resident.pop()
        del target
        for file in pathlib.Path(path).glob("*.distcp"):
            file.unlink()
print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel doesn't tell the peak resident size")
@pytest.mark.parametrize("content", ["weights", "zeros"])
def test_memory_beyond_the_tensors(content: str, tmp_path: Path):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), content, str(SIZE), json.dumps(BUDGETS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    over = {}
    for name, extra in json.loads(done.stdout).items():
        budget = int(name.split(", ")[1])
        print(f"{content}: {name}: {extra / MIB:.1f} MiB")
        if extra > budget + ROOM:
            over[name] = f"{extra / MIB:.1f} MiB"
    assert over == {}


def cut_in_bytes(
    self: FrameBuilder, raw: memoryview, encoder: Encoder, lanes: Lanes, still: bool
) -> Iterator[RawChunk]:
    """As FrameBuilder.cut, but a chunk for each byte of the elements."""
    for start in range(len(raw)):
        yield RawChunk(raw[start : start + 1], encoder, lanes, still)


@pytest.mark.parametrize("sizes", [[40_000], [4_000] * 10], ids=["one item", "small items"])
def test_chunks_of_one_byte(sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a chunk costs beside its bytes is bounded, too."""
    saved = {str(number): torch.randint(0, 256, (size,), dtype=torch.uint8) for number, size in enumerate(sizes)}
    with monkeypatch.context() as patch:
        patch.setattr(FrameBuilder, "cut", cut_in_bytes)
        dcpx.save(saved, tmp_path / "c", pack=dcpx.Pack("raw"), sync=False)
    loaded = {name: torch.zeros_like(tensor) for name, tensor in saved.items()}
    tracemalloc.start()
    try:
        dcpx.load(dict(loaded), tmp_path / "c", threads=2, budget=1 * MIB)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())
    print(f"{most / MIB:.1f} MiB")
    assert most < 10 * MIB, "some 45 MiB if all chunks are held at once"
