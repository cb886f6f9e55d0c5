"""What the steps of a training are compared by: the norm of each, and the share of elements that each one changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from ...catalog.limits import Limits
from ...progress import OnProgress
from ...store.address import StorageOptions
from ..stats import stats
from .exponents import FLOATS
from .steps import Step

__all__ = ["Measure"]


@dataclass(frozen=True)
class Measure:
    """Reads all of each checkpoint, with the arguments of `report`."""

    threads: int | None
    budget: int
    limits: Limits
    progress: bool | OnProgress
    storage_options: StorageOptions | None

    def compared(self, steps: list[Step]) -> list[Step]:
        """The steps, with their norms and with what changed since the one before."""
        changed = [None, *(self._changed(before, after) for before, after in pairwise(steps))]
        return [replace(step, norm=self._norm(step), changed=share) for step, share in zip(steps, changed, strict=True)]

    def _norm(self, step: Step) -> float | None:
        """The norm of all finite floats; None where a tensor can't be read."""
        found = stats(
            step.path,
            threads=self.threads,
            budget=self.budget,
            limits=self.limits,
            progress=self.progress,
            storage_options=self.storage_options,
        )
        floats = [one for one in found.tensors if one.dtype in FLOATS]
        if any(one.error is not None for one in floats):
            return None
        return math.hypot(*(one.norm or 0.0 for one in floats))

    def _changed(self, before: Step, after: Step) -> float | None:
        return None
