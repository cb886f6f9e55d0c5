"""`estimate`: what each way to store a checkpoint's tensors would give, measured on this very checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..catalog.limits import Limits
from ..errors import DcpxError
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..progress import OnProgress, telling
from ..store.address import StorageOptions
from .elements import Elements
from .opened import check_current, open_checkpoint
from .sampling import LEVELS, Sampled, sample_tensors
from .selection import matching
from .tables import Table

__all__ = ["DtypeEstimate", "Estimate", "Level", "LevelEstimate", "estimate"]

SCHEMA = "dcpx.estimate/1"
"""The version of what `Estimate.to_json` returns: a new member doesn't change it, a changed or lost one does."""

Level: TypeAlias = Literal["fast", "small", "plain"]


@dataclass(frozen=True, slots=True)
class LevelEstimate:
    """What tensors of `nbytes` bytes of elements would take at a level: "fast" and "small" are those of `Pack`, "plain"
    is `pack=None`.

    `stored` are bytes in files. `encode_seconds` and `decode_seconds` are what the processor would need to code and
    check them, or to decode and check them, with as many threads as were measured. A save and a load take that and what
    they do besides: they plan, write or read files, and wait for a storage that is slower.
    """

    level: Level
    nbytes: int
    stored: int
    encode_seconds: float
    decode_seconds: float

    @property
    def ratio(self) -> float | None:
        """`stored` as a share of `nbytes`; None without elements."""
        return self.stored / self.nbytes if self.nbytes else None

    @property
    def encode_rate(self) -> float | None:
        """Bytes of elements that are coded in a second; None where none were."""
        return self.nbytes / self.encode_seconds if self.encode_seconds else None

    @property
    def decode_rate(self) -> float | None:
        """Bytes of elements that are decoded in a second; None where none were."""
        return self.nbytes / self.decode_seconds if self.decode_seconds else None


@dataclass(frozen=True, slots=True)
class DtypeEstimate:
    """All tensors of one dtype: `nbytes` bytes of elements, of which `sampled` were read, and `stored` bytes in files
    as they are now."""

    dtype: str
    tensors: int
    nbytes: int
    stored: int
    sampled: int
    levels: tuple[LevelEstimate, ...]


@dataclass(frozen=True)
class Estimate:
    """What each level would give. `objects` are the bytes that are stored of objects, which no figure includes;
    `threads` is how many did the work, and `errors` say which samples couldn't be read.

    Tensors that can't be estimated, because their dtype has no code in a frame, no sample of it could be read, or they
    aren't wholly stored, are in `left_out`, by bytes of elements, and in no other figure.
    """

    path: str
    dtypes: list[DtypeEstimate]
    objects: int
    threads: int
    left_out: int
    errors: list[DcpxError]

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return sum(one.nbytes for one in self.dtypes)

    @property
    def stored(self) -> int:
        """Bytes in files as they are now."""
        return sum(one.stored for one in self.dtypes)

    @property
    def sampled(self) -> float:
        """The share of the elements that was read, from 0 to 1."""
        return sum(one.sampled for one in self.dtypes) / self.nbytes if self.nbytes else 1.0

    @property
    def levels(self) -> tuple[LevelEstimate, ...]:
        """Each level of all dtypes together."""
        return tuple(_sum(level, [one.levels[number] for one in self.dtypes]) for number, level in enumerate(LEVELS))

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: the schema's version, and the attributes by their names; an error is a text."""
        return {
            "schema": SCHEMA,
            "path": self.path,
            "nbytes": self.nbytes,
            "stored": self.stored,
            "sampled": self.sampled,
            "threads": self.threads,
            "objects": self.objects,
            "left_out": self.left_out,
            "levels": [_level_to_json(one) for one in self.levels],
            "dtypes": [
                {
                    "dtype": one.dtype,
                    "tensors": one.tensors,
                    "nbytes": one.nbytes,
                    "stored": one.stored,
                    "sampled": one.sampled,
                    "levels": [_level_to_json(level) for level in one.levels],
                }
                for one in self.dtypes
            ],
            "errors": [str(error) for error in self.errors],
        }

    def table(self) -> Table:
        """A row for each level of all dtypes, and of each, and what was left out; which a notebook shows. What is coded
        or decoded in a second is in bytes."""
        columns = ("dtype", "level", "bytes", "stored", "ratio", "encode s", "decode s", "encoded", "decoded")
        rows: list[tuple[str | int | float | None, ...]] = []
        for dtype, nbytes, stored, levels in (
            ("all", self.nbytes, self.stored, self.levels),
            *((one.dtype, one.nbytes, one.stored, one.levels) for one in self.dtypes),
        ):
            rows.append((dtype, "now", nbytes, stored, stored / nbytes if nbytes else None, None, None, None, None))
            for one in levels:
                times = one.encode_seconds, one.decode_seconds, one.encode_rate, one.decode_rate
                rows.append((dtype, one.level, one.nbytes, one.stored, one.ratio, *times))
        if self.left_out:
            rows.append(("left out", None, self.left_out, *(None,) * (len(columns) - 3)))
        return Table(columns, rows, frozenset(("bytes", "stored")), frozenset(columns[-2:]))

    def _repr_html_(self) -> str:
        return self.table().to_html()


def estimate(
    path: str | os.PathLike[str],
    pattern: str = "*",
    *,
    sample: int = 128 << 20,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    progress: bool | OnProgress = False,
    storage_options: StorageOptions | None = None,
) -> Estimate:
    """What the tensors of the checkpoint at `path` whose names match the glob `pattern` would take at each level, as
    `dcpx.save` would store them: bytes in files, and seconds of this machine's processors to code and decode them.

    Samples of about `sample` bytes of elements are read, spread evenly over each dtype's, and coded and decoded at each
    level by dcpx's own codecs; all of them if there are no more. The same checkpoint gives the same samples, and the
    same bytes. Needs no torch and runs nothing. A sample that can't be read is one of the `errors`, and others stand
    for it; so is a tensor whose file is gone. Objects aren't estimated.

    `threads` work on about `budget` bytes at once, as `Reader` explains them. `progress` is True for a bar in the
    terminal (needs rich), or a function that is called with a `Progress`, which counts samples and their bytes.

    Raises LoadError if no name matches, which tells the nearest, ReplacedError if another save has replaced the
    checkpoint meanwhile, what `inspect` raises of a checkpoint that can't be opened, and ValueError for wrong
    arguments.
    """
    check_crew(threads, budget)
    if not isinstance(sample, int) or sample < 1:
        raise ValueError(f"sample must be a number of bytes, at least 1, not {sample!r}")
    opened = open_checkpoint(path, limits=limits, storage_options=storage_options)
    elements = Elements(opened, limits=limits)
    items = [item for pointer in opened.pointers for item in pointer.items]
    names = matching((item.index.fqn for item in items), pattern, opened.path)
    tensors = [tensor for tensor in elements.tensors() if tensor.name in names]
    with telling(progress, f"estimating {opened.path}") as tell, Crew(threads, budget) as crew:
        found, left_out, errors = sample_tensors(elements, tensors, sample, crew, tell)
        workers = max(crew.threads, 1)
    if errors:
        check_current(opened)
    return Estimate(
        opened.path,
        [_dtype(one, workers) for one in found],
        sum(item.info.length for item in items if item.shape is None and item.index.fqn in names),
        workers,
        left_out,
        errors,
    )


def _dtype(found: Sampled, threads: int) -> DtypeEstimate:
    levels = tuple(
        LevelEstimate(
            level,
            found.nbytes,
            found.fixed[level] + round(found.coded[level]),
            found.encoding[level] / threads,
            found.decoding[level] / threads,
        )
        for level in LEVELS
    )
    return DtypeEstimate(found.dtype, found.tensors, found.nbytes, found.stored, found.sampled, levels)


def _sum(level: Level, parts: Iterable[LevelEstimate]) -> LevelEstimate:
    found = list(parts)
    return LevelEstimate(
        level,
        sum(one.nbytes for one in found),
        sum(one.stored for one in found),
        sum(one.encode_seconds for one in found),
        sum(one.decode_seconds for one in found),
    )


def _level_to_json(one: LevelEstimate) -> dict[str, Any]:
    return {
        "level": one.level,
        "nbytes": one.nbytes,
        "stored": one.stored,
        "ratio": one.ratio,
        "encode_seconds": one.encode_seconds,
        "decode_seconds": one.decode_seconds,
        "encode_rate": one.encode_rate,
        "decode_rate": one.decode_rate,
    }
