"""A tensor of every kind that DCP stores, by its description."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from tests.support.tensors import random_tensor

__all__ = ["KINDS", "Marked"]

WIDE = random_tensor(torch.float32, (4, 6))


class Marked(torch.Tensor):
    """A user's class of tensors."""


def parameter_with_attributes() -> torch.Tensor:
    parameter: Any = torch.nn.Parameter(WIDE.clone())
    parameter.sharded = {"axis": 1}
    return parameter


def tensor_with_attributes() -> torch.Tensor:
    tensor: Any = WIDE.clone()
    tensor.sharded = (True, [1.5, None, "x"])
    return tensor


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    KINDS: dict[str, torch.Tensor] = {
        **{
            str(dtype): random_tensor(dtype, (3, 5))
            for dtype in dict.fromkeys(found for found in vars(torch).values() if isinstance(found, torch.dtype))
            if str(dtype).startswith(("torch.float", "torch.bfloat", "torch.complex", "torch.bool"))
            or str(dtype).removeprefix("torch.u").removeprefix("torch.") in ("int8", "int16", "int32", "int64")
        },
        "a scalar": torch.tensor(2.5),
        "a scalar of another dtype": torch.tensor(1.0).to(torch.float8_e4m3fn),
        "empty": torch.empty(0),
        "empty of several dimensions": torch.empty(3, 0, 5, dtype=torch.int32),
        "an empty part": torch.empty(0, 5)[:, 2:],
        "transposed": WIDE.t(),
        "a part": WIDE[1:3, 2:],
        "channels last": random_tensor(torch.float32, (2, 3, 4, 4)).to(memory_format=torch.channels_last),
        "a conjugate": torch.complex(WIDE, WIDE).conj(),
        "a negative": torch.complex(WIDE, WIDE).conj().imag,
        "quantized": torch.quantize_per_tensor(torch.ones(4, 6), 0.1, 3, torch.qint8),
        "quantized to 32 bits": torch.quantize_per_tensor(torch.ones(4, 6), 0.1, 3, torch.qint32),
        "quantized by channel": torch.quantize_per_channel(
            torch.ones(4, 6), torch.rand(4) + 1, torch.zeros(4, dtype=torch.long), 0, torch.quint8
        ),
        "with gradients": WIDE.clone().requires_grad_(),
        "a parameter": torch.nn.Parameter(WIDE),
        "a parameter with attributes": parameter_with_attributes(),
        "a tensor with attributes": tensor_with_attributes(),
        "of a user's class": WIDE.as_subclass(Marked),
    }
