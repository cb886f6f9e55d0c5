"""Tensors of every dtype and layout, and what it takes to compare them bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from dcpx.codecs.dtypes import CODES

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in CODES if hasattr(torch, name)}
"""The dtypes that a frame has a code for."""


def random_tensor(dtype: torch.dtype, shape: Sequence[int], seed: int = 0) -> torch.Tensor:
    """Contiguous, of random bits: every kind of NaN, infinity and subnormal among them."""
    generator = torch.Generator().manual_seed(seed)
    if dtype is torch.bool:
        return torch.randint(0, 2, tuple(shape), generator=generator).bool()
    size = math.prod(shape) * dtype.itemsize
    return torch.randint(0, 256, (size,), generator=generator, dtype=torch.uint8).view(dtype).view(tuple(shape))


def weights(dtype: torch.dtype, shape: Sequence[int], seed: int = 0) -> torch.Tensor:
    """Contiguous, and as easily coded as a model's weights."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(tuple(shape), generator=generator) * 0.02).to(dtype)


def bits(tensor: torch.Tensor) -> bytes:
    """The elements' bytes in C order."""
    whole = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    return whole.view(-1).view(torch.uint8).numpy().tobytes() if whole.numel() else b""


def blank(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous target for `tensor`, of other contents."""
    target = torch.empty(tensor.shape, dtype=tensor.dtype)
    target.untyped_storage().fill_(0x5A)
    return target


def freed(tensor: torch.Tensor, left: int = 0) -> torch.Tensor:
    """The tensor, whose memory is given up but for `left` bytes, as FSDP1 does with a parameter between its uses."""
    tensor.untyped_storage().resize_(left)
    return tensor


def _strided(tensor: torch.Tensor) -> torch.Tensor:
    room = tensor.new_empty([2 * size + 1 for size in tensor.shape])
    return room[tuple(slice(1, None, 2) for _ in tensor.shape)].copy_(tensor)


def _narrowed(tensor: torch.Tensor) -> torch.Tensor:
    room = tensor.new_empty([size + 3 for size in tensor.shape])
    return room[tuple(slice(1, 1 + size) for size in tensor.shape)].copy_(tensor)


def _transposed(tensor: torch.Tensor) -> torch.Tensor:
    order = tuple(reversed(range(tensor.dim())))
    return tensor.permute(order).contiguous().permute(order)


def _misaligned(tensor: torch.Tensor) -> torch.Tensor:
    """Contiguous, but its first element lies one element into the storage."""
    room = tensor.new_empty(tensor.numel() + 1)
    return room[1:].view(tensor.shape).copy_(tensor)


def _rows_of_more(tensor: torch.Tensor) -> torch.Tensor:
    """Rows are adjacent within, but not to each other."""
    room = tensor.new_empty((*tensor.shape[:-1], tensor.shape[-1] + 5))
    return room[..., : tensor.shape[-1]].copy_(tensor)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda tensor: tensor,
    "transposed": _transposed,
    "strided": _strided,
    "narrowed": _narrowed,
    "misaligned": _misaligned,
    "rows of more": _rows_of_more,
}
"""The same elements of a tensor of at least one dimension in other places; all can be written to."""
