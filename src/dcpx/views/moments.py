"""Moments: what is told of many numbers, found block by block and added up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .numbers import Array, numbers_of

__all__ = ["BLOCK", "Moments", "Number", "finite", "moments_of", "real_or_complex", "square_root", "wide_of"]

BLOCK = 1 << 17
"""Elements that are worked on at once: what is made of them stays in the processor's cache."""

Number: TypeAlias = "int | float"

_ZERO: Any = np.longdouble(0)


@dataclass
class Moments:
    """Of some numbers. All but the counts are of the finite ones alone; of complex numbers they are of the magnitudes.

    A complex number is a NaN, or an infinity, if either part of it is, and may count as both. Sums are kept as long
    doubles, which no sum of squares of float64 overflows.
    """

    count: int = 0
    finite: int = 0
    zeros: int = 0
    nans: int = 0
    infinities: int = 0
    minimum: Number | None = None
    maximum: Number | None = None
    total: Any = _ZERO
    squares: Any = _ZERO

    def add(self, other: Moments) -> None:
        """Make these the moments of the other's numbers, too."""
        self.count += other.count
        self.finite += other.finite
        self.zeros += other.zeros
        self.nans += other.nans
        self.infinities += other.infinities
        self.minimum = min((one for one in (self.minimum, other.minimum) if one is not None), default=None)
        self.maximum = max((one for one in (self.maximum, other.maximum) if one is not None), default=None)
        self.total += other.total
        self.squares += other.squares

    @property
    def mean(self) -> float | None:
        """None if no number is finite."""
        return float(self.total / self.finite) if self.finite else None

    @property
    def norm(self) -> float | None:
        """The root of the sum of squares; None if no number is finite, or if it is beyond float64."""
        return square_root(self.squares) if self.finite else None


def finite(value: Any) -> float | None:
    """A long double as a float; None if it is beyond float64."""
    with np.errstate(over="ignore"):
        found = float(value)
    return found if math.isfinite(found) else None


def square_root(squares: Any) -> float | None:
    """The root of a sum of squares; None if that is beyond float64."""
    return finite(np.sqrt(squares))


def moments_of(dtype: str, held: Array) -> Moments:
    """Of one-dimensional elements in the carrier of torch's `dtype`, which must be numeric."""
    found = Moments()
    with np.errstate(all="ignore"):
        for begin in range(0, held.size, BLOCK):
            found.add(_moments(real_or_complex(dtype, held[begin : begin + BLOCK])))
    return found


def real_or_complex(dtype: str, held: Array) -> Array:
    """As `numbers_of`, with bools as the integers 0 and 1."""
    numbers = numbers_of(dtype, held)
    return numbers.view(np.uint8) if numbers.dtype == np.bool_ else numbers


def wide_of(numbers: Array) -> np.dtype[Any]:
    """The dtype in which sums of such numbers are exact enough: each of them is exact in it, and no square of a float
    overflows."""
    wide = numbers.dtype.itemsize > (8 if numbers.dtype.kind == "c" else 4)
    if numbers.dtype.kind == "c":
        return np.dtype(np.clongdouble if wide else np.complex128)
    return np.dtype(np.longdouble if wide else np.float64)


def _moments(numbers: Array) -> Moments:
    found = Moments(numbers.size, numbers.size, int(np.count_nonzero(numbers == 0)))
    sizes = _sizes(numbers)
    found.squares += np.einsum("i,i->", sizes, sizes)
    if not np.isfinite(found.squares):  # which is looked at first because it tells of all numbers at once
        found.nans = int(np.count_nonzero(np.isnan(numbers)))
        found.infinities = int(np.count_nonzero(np.isinf(numbers)))
        numbers = numbers[np.isfinite(numbers)]
        sizes = _sizes(numbers)
        found.finite = numbers.size
        found.squares = np.longdouble(np.einsum("i,i->", sizes, sizes))
    if found.finite:
        found.total += sizes.sum()
        compared = sizes if numbers.dtype.kind == "c" else numbers
        convert = int if numbers.dtype.kind in "iu" else float
        found.minimum, found.maximum = convert(compared.min()), convert(compared.max())
    return found


def _sizes(numbers: Array) -> Array:
    """The numbers in their wide dtype; of complex ones the magnitudes."""
    wide: Array = numbers.astype(wide_of(numbers))
    return np.abs(wide) if wide.dtype.kind == "c" else wide
