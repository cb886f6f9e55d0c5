"""How a checkpoint's floats use their exponents, and how small that lets them become."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ...errors import DcpxError
from ...parallel import Crew
from ...progress import Meter, OnProgress
from ..elements import Elements, Piece, StoredTensor, in_jobs

__all__ = ["FLOATS", "Exponents", "Read", "read_exponents"]


class _Format(NamedTuple):
    exponent_bits: int
    mantissa_bits: int
    bias: int


FLOATS = {
    "bfloat16": _Format(8, 7, 127),
    "float16": _Format(5, 10, 15),
    "float32": _Format(8, 23, 127),
    "float64": _Format(11, 52, 1023),
    "float8_e4m3fn": _Format(4, 3, 7),
    "float8_e4m3fnuz": _Format(4, 3, 8),
    "float8_e5m2": _Format(5, 2, 15),
    "float8_e5m2fnuz": _Format(5, 2, 16),
}
"""Those dtypes that have a sign, an exponent and a mantissa."""

Counts: TypeAlias = npt.NDArray[np.int64]

_COPIES = 4
"""Times its elements that a piece takes while it is read and counted: as stored, unfolded, and as indices."""


@dataclass
class Exponents:
    """Of the elements of one dtype that were read: how many have each exponent, as it is stored.

    `bits` is the sum over the elements of the entropy of their tensor's exponents.
    """

    dtype: str
    counts: Counts
    elements: int = 0
    bits: float = 0.0

    @property
    def floor(self) -> float:
        """The smallest size, as a share of the raw one, in which signs and mantissas stay as they are and exponents
        take their entropy in their tensor."""
        form = FLOATS[self.dtype]
        kept = 1 + form.mantissa_bits
        return (kept + self.bits / self.elements) / (kept + form.exponent_bits)


@dataclass
class Read:
    """What was read of a checkpoint: `share` of its floats' bytes. `problems` are the tensors that couldn't be."""

    exponents: list[Exponents] = field(default_factory=list)
    share: float = 1.0
    problems: list[DcpxError] = field(default_factory=list)


def read_exponents(elements: Elements, crew: Crew, sample: int | None, on_progress: OnProgress | None = None) -> Read:
    """Read the floats of a checkpoint, about `sample` bytes of them where there are more: the same ones each time,
    spread over all of it."""
    tensors = [tensor for tensor in elements.tensors() if tensor.dtype in FLOATS]
    work = [_Work(tensor, piece) for tensor in tensors for piece in elements.pieces(tensor)]
    total = sum(one.piece.nbytes for one in work)
    if sample is not None and total > sample:
        work = list(_spread(work, sample / total))
    taken = sum(one.piece.nbytes for one in work)
    read = Read(share=taken / total if total else 1.0)
    meter = Meter(on_progress, taken, len(work))

    def count(job: list[_Work]) -> list[tuple[_Work, Counts | DcpxError]]:
        found = [(one, _counts(elements, one)) for one in job]
        meter.add(sum(one.piece.nbytes for one in job), len(job))
        return found

    jobs = in_jobs(work, lambda one: one.piece.nbytes)
    with closing(crew.map(count, jobs, lambda job: _COPIES * sum(one.piece.nbytes for one in job))) as results:
        _gather(read, (one for job in results for one in job))
    return read


class _Work(NamedTuple):
    tensor: StoredTensor
    piece: Piece


def _spread(work: Iterable[_Work], share: float) -> Iterator[_Work]:
    """Pieces that make up about `share` of all: each one as soon as half of it is due."""
    due = 0.0
    for one in work:
        due += share * one.piece.nbytes
        if due >= one.piece.nbytes / 2:
            due -= one.piece.nbytes
            yield one


def _counts(elements: Elements, work: _Work) -> Counts | DcpxError:
    form = FLOATS[work.tensor.dtype]
    try:
        held = elements.read(work.piece)
    except DcpxError as error:
        return error.located(item=work.piece.part.name)
    bits = held.view(f"u{held.itemsize}")
    exponents = (bits >> form.mantissa_bits).astype(np.uint16) & np.uint16((1 << form.exponent_bits) - 1)
    return np.bincount(exponents, minlength=1 << form.exponent_bits)


def _gather(read: Read, results: Iterable[tuple[_Work, Counts | DcpxError]]) -> None:
    """Add up the pieces of each tensor, which follow one another, and the tensors of each dtype."""
    found: dict[str, Exponents] = {}
    current: StoredTensor | None = None
    counts: Counts | None = None

    def fold() -> None:
        if current is None or counts is None:
            return
        size = 1 << FLOATS[current.dtype].exponent_bits
        of = found.setdefault(current.dtype, Exponents(current.dtype, np.zeros(size, np.int64)))
        of.counts += counts
        of.elements += int(counts.sum())
        of.bits += _entropy(counts)

    told = False
    for work, result in results:
        if work.tensor is not current:
            fold()
            current, counts = work.tensor, None
            told = False
        if isinstance(result, DcpxError):
            if not told:  # one word on each tensor is enough
                read.problems.append(result)
            told = True
        else:
            counts = result if counts is None else counts + result
    fold()
    read.exponents = sorted((one for one in found.values() if one.elements), key=lambda one: -one.elements)


def _entropy(counts: Counts) -> float:
    """Bits that the exponents of these counts take, all together, where each takes its information."""
    used = counts[counts > 0].astype(np.float64)
    total = float(used.sum())
    return total * math.log2(total) - float(np.sum(used * np.log2(used))) if total else 0.0
