"""Many saves and loads with everything drawn at random, compared bit for bit.

25 rounds by default; `make soak` sets DCPX_STRESS=1000.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader

import dcpx
from tests.support.leaks import nothing_left
from tests.support.planners import Part, read_parts
from tests.support.tensors import DTYPES, LAYOUTS, bits, blank, random_tensor, weights

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")

ROUNDS = int(os.environ.get("DCPX_STRESS", "25"))


def drawn_tensor(chance: random.Random) -> torch.Tensor:
    dimensions = chance.choice([0, 1, 1, 2, 2, 2, 3, 4])
    most = 2 ** chance.randrange(1, 22)
    longest = (0, 40, 40, 24, 10)[dimensions]
    shape = [chance.randint(0 if chance.random() < 0.05 else 1, longest) for _ in range(dimensions)]
    if shape and chance.random() < 0.5:
        rest = 1
        for size in shape[1:]:
            rest *= max(size, 1)
        shape[0] = max(most // rest, 1)
    dtype = DTYPES[chance.choice(sorted(DTYPES))]
    kind = chance.random()
    if kind < 0.4 and dtype.is_floating_point:
        tensor = weights(dtype, shape, chance.randrange(1 << 30))
    elif kind < 0.5:
        tensor = torch.zeros(shape, dtype=dtype)
    else:
        tensor = random_tensor(dtype, shape, chance.randrange(1 << 30))
    return laid_out(chance, tensor)


def laid_out(chance: random.Random, tensor: torch.Tensor) -> torch.Tensor:
    """The same elements elsewhere, in some order."""
    return LAYOUTS[chance.choice(sorted(LAYOUTS))](tensor) if tensor.numel() and tensor.dim() else tensor


def drawn_part(chance: random.Random, name: str, tensor: torch.Tensor) -> tuple[Part, torch.Tensor]:
    """A request for a rectangular part, and what it must give."""
    part, offsets = tensor, []
    for dimension, size in enumerate(tensor.shape):
        length = size if chance.random() < 0.4 else chance.randint(min(1, size), size)
        offset = chance.randint(0, size - length)
        offsets.append(offset)
        part = part.narrow(dimension, offset, length)
    return Part(name, tuple(offsets), laid_out(chance, blank(part))), part


def round_trip(chance: random.Random, path: Path) -> None:
    state = {str(number): drawn_tensor(chance) for number in range(chance.randint(1, 12))}
    pack: dcpx.StreamTransformExtension | None = dcpx.Pack(
        chance.choice(["auto", "auto", "auto", "planes", "zstd", "raw"]),
        level=chance.choice(["fast", "fast", "small"]),
        chunk_size=4096 * 2 ** chance.randrange(10),
    )
    if chance.random() < 0.1:
        pack = chance.choice([None, dcpx.ZStandard(), dcpx.Chain(dcpx.Pack(), dcpx.ZStandard())])
    threads, budget = chance.randint(0, 6), 2 ** chance.randrange(10, 29)
    dcpx.save(state, path, pack=pack, threads=threads, budget=budget, sync=chance.random() < 0.1)
    threads, budget = chance.randint(0, 6), 2 ** chance.randrange(10, 29)
    loaded = {name: blank(tensor) for name, tensor in state.items()}
    dcpx.load(loaded, path, threads=threads, budget=budget)
    for name, tensor in state.items():
        assert bits(loaded[name]) == bits(tensor), name
    if chance.random() < 0.1:
        registry: Any = dcpx.default_registry()
        stock = {name: blank(tensor) for name, tensor in state.items()}
        dcp.load(stock, storage_reader=FileSystemReader(path, _extension_registry=registry))
        assert all(bits(stock[name]) == bits(tensor) for name, tensor in state.items())
    parts = [drawn_part(chance, name, tensor) for name, tensor in state.items() for _ in range(chance.randint(0, 4))]
    read_parts(path, [part for part, _ in parts], threads=threads, budget=budget)
    for part, expected in parts:
        assert part.target is not None
        assert bits(part.target) == bits(expected), (part.name, part.offsets)


def test_everything_at_random(tmp_path: Path):
    for number in range(ROUNDS):
        path = tmp_path / str(number)
        try:
            with nothing_left():
                round_trip(random.Random(number), path)
        except BaseException as error:
            error.args = (f"round {number}", *error.args)
            raise
        shutil.rmtree(path)
