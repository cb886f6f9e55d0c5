"""What the golden checkpoints hold. It never changes: the archives are never made again."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["ROWS", "blank", "objects", "sharded", "tensors"]

ROWS = 7
"""An odd number: two ranks hold different numbers of rows."""


def _count(*shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).view(shape) / 8 - 3


def sharded() -> dict[str, torch.Tensor]:
    """Tensors that are cut between the ranks, along the dimension that their name says."""
    return {"dimension 0": _count(ROWS, 6).to(torch.bfloat16), "dimension 1": _count(5, ROWS)}


def tensors() -> dict[str, torch.Tensor]:
    """Tensors that one rank saves."""
    return {
        "model.weight": _count(40, 30),
        "transposed": _count(4, 6).t(),
        "sliced": _count(9, 9)[1:8:2, 3:],
        "half an element": _count(7)[:6].view(torch.complex64),
        "half": _count(100).to(torch.float16),
        "bytes": torch.arange(256).to(torch.uint8).view(torch.float8_e5m2),
        "integers": torch.arange(-5, 50),
        "mask": torch.arange(20) % 3 == 0,
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.empty(3, 0, 5, dtype=torch.int32),
    }


def objects() -> dict[str, Any]:
    """What isn't a tensor."""
    return {
        "step": 1234567890123456789,
        "name": "résumé \N{SNOWMAN}",
        "nested": {"flags": [True, None, -0.5], "pair": (1, b"\0\xff"), "empty": {}},
    }


def blank() -> dict[str, Any]:
    """A state to load into: the same names and shapes, other values."""
    blanks = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in (sharded() | tensors()).items()}
    return {**blanks, "step": 0, "name": "", "nested": {"flags": [False, 0, 0.0], "pair": (), "empty": {}}}
