"""Several checkpoints of one training in the order of their steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Step", "steps_of"]


@dataclass(frozen=True)
class Step:
    """A checkpoint among others. `norm` is that of all its floating point tensors, `changed` the share of elements that
    differ from the step before; None where nobody looked, or there is none before."""

    step: float
    path: str
    nbytes: int
    stored: int
    norm: float | None = None
    changed: float | None = None


def steps_of(checkpoints: Sequence[tuple[str, Mapping[str, Any]]]) -> list[float]:
    """The step of each checkpoint, of which the path and the user's dictionary are given: what the dictionaries say under
    "step", or else the last number of each name, or else their order."""
    said = [user.get("step") for _, user in checkpoints]
    if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in said):
        return [float(one) for one in said if one is not None]
    named = [re.findall(r"\d+", re.split(r"[/\\]", path.rstrip("/\\"))[-1]) for path, _ in checkpoints]
    if all(named):
        return [float(numbers[-1]) for numbers in named]
    return [float(number) for number in range(1, len(checkpoints) + 1)]
