"""A tensor's elements as bytes in host memory: where they lie if they can be used there, else copied block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from ..catalog.geometry import boxes
from ..codecs.dtypes import ITEM_SIZES
from ..errors import SaveError
from .private import has_no_memory

__all__ = [
    "BLOCK",
    "DTYPES",
    "Block",
    "ahead",
    "blocks",
    "bytes_of",
    "check_memory",
    "compact",
    "host_buffer",
    "in_one_piece",
    "is_plain",
    "on_device",
]

BLOCK = 2 << 20
"""Bytes of a tensor that are copied at once: enough to fill the workers, little beside the budget."""

_MOST_DIMENSIONS = 64  # with which a container's pickle stays far below the smallest chunk


@dataclass(frozen=True)
class Block:
    """Adjacent elements of a tensor as bytes; `copied` where they are a copy, which may still be under way."""

    data: memoryview
    copied: bool = False
    _arrival: torch.Event | None = None

    def wait(self) -> None:
        """Return once the bytes are there."""
        if self._arrival is not None:
            self._arrival.synchronize()


DTYPES: dict[torch.dtype, str] = {getattr(torch, name): name for name in ITEM_SIZES if hasattr(torch, name)}
"""torch's dtypes that a frame has a code for, and their names."""


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether the tensor is nothing but elements of a known dtype, which `torch.save` would store as such."""
    return (
        type(tensor) is torch.Tensor
        and tensor.layout is torch.strided
        and tensor.dtype in DTYPES
        and tensor.dim() <= _MOST_DIMENSIONS
        and not tensor.is_conj()
        and not tensor.is_neg()
        and not tensor.is_meta
    )


def check_memory(tensor: torch.Tensor) -> None:
    """SaveError for a tensor whose elements aren't in memory: its owner has freed that, or it never had any."""
    if tensor.is_meta:
        raise SaveError("the tensor is on the device 'meta' and has no values", remedy=_MATERIALIZE)
    if tensor.layout is not torch.strided:
        return  # it has no memory of its own; those of its tensors are found where it is pickled
    if type(tensor) not in _ORDINARY and hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:  # the tensors that a wrapper consists of
            check_memory(getattr(tensor, name))
    if has_no_memory(tensor):
        raise SaveError(
            "the tensor has no memory of its own: it is one of torch.func's, or a zero of automatic differentiation",
            remedy=_CLONE,
        )
    storage = tensor.untyped_storage().nbytes()
    elements = tensor.numel()
    if elements and not tensor.is_contiguous():
        elements = sum(map(_reach, tensor.shape, tensor.stride())) + 1
    needed = (tensor.storage_offset() + elements) * tensor.itemsize if elements else 0
    if storage < needed:
        cause = f"the tensor's memory was freed or shrunk by its owner: {storage} bytes are left of {needed}"
        raise SaveError(cause, remedy=_GATHER)


_ORDINARY = {torch.Tensor, torch.nn.Parameter}


def _reach(size: int, step: int) -> int:
    return (size - 1) * step


_MATERIALIZE = "Give it values (`to_empty`, then initialise or load them), or leave it out"
_CLONE = "Save what the transformed function returns, or the zero's `clone()`"
_GATHER = (
    "Save it while it is in memory. FSDP frees parameters between uses: take the state from `get_state_dict` or, with "
    "FSDP1, from `state_dict` within `FSDP.state_dict_type`"
)


def compact(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the host, with no more storage than it shows: torch.save would store all of it."""
    tensor = tensor.cpu()
    if tensor.layout is torch.strided and tensor.untyped_storage().size() != tensor.nbytes:
        return tensor.clone()  # keeps the order in memory where it can
    return tensor


def on_device(tensor: torch.Tensor) -> bool:
    """Whether the host can't reach the tensor's memory."""
    return tensor.device.type != "cpu"


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor in host memory; writable, and it keeps the tensor's storage alive."""
    if tensor.numel() == 0:
        return memoryview(bytearray())
    # Not view(-1): a single element, which always counts as contiguous, keeps its odd stride then.
    return tensor.detach().as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy().data


def host_buffer(size: int, pinned: bool) -> torch.Tensor:
    """`size` bytes of host memory, dtype uint8; `pinned` so that a device copies from and to it at full speed."""
    pinned = pinned and torch.accelerator.is_available()
    return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=pinned)  # whatever the default device is


def _has_stream(tensor: torch.Tensor) -> bool:
    """Whether the tensor is on the accelerator, whose copies can run beside the host; those of other devices wait."""
    accelerator = torch.accelerator.current_accelerator()
    return accelerator is not None and accelerator.type == tensor.device.type


def in_one_piece(tensor: torch.Tensor) -> bool:
    """Whether its elements lie side by side in the host's memory, in C order."""
    return not on_device(tensor) and tensor.is_contiguous()


def blocks(tensor: torch.Tensor) -> Iterator[Block]:
    """All elements in C order. What is contiguous in host memory is one block, whatever its size, and no copy.

    Copies from a device run beside the host: `wait` before using a block's data.
    """
    if tensor.numel() == 0 or in_one_piece(tensor):
        yield Block(bytes_of(tensor))
        return
    beside = _has_stream(tensor)
    step = BLOCK // tensor.itemsize
    for begin in range(0, tensor.numel(), step):
        end = min(begin + step, tensor.numel())
        buffer = host_buffer((end - begin) * tensor.itemsize, pinned=beside)
        target = buffer.view(tensor.dtype)
        for box in boxes(tensor.shape, begin, end):
            part = tensor[box.slices()]
            target[: part.numel()].view(part.shape).copy_(part, non_blocking=beside)
            target = target[part.numel() :]
        yield Block(bytes_of(buffer), True, _arrival(tensor) if beside else None)


def _arrival(tensor: torch.Tensor) -> torch.Event:
    """An event that follows what was just put on the device's stream."""
    event = torch.Event(tensor.device)
    event.record(torch.accelerator.current_stream(tensor.device))
    return event


T = TypeVar("T")


def ahead(values: Iterable[T], count: int) -> Iterator[T]:
    """The same values, each taken from `values` when its `count`-th predecessor is: what that starts runs ahead."""
    waiting: deque[T] = deque()
    for value in values:
        waiting.append(value)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
