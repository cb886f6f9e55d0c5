"""Copies: tensors whose content an earlier one of the same save has, as tied weights have, are stored only once.

Only a tensor of the dtype and shape of an earlier one, and equal to it where a sample looks, may be a copy. It waits
until all else is written, without being held. Then the hashes of its chunks are held against those of what was stored,
as either tensor may have changed since; and its bytes against the earlier one's, which is asked for once more, as an
enemy can make two tensors of one XXH3-64.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from torch.distributed.checkpoint.planner import WriteItem

from ..dcp.staging import BLOCK, blocks, in_one_piece
from ..frame.layout import content_hash
from .results import StoredItemResult

__all__ = ["Copies", "Stored", "Suspect"]

_LOOKS, _LOOK_BYTES = 4, 64
"""At how many places of what may be a tensor's first block a sample looks, and at how many bytes there."""


@dataclass(slots=True)
class Stored:
    """What is known of a tensor that is being stored: the XXH3-64 of each of its chunks so far, and in the end its
    result."""

    item: WriteItem
    contents: array[int] = field(default_factory=lambda: array("Q"))
    result: StoredItemResult | None = None


class Suspect(NamedTuple):
    """An item whose tensor, of this version, is like an earlier one."""

    item: WriteItem
    version: int | None
    stored: Stored


class Copies:
    """The tensors of one save so far, by what they are like. For one thread."""

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._known: dict[Hashable, Stored] = {}
        self.suspects: list[Suspect] = []

    def take(self, item: WriteItem, version: int | None, form: Hashable, data: memoryview) -> Stored | None:
        """Where to put down what is stored of the tensor, whose first bytes are `data`; None if it is like an earlier
        one of the same `form`, and is put off."""
        known = self._known.setdefault((form, _sample(data)), stored := Stored(item))
        if known is stored:
            return stored
        self.suspects.append(Suspect(item, version, known))
        return None

    def find(
        self, tensor: torch.Tensor, stored: Stored, resolve: Callable[[WriteItem], torch.Tensor | None]
    ) -> StoredItemResult | None:
        """The result of the tensor that is stored already, if this one has its content. `resolve` gives a tensor
        again."""
        if stored.result is None or not self._has(tensor, stored.contents):
            return None
        # Last, as a planner may give it in the very memory of the other.
        original = resolve(stored.item)
        return stored.result if original is not None and self._equal(tensor, original) else None

    def _has(self, tensor: torch.Tensor, contents: array[int]) -> bool:
        """Whether the tensor's chunks have these hashes."""
        chunks = _chunks(tensor, self._chunk_size)
        pairs = zip_longest(chunks, contents)
        return all(chunk is not None and content_hash(chunk) == content for chunk, content in pairs)

    def _equal(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether they have the same bytes."""
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return False
        if in_one_piece(one) and in_one_piece(other) and one.data_ptr() == other.data_ptr():
            return True
        pairs = zip_longest(_chunks(one, self._chunk_size), _chunks(other, self._chunk_size), fillvalue=memoryview(b""))
        return all(np.array_equal(np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)) for a, b in pairs)


def _chunks(tensor: torch.Tensor, size: int) -> Iterator[memoryview]:
    """The tensor's bytes, cut as those of its frame."""
    for block in blocks(tensor):
        block.wait()
        for start in range(0, len(block.data), size):
            yield block.data[start : start + size]


def _sample(data: memoryview) -> int:
    """The hash of a few bytes, the same ones however a tensor comes in blocks."""
    step = max(min(len(data), BLOCK) - _LOOK_BYTES, 1) // (_LOOKS - 1)
    return content_hash(memoryview(b"".join([data[look * step :][:_LOOK_BYTES] for look in range(_LOOKS)])))
