"""Whether stored shards of one tensor overlap, found without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Protocol

from ..errors import LimitError
from .geometry import Box, intersect

__all__ = ["overlap"]


class Part(Protocol):
    """A shard: where it begins in each dimension, and how far it reaches."""

    @property
    def offsets(self) -> Sequence[int]: ...

    @property
    def sizes(self) -> Sequence[int]: ...


_ROUNDS = 32
"""How often each shard may be looked at, on average. In a grid that is once for each dimension, and once more for each
that is cut."""

_MOST_COMPARED = 1 << 20
"""Pairs of shards that may be compared, where no cut lies between them."""


def overlap(chunks: Sequence[Part]) -> bool:
    """Whether any two shards share elements; equal ones count as one shard. All have the same number of dimensions.

    LimitError if they lie so irregularly that it would take too long to find out.
    """
    if len(chunks) < 2 or _in_rows(chunks):
        return False
    boxes = {Box(tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in chunks if 0 not in chunk.sizes}
    pending = [list(boxes)]
    looks, pairs = _ROUNDS * len(boxes), _MOST_COMPARED
    while pending:
        group = pending.pop()
        if len(group) < 2:
            continue
        # All that lies between two cuts across the whole group can overlap only itself.
        for dimension in range(len(group[0].sizes)):
            looks -= len(group)
            parts = list(_cut(group, dimension))
            if len(parts) > 1:
                pending += parts
                break
        else:
            pairs -= len(group) * (len(group) - 1) // 2
            if pairs >= 0 and any(intersect(one, other) is not None for one, other in combinations(group, 2)):
                return True
        if looks < 0 or pairs < 0:
            raise LimitError("a tensor's shards lie too irregularly to be held against each other")
    return False


def _in_rows(chunks: Sequence[Part]) -> bool:
    """Whether each shard lies behind the one before it in the first dimension, as most tensors are sharded."""
    end = 0
    for chunk in chunks:
        if not chunk.offsets or chunk.offsets[0] < end:
            return False
        end = chunk.offsets[0] + chunk.sizes[0]
    return True


def _cut(group: list[Box], dimension: int) -> Iterator[list[Box]]:
    """The group in parts that don't overlap each other in this dimension, as many as there are."""
    group.sort(key=lambda box: box.offsets[dimension])
    start = end = 0
    for number, box in enumerate(group):
        if number > start and box.offsets[dimension] >= end:
            yield group[start:number]
            start = number
        end = max(end, box.offsets[dimension] + box.sizes[dimension])
    yield group[start:]
