"""Boxes, the rectangular parts of an array. Any range of its elements in C order is made of a few of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Box", "boxes", "intersect", "span"]


class Box(NamedTuple):
    """A rectangular part of an array: where it begins and how far it reaches in each dimension, in elements."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def slices(self, origin: Sequence[int] | None = None) -> tuple[slice, ...]:
        """Indices of the box in an array whose first element lies at `origin`."""
        origin = (0,) * len(self.offsets) if origin is None else origin
        return tuple(
            slice(offset - start, offset - start + size)
            for offset, size, start in zip(self.offsets, self.sizes, origin, strict=True)
        )


def boxes(shape: Sequence[int], begin: int, end: int) -> Iterator[Box]:
    """The boxes that the elements from `begin` to before `end`, counted in C order of `shape`, consist of.

    There are at most 2 * dimensions - 1 of them, and they come in C order: one after another they are the range.
    """
    if begin >= end:
        return
    if not shape:
        yield Box((), ())
        return
    row = math.prod(shape[1:])
    first, skipped = divmod(begin, row)
    last, rest = divmod(end, row)
    if first == last:
        yield from _within(first, shape, skipped, rest)
        return
    if skipped:
        yield from _within(first, shape, skipped, row)
        first += 1
    if first < last:
        yield Box((first, *(0 for _ in shape[1:])), (last - first, *shape[1:]))
    if rest:
        yield from _within(last, shape, 0, rest)


def _within(row: int, shape: Sequence[int], begin: int, end: int) -> Iterator[Box]:
    for box in boxes(shape[1:], begin, end):
        yield Box((row, *box.offsets), (1, *box.sizes))


def intersect(left: Box, right: Box) -> Box | None:
    """The box of the elements that both boxes hold; None if there are none."""
    offsets, sizes = [], []
    for a, n, b, m in zip(left.offsets, left.sizes, right.offsets, right.sizes, strict=True):
        start = max(a, b)
        size = min(a + n, b + m) - start
        if size <= 0:
            return None
        offsets.append(start)
        sizes.append(size)
    return Box(tuple(offsets), tuple(sizes))


def span(shape: Sequence[int], box: Box) -> tuple[int, int, int]:
    """The range of elements, counted in C order of `shape`, that contains the box: its first element, the one behind
    its last, and how far apart two neighbours of the box are at most. That is 1 where the range holds no others.

    The box must not be empty, and must lie within the shape.
    """
    begin, end, step, apart = 0, 1, 1, 1
    for size, offset, length in zip(reversed(shape), reversed(box.offsets), reversed(box.sizes), strict=True):
        if length > 1:  # from the last of a row to the first of the next one
            apart = max(apart, step - (end - begin) + 1)
        begin += offset * step
        end += (offset + length - 1) * step
        step *= size
    return begin, end, apart
