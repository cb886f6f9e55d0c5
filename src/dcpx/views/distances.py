"""Distances: what is told of two tensors' elements beside each other, found block by block and added up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .moments import BLOCK, real_or_complex, square_root, wide_of
from .numbers import Array, is_numeric

__all__ = ["Distance", "distance_of"]

_ZERO: Any = np.longdouble(0)

_LEAST_SQUARE = 1e-30
"""The mean of squares from which on those that float32 has lost, of less than 1e-38, are nothing beside it."""


@dataclass
class Distance:
    """Of some elements of two tensors, a and b. `nans` and `infinities` are the counts of both.

    `changed` are those whose bits differ, or of different dtypes the numbers; the difference of any other is 0. That of
    a changed one counts if both are finite: `apart` are those that aren't. `maximum`, `total` and `squares` are of
    absolute differences, `own_squares` of the finite elements of a.
    """

    compared: int = 0
    changed: int = 0
    apart: int = 0
    maximum: float = 0.0
    total: Any = _ZERO
    squares: Any = _ZERO
    own_squares: Any = _ZERO
    nans: list[int] = field(default_factory=lambda: [0, 0])
    infinities: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, other: Distance) -> None:
        """Make this the distance of the other's elements, too."""
        self.compared += other.compared
        self.changed += other.changed
        self.apart += other.apart
        self.maximum = max(self.maximum, other.maximum)
        self.total += other.total
        self.squares += other.squares
        self.own_squares += other.own_squares
        self.nans = [mine + more for mine, more in zip(self.nans, other.nans, strict=True)]
        self.infinities = [mine + more for mine, more in zip(self.infinities, other.infinities, strict=True)]

    @property
    def norm(self) -> float | None:
        """That of the differences; None if it is beyond float64."""
        return square_root(self.squares)

    @property
    def relative(self) -> float | None:
        """The norm as a share of a's; None if that is 0, or the share beyond float64."""
        return square_root(self.squares / self.own_squares) if self.own_squares else None


def distance_of(dtypes: tuple[str, str], a: Array, b: Array) -> Distance:
    """Of one-dimensional elements, as many of each, in the carriers of torch's `dtypes`. Of dtypes that are no numbers,
    which must be the same, only bits are compared."""
    found = Distance()
    with np.errstate(all="ignore"):
        for begin in range(0, a.size, BLOCK):
            found.add(_distance(dtypes, a[begin : begin + BLOCK], b[begin : begin + BLOCK]))
    return found


def _distance(dtypes: tuple[str, str], a: Array, b: Array) -> Distance:
    found = Distance(a.size)
    if dtypes[0] != dtypes[1]:
        x, y = (real_or_complex(dtype, held) for dtype, held in zip(dtypes, (a, b), strict=True))
        common = np.result_type(wide_of(x), wide_of(y))
        x, y = x.astype(common), y.astype(common)
        unequal = (x != y) & ~(np.isnan(x) & np.isnan(y))
        found.changed = int(np.count_nonzero(unequal))
        _measure(found, x, y, unequal)
        return found
    unequal = _unequal_bits(a, b)
    found.changed = int(np.count_nonzero(unequal))
    if is_numeric(dtypes[0]):
        x = real_or_complex(dtypes[0], a)
        y = real_or_complex(dtypes[1], b) if found.changed else x
        if not _measure_quickly(found, x, y):
            wide = wide_of(x)
            _measure(found, x.astype(wide), y.astype(wide), unequal)
    return found


def _unequal_bits(a: Array, b: Array) -> Array:
    width = min(a.itemsize, 8)
    bits = np.dtype(f"u{width}")
    unequal: Array = np.not_equal(a.view(bits), b.view(bits))
    return unequal if width == a.itemsize else np.logical_or(unequal[::2], unequal[1::2])


def _measure_quickly(found: Distance, x: Array, y: Array) -> bool:
    """Measure float32 numbers in their own precision, which is enough for the sums of a block unless a number isn't
    finite, or a square too large or small; whether that could be done."""
    if x.dtype != np.float32:
        return False
    own = _squares(x)
    if own is None:
        return False
    if found.changed:
        apart = x - y
        squares = _squares(apart)
        if squares is None:
            return False
        np.abs(apart, out=apart)
        found.maximum = float(apart.max())
        found.total += apart.sum()
        found.squares += squares
    found.own_squares += own
    return True


def _squares(numbers: Array) -> float | None:
    squares = float((numbers * numbers).sum())  # NumPy adds pairwise, which rounds hardly anything away
    return squares if numbers.size * _LEAST_SQUARE < squares < math.inf else None


def _measure(found: Distance, x: Array, y: Array, unequal: Array) -> None:
    """Measure wide numbers, any of which may not be finite."""
    finite = [np.isfinite(one) for one in (x, y)]
    for number, one in enumerate((x, y)):
        if not finite[number].all():
            found.nans[number] = int(np.count_nonzero(np.isnan(one)))
            found.infinities[number] = int(np.count_nonzero(np.isinf(one)))
    own = np.abs(x[finite[0]])
    found.own_squares += np.einsum("i,i->", own, own)
    where = unequal & finite[0] & finite[1]
    apart = np.abs(x[where] - y[where])
    found.apart = found.changed - apart.size
    if apart.size:
        found.maximum = float(apart.max())
        found.total += apart.sum()
        found.squares += np.einsum("i,i->", apart, apart)
