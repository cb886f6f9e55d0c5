"""`stats`: what the elements of each tensor are like, the first question when a loss explodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..catalog.limits import Limits
from ..errors import CorruptError, DcpxError, UnsupportedError, Where
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..progress import Meter, OnProgress, telling
from ..store.address import StorageOptions
from .elements import Elements, Piece, StoredTensor, in_jobs
from .moments import Moments, moments_of
from .numbers import is_numeric
from .opened import check_current, open_checkpoint
from .selection import matching
from .tables import Table, shape_text

__all__ = ["Statistics", "TensorStatistics", "readable", "stats"]

SCHEMA = "dcpx.stats/1"
"""The version of what `Statistics.to_json` returns: a new member doesn't change it, a changed or lost one does."""

_COPIES = 3
"""Times its elements that a piece takes while it is read and worked on."""


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """What the `count` elements of one tensor are like. `own_rank` is the rank whose own checkpoint it is in, where
    each has one.

    `minimum`, `maximum`, `mean` and `norm`, the root of the sum of squares, are those of the finite elements alone, and
    None where there are none; the norm also where it is beyond float64. Minimum and maximum of integers are integers,
    exactly; a bool is 0 or 1, and of a complex element its magnitude is taken. `zeros`, `nans` and `infinities` are
    counts; a complex element is a NaN or an infinity if either part is, and may be both.

    `error` says why a tensor couldn't be read; then nothing else is known, and all of the above are None.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    own_rank: int | None
    count: int
    minimum: int | float | None = None
    maximum: int | float | None = None
    mean: float | None = None
    norm: float | None = None
    zeros: int | None = None
    nans: int | None = None
    infinities: int | None = None
    error: DcpxError | None = None

    @property
    def is_finite(self) -> bool:
        """Whether no element that was read is a NaN or an infinity."""
        return not (self.nans or self.infinities)


@dataclass(frozen=True)
class Statistics:
    """What the elements of a checkpoint's tensors are like, in the order in which the checkpoint has them."""

    path: str
    tensors: list[TensorStatistics]

    @property
    def first_not_finite(self) -> TensorStatistics | None:
        """The first tensor with a NaN or an infinity."""
        return next((one for one in self.tensors if not one.is_finite), None)

    @property
    def errors(self) -> list[DcpxError]:
        """Why tensors couldn't be read."""
        return [one.error for one in self.tensors if one.error is not None]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: the schema's version, and the attributes by their names; an error is a text."""
        return {"schema": SCHEMA, "path": self.path, "tensors": [_tensor_to_json(one) for one in self.tensors]}

    def table(self) -> Table:
        """A row for each tensor, which a notebook shows."""
        columns = ("tensor", "dtype", "shape", "min", "max", "mean", "norm", "zeros", "nan", "inf", "error")
        return Table(
            columns,
            [
                (
                    one.name,
                    one.dtype,
                    shape_text(one.shape),
                    one.minimum,
                    one.maximum,
                    one.mean,
                    one.norm,
                    one.zeros,
                    one.nans,
                    one.infinities,
                    None if one.error is None else one.error.cause,
                )
                for one in self.tensors
            ],
        )

    def _repr_html_(self) -> str:
        return self.table().to_html()


def stats(
    path: str | os.PathLike[str],
    pattern: str = "*",
    *,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    progress: bool | OnProgress = False,
    storage_options: StorageOptions | None = None,
) -> Statistics:
    """Minimum, maximum, mean, norm, zeros, NaNs and infinities of each tensor of the checkpoint at `path` whose name
    matches the glob `pattern`, in which * stands for any characters.

    Needs no torch and runs nothing. What is read is verified; a tensor that is damaged, that isn't wholly stored, that
    is more than its elements, as a quantized one is, or whose dtype is no number has an `error` in its row. A part of a
    tensor that dcpx packed is read in pieces of a few MiB, any other as a whole. Sums are those of float64, and of
    dtypes of 8 bytes those of a long double.

    `threads` work on about `budget` bytes at once, as `Reader` explains them. `progress` is True for a bar in the
    terminal (needs rich), or a function that is called with a `Progress`, which counts tensors and their bytes.

    Raises LoadError if no name matches, which tells the nearest, ReplacedError if another save has replaced the
    checkpoint meanwhile, what `inspect` raises of a checkpoint that can't be opened, and ValueError for wrong
    arguments.
    """
    check_crew(threads, budget)
    opened = open_checkpoint(path, limits=limits, storage_options=storage_options)
    elements = Elements(opened, limits=limits)
    tensors = elements.tensors()
    names = matching((tensor.name for tensor in tensors), pattern, opened.path)
    tensors = [tensor for tensor in tensors if tensor.name in names]
    with telling(progress, f"measuring {opened.path}") as tell, Crew(threads, budget) as crew:
        found = Statistics(opened.path, _measured(elements, tensors, crew, tell))
    if found.errors:
        check_current(opened)
    return found


def readable(tensor: StoredTensor) -> DcpxError | None:
    """Why the elements of a tensor can't be worked on, as far as that is known before they are read."""
    where = Where(item=tensor.name)
    if not is_numeric(tensor.dtype):
        return UnsupportedError(f"elements of torch.{tensor.dtype} are no numbers", where, "Load the tensor with torch")
    if not tensor.is_whole:
        return CorruptError("some of the tensor's elements aren't stored", where)
    return None


class _Work(NamedTuple):
    """A piece of the tensor of this number, and whether it is the last one."""

    number: int
    piece: Piece
    last: bool


def _measured(
    elements: Elements, tensors: list[StoredTensor], crew: Crew, progress: OnProgress | None
) -> list[TensorStatistics]:
    errors = {number: error for number, tensor in enumerate(tensors) if (error := readable(tensor)) is not None}
    moments = [Moments() for _ in tensors]
    work = [
        [_Work(number, piece, False) for piece in elements.pieces(tensor)] if number not in errors else []
        for number, tensor in enumerate(tensors)
    ]
    meter = Meter(progress, sum(one.piece.nbytes for pieces in work for one in pieces), len(tensors))
    meter.add(0, sum(not pieces for pieces in work))

    def pieces() -> Iterator[_Work]:
        for one in work:
            yield from one[:-1]
            yield from (last._replace(last=True) for last in one[-1:])

    def measure(job: list[_Work]) -> list[tuple[_Work, Moments | DcpxError]]:
        return [(one, _moments(elements, tensors[one.number], one.piece)) for one in job]

    jobs = in_jobs(pieces(), lambda one: one.piece.nbytes)
    with closing(crew.map(measure, jobs, lambda job: _COPIES * sum(one.piece.nbytes for one in job))) as results:
        for job in results:
            for one, found in job:
                if isinstance(found, DcpxError):
                    errors.setdefault(one.number, found)
                else:
                    moments[one.number].add(found)
            meter.add(sum(one.piece.nbytes for one, _ in job), sum(one.last for one, _ in job))
    return [_row(tensor, moments[number], errors.get(number)) for number, tensor in enumerate(tensors)]


def _moments(elements: Elements, tensor: StoredTensor, piece: Piece) -> Moments | DcpxError:
    try:
        return moments_of(tensor.dtype, elements.read(piece))
    except DcpxError as error:
        return error.located(item=piece.part.name)


def _row(tensor: StoredTensor, found: Moments, error: DcpxError | None) -> TensorStatistics:
    what = tensor.name, tensor.dtype, tensor.shape, tensor.rank, tensor.numel
    if error is not None:
        return TensorStatistics(*what, error=error)
    extremes = found.minimum, found.maximum
    return TensorStatistics(*what, *extremes, found.mean, found.norm, found.zeros, found.nans, found.infinities)


def _tensor_to_json(one: TensorStatistics) -> dict[str, Any]:
    return {
        "name": one.name,
        "dtype": one.dtype,
        "shape": one.shape,
        "own_rank": one.own_rank,
        "count": one.count,
        "minimum": one.minimum,
        "maximum": one.maximum,
        "mean": one.mean,
        "norm": one.norm,
        "zeros": one.zeros,
        "nans": one.nans,
        "infinities": one.infinities,
        "error": None if one.error is None else str(one.error),
    }
