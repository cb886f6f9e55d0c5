"""What couldn't be read of the checkpoints of a report."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from ...errors import DcpxError
from ...store.contract import Store
from ...store.source import FileSource

__all__ = ["distinct", "lost_files"]


def distinct(problems: Iterable[DcpxError]) -> tuple[DcpxError, ...]:
    """The first problem of each item, and all others: one word on each is enough."""
    found: dict[tuple[str | None, str | None], DcpxError] = {}
    for one in problems:
        found.setdefault((one.where.item, None if one.where.item is not None else str(one)), one)
    return tuple(found.values())


def lost_files(store: Store, sizes: Iterable[tuple[str, int]]) -> list[DcpxError]:
    """Why files of these names and sizes aren't wholly there."""
    found = []
    for name, size in sizes:
        try:
            with closing(FileSource(store, name)) as source:
                source.read(max(size - 1, 0), min(size, 1))
        except DcpxError as error:
            found.append(error)
    return found
