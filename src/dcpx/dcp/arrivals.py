"""Which ranks have come to a save or a load, so that those that wait in vain can say for whom."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import torch.distributed as dist

from .private import default_store

__all__ = ["Arrival"]

_arrivals: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""How many arrivals this rank has told of, by group."""

_KEPT = 2
"""Arrivals that a rank's note tells of. One that has ended with the last one may be at the next already."""


class Arrival:
    """This rank's coming to what all ranks of a group do together, told in the store by which they have met.

    A group's rank waits for the others until the group's timeout, and then its backend's error is all that there is:
    it says neither which rank was missing nor whether that is at work elsewhere. A note costs one request to the store,
    and is looked for only once something has failed.
    """

    def __init__(self, process_group: dist.ProcessGroup | None) -> None:
        """Tell it. Raises nothing: where no note can be left, nobody will be named."""
        self._group: Any = process_group or dist.group.WORLD
        self._number = _arrivals.get(self._group, 0) + 1
        _arrivals[self._group] = self._number
        first = max(1, self._number - _KEPT + 1)
        with suppress(Exception):
            default_store().set(self._key(dist.get_rank()), " ".join(map(str, range(first, self._number + 1))))

    def absent(self) -> list[int]:
        """The ranks that haven't come, as far as the store can still tell; by their numbers among all ranks."""
        with suppress(Exception):
            ranks = [rank for rank in dist.get_process_group_ranks(self._group) if rank != dist.get_rank()]
            return [rank for rank, note in zip(ranks, self._notes(ranks), strict=True) if str(self._number) not in note]
        return []

    def _notes(self, ranks: list[int]) -> list[list[str]]:
        keys = [self._key(rank) for rank in ranks]
        store: Any = default_store()
        if store.has_extended_api() and store.check(keys):
            return [note.decode().split() for note in store.multi_get(keys)]  # one request, however many ranks
        return [store.get(key).decode().split() if store.check([key]) else [] for key in keys]

    def _key(self, rank: int) -> str:
        return f"dcpx/arrivals/{self._group.group_name}/{rank}"
