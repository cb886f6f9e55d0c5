"""What couldn't be read of the checkpoints of a report."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import DcpxError

__all__ = ["distinct"]


def distinct(problems: Iterable[DcpxError]) -> tuple[DcpxError, ...]:
    """The first problem of each item, and all others: one word on each is enough."""
    found: dict[tuple[str | None, str | None], DcpxError] = {}
    for one in problems:
        found.setdefault((one.where.item, None if one.where.item is not None else str(one)), one)
    return tuple(found.values())
