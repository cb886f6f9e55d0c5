"""What the steps of a training are compared by: the norm of each, and the share of elements that each one changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from ...catalog.limits import Limits
from ...errors import DcpxError, UnsupportedError
from ...progress import OnProgress
from ...store.address import StorageOptions
from ..diff import diff
from ..stats import TensorStatistics, stats
from .exponents import FLOATS
from .problems import distinct
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
        """The steps, with their norms, with what changed since the one before, and with what couldn't be read."""
        found = [self._measured(step) for step in steps]
        for number in range(1, len(found)):
            found[number - 1 : number + 1] = self._compared(*found[number - 1 : number + 1])
        return found

    def _measured(self, step: Step) -> Step:
        """With the norm of all finite floats; None where a tensor can't be read."""
        told = stats(step.path, **self._options)
        floats = [one for one in told.tensors if one.dtype in FLOATS]
        errors = [one.error for one in told.tensors if one.error is not None and _is_problem(one)]
        norm = math.hypot(*(one.norm or 0.0 for one in floats)) if all(one.error is None for one in floats) else None
        return replace(step, norm=norm, problems=distinct((*step.problems, *errors)))

    def _compared(self, before: Step, after: Step) -> tuple[Step, Step]:
        """With the share of elements that changed, of tensors that both have in one shape; None where one can't be
        read, or there are none. An object that can't be compared is a problem of that one which the error names."""
        told = diff(before.path, after.path, **self._options)
        total = changed = 0
        for item in told.items:
            if item.elements is not None:
                total += item.elements.count
                changed += item.elements.changed
            elif item.change == "same":
                total += math.prod(item.shapes[1] or ()) if item.dtypes[1] is not None else 0
        ofs: tuple[list[DcpxError], list[DcpxError]] = [], []
        for error in told.errors:
            ofs[not _is_of(before, error)].append(error)
        is_known = total and not any(item.change == "unreadable" and item.dtypes[1] is not None for item in told.items)
        share = changed / total if is_known else None
        return (
            replace(before, problems=distinct((*before.problems, *ofs[0]))),
            replace(after, problems=distinct((*after.problems, *ofs[1])), changed=share),
        )


def _is_problem(one: TensorStatistics) -> bool:
    """Not of a tensor that has no numbers to measure."""
    return one.dtype in FLOATS or not isinstance(one.error, UnsupportedError)


def _is_of(step: Step, error: DcpxError) -> bool:
    file = error.where.file
    return file is not None and file.startswith(step.shown.rstrip("/") + "/")
