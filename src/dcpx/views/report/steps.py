"""Several checkpoints of one training in the order of their steps."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace

__all__ = ["Step", "in_order"]


@dataclass(frozen=True)
class Step:
    """The checkpoint at `path`, `shown` as may be, among others. `norm` is that of all its floating point elements,
    `changed` the share of elements that differ from the step before; None where nobody looked, or nobody can say."""

    path: str | os.PathLike[str]
    shown: str
    nbytes: int
    stored: int
    step: float | None
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
    return sorted(numbered, key=lambda one: one.step or 0)
