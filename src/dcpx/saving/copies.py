"""Copies: tensors whose content an earlier one of the same save has, as tied weights have, are stored only once.

Whether two are equal is decided by the hashes of their chunks: of the one what was encoded, of the other what is there
when all else is written. Only a tensor that may well be a copy waits for that: one of the dtype and shape of an earlier
one, and equal where a sample looks. No tensor is held meanwhile.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch.distributed.checkpoint.planner import WriteItem

from ..codecs import Encoder
from ..dcp.staging import blocks, bytes_of, in_one_piece
from ..frame.layout import content_hash
from .results import StoredItemResult

__all__ = ["Copies", "Stored"]

_LOOKS, _LOOK_BYTES = 4, 64
"""At how many places a sample looks, and at how many bytes there: every tensor of a save is sampled."""

Likeness: TypeAlias = "tuple[object, ...]"


@dataclass(slots=True)
class Stored:
    """What is known of a tensor that is being stored: how it is coded, the XXH3-64 of each of its chunks so far, and in
    the end its result."""

    encoder: Encoder | None = None
    contents: array[int] = field(default_factory=lambda: array("Q"))
    result: StoredItemResult | None = None


class Copies:
    """The tensors of one save so far, by what they are like. For one thread."""

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._known: dict[Likeness, Stored] = {}
        self.suspects: list[WriteItem] = []
        """Items whose tensors are like earlier ones."""

    def take(self, item: WriteItem, tensor: torch.Tensor, memory: memoryview | None) -> Stored | None:
        """Where to put down what is stored of the tensor; None if it is like an earlier one, and is put off. `memory`
        is the tensor's, if that is one piece of the host's."""
        known = self._known.setdefault(_likeness(tensor, memory), stored := Stored())
        if known is stored:
            return stored
        self.suspects.append(item)
        return None

    def find(self, tensor: torch.Tensor, encoder: Encoder) -> StoredItemResult | None:
        """The result of a tensor that is stored already with this content, and coded as this one would be."""
        stored = self._known.get(_likeness(tensor, bytes_of(tensor) if in_one_piece(tensor) else None))
        if stored is None or stored.result is None or stored.encoder is not encoder:
            return None
        number = 0
        for block in blocks(tensor):
            block.wait()
            for start in range(0, len(block.data), self._chunk_size):
                content = content_hash(block.data[start : start + self._chunk_size])
                if number == len(stored.contents) or content != stored.contents[number]:
                    return None
                number += 1
        return stored.result if number == len(stored.contents) else None


def _likeness(tensor: torch.Tensor, memory: memoryview | None) -> Likeness:
    """What equal tensors have in common. Of what isn't one piece of the host's memory only the place is looked at."""
    kind = (tensor.dtype, tensor.shape)
    if memory is None:
        return (*kind, tensor.device, tensor.stride(), tensor.data_ptr())
    step = max(len(memory) - _LOOK_BYTES, 0) // (_LOOKS - 1)
    looks = [memory[at : at + _LOOK_BYTES] for at in range(0, _LOOKS * step, step or 1)]
    return (*kind, content_hash(memoryview(b"".join(looks))))
