"""Several checkpoints of one training in the order of their steps."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from itertools import pairwise

from ...errors import DcpxError, Where
from .problems import distinct

__all__ = ["Step", "in_order"]


@dataclass(frozen=True)
class Step:
    """The checkpoint at `path`, `shown` as may be, among others, with the names of its items. `norm` is that of all its
    floating point elements, `changed` the share of elements that differ from the step before; None where nobody looked,
    or nobody can say. `problems` are what couldn't be read of it, and what doesn't fit the step before."""

    path: str | os.PathLike[str]
    shown: str
    nbytes: int
    stored: int
    step: float | None
    names: frozenset[str] = frozenset()
    problems: tuple[DcpxError, ...] = ()
    norm: float | None = None
    changed: float | None = None


def in_order(given: list[Step]) -> list[Step]:
    """The steps in their order, each with a number: what all of them say themselves, or else the last number of each
    name, or else the order in which they were given."""
    numbered = given
    if any(one.step is None or not math.isfinite(one.step) for one in given):
        named = [re.findall(r"\d+", re.split(r"[/\\]", one.shown.rstrip("/\\"))[-1]) for one in given]
        numbers = [int(found[-1]) for found in named] if all(named) else range(1, len(given) + 1)
        numbered = [replace(one, step=number) for one, number in zip(given, numbers, strict=True)]
    found = sorted(numbered, key=lambda one: one.step or 0)
    return [*found[:1], *(_beside(*pair) for pair in pairwise(found))]


def _beside(before: Step, after: Step) -> Step:
    """The latter, with a word where both have items and no name in common, so that there is nothing to compare."""
    if not before.names or not after.names or before.names & after.names:
        return after
    unlike = DcpxError(f"it is of another model than {before.shown}: they have no names in common", Where(after.shown))
    return replace(after, problems=distinct((*after.problems, unlike)))
