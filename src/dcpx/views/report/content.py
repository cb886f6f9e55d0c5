"""What the page is told, as plain values for JSON: every text is made visible, columns stand in the place of rows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from ... import __version__
from ...errors import DcpxError
from ..shown import named, visible
from ..summary import Item, Summary
from ..tables import shape_text
from .exponents import FLOATS, Exponents, Read
from .steps import Step

__all__ = ["SCHEMA", "content"]

SCHEMA = "dcpx.report/1"

_PROBLEMS = 100
"""Problems that are shown; `verify` lists all."""

_USER = 200
"""Values of the users' dictionary that are shown."""


def content(
    summary: Summary, read: Read | None, steps: Sequence[Step] = (), problems: Sequence[DcpxError] = ()
) -> dict[str, Any]:
    """What is known of the checkpoint that is looked at, and of the steps, if there are several. `problems` are those
    of the checkpoint; each step has its own."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "checkpoint": {
            "path": visible(summary.path),
            "kind": summary.kind,
            "uuid": _text(summary.uuid),
            "created": _text(summary.created),
            "dcpx": _text(summary.dcpx),
            "torch": _text(summary.torch),
            "world_size": summary.world_size,
            "files": len(summary.files),
            "user": [
                [visible(str(name)), visible(json.dumps(value, ensure_ascii=False, default=str))]
                for name, value in list(summary.user.items())[:_USER]
            ],
            **_problems(problems),
        },
        "items": _columns(summary.items),
        "exponents": None if read is None else _exponents(summary, read),
        "steps": [_step(step) for step in steps],
    }


class _Names:
    """Numbers values in the order in which they are first seen."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))

    @property
    def shown(self) -> list[str]:
        return [visible(text) for text in self.numbers]


def _columns(items: list[Item]) -> dict[str, Any]:
    """The columns of the table; a dtype, shape, coding or file is the number of its text in a list of its own. `files`
    has one number for an item in one file, else a list."""
    dtypes, shapes, codings, files = _Names(), _Names(), _Names(), _Names()
    held: list[int | list[int]] = []
    for item in items:
        numbers = sorted({files(part.file) for part in item.parts})
        held.append(numbers[0] if len(numbers) == 1 else numbers)
    columns = {
        "name": [
            visible(named(item.name) if item.own_rank is None else f"{named(item.name)} (rank {item.own_rank})")
            for item in items
        ],
        "dtype": [dtypes(item.dtype or "object") for item in items],
        "shape": [shapes(shape_text(item.shape)) for item in items],
        "numel": [item.numel for item in items],
        "raw": [item.nbytes for item in items],
        "stored": [item.stored for item in items],
        "coding": [codings(item.coding) for item in items],
        "files": held,
    }
    lists = {"dtypes": dtypes, "shapes": shapes, "codings": codings, "file_names": files}
    return columns | {name: names.shown for name, names in lists.items()}


def _exponents(summary: Summary, read: Read) -> dict[str, Any]:
    return {"share": read.share, "dtypes": [_histogram(summary, one) for one in read.exponents]}


def _histogram(summary: Summary, one: Exponents) -> dict[str, Any]:
    """`counts` begins at the stored exponent `first`. `raw` and `ratio` are those of all tensors of this dtype."""
    form = FLOATS[one.dtype]
    used = one.counts.nonzero()[0]
    first, last = int(used[0]), int(used[-1])
    raw = sum(item.nbytes for item in summary.items if item.dtype == one.dtype)
    stored = sum(item.stored for item in summary.items if item.dtype == one.dtype)
    return {
        "dtype": one.dtype,
        "bias": form.bias,
        "exponent_bits": form.exponent_bits,
        "mantissa_bits": form.mantissa_bits,
        "first": first,
        "counts": one.counts[first : last + 1].tolist(),
        "elements": one.elements,
        "entropy": one.bits / one.elements,
        "raw": raw,
        "ratio": stored / raw if raw else 1.0,
        "floor": one.floor,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "step": step.step,
        "path": visible(step.shown),
        "raw": step.nbytes,
        "stored": step.stored,
        "norm": _finite(step.norm),
        "changed": _finite(step.changed),
        **_problems(step.problems),
    }


def _problems(problems: Sequence[DcpxError]) -> dict[str, Any]:
    shown = [visible(str(problem)) for problem in problems[:_PROBLEMS]]
    return {"problems": shown, "problem_count": len(problems)}


def _text(value: str | None) -> str | None:
    return None if value is None else visible(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
