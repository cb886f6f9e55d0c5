"""What the steps of a training are compared by: the norm of each, and the share of elements that each one changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

from ...catalog.limits import Limits
from ...progress import OnProgress
from ...store.address import StorageOptions
from ..diff import diff
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

    @property
    def _options(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def compared(self, steps: list[Step]) -> list[Step]:
        """The steps, with their norms and with what changed since the one before."""
        if not steps:
            return []
        changed = [None, *(self._changed(before, after) for before, after in pairwise(steps))]
        return [replace(step, norm=self._norm(step), changed=share) for step, share in zip(steps, changed, strict=True)]

    def _norm(self, step: Step) -> float | None:
        """The norm of all finite floats; None where a tensor can't be read."""
        found = stats(step.path, **self._options)
        floats = [one for one in found.tensors if one.dtype in FLOATS]
        if any(one.error is not None for one in floats):
            return None
        return math.hypot(*(one.norm or 0.0 for one in floats))

    def _changed(self, before: Step, after: Step) -> float | None:
        """Of the elements of tensors that both have in one shape; None where one can't be read, or there are none."""
        found = diff(before.path, after.path, **self._options)
        total = changed = 0
        for item in found.items:
            if item.change == "unreadable":
                return None
            if item.elements is not None:
                total += item.elements.count
                changed += item.elements.changed
            elif item.change == "same":
                total += math.prod(item.shapes[1] or ()) if item.dtypes[1] is not None else 0
        return changed / total if total else None
