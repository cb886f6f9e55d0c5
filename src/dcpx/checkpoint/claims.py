"""Claims: which memory a load writes, so that no two jobs write the same at once, and what is left there at the end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from ._torch import forget_storages, is_gone, weak_storage
from .extents import Extent
from .items import StoredItem
from .targets import Target

__all__ = ["Claims", "Conflict"]


class _Place:
    """One piece of memory, and the requests that are written to it.

    `contested` if others overlap it, and `disordered` if one was written there that comes before what it overwrote.
    """

    __slots__ = ("contested", "disordered", "extent", "last", "requests", "storage", "under_way")

    def __init__(self, extent: Extent, storage: int) -> None:
        self.extent = extent
        self.storage = storage  # which it was when first claimed: another one may lie there later
        self.requests: list[tuple[StoredItem, int]] = []  # the number is that of the request among the item's
        self.last = (-1, -1)  # the latest of them, in stock DCP's order
        self.under_way = 0
        self.contested = False
        self.disordered = False


class _Region(NamedTuple):
    """Places each of which begins before another one ends."""

    begin: int
    end: int
    places: list[_Place]


class Conflict(NamedTuple):
    """What an item overlaps: `others` that are under way, so that it must wait for them; `itself`, so that no two of
    its jobs may run at once."""

    others: bool
    itself: bool


class Claims:
    """The memory of all targets of one load.

    Names of one tensor, as tied weights have them, go to one memory. Stock DCP writes there one after another, in the
    order of its plan, file by file, and the last one is what is loaded. So it is here: items under way exclude those
    that overlap them, and what wasn't written in that order, because it isn't stored in it, is written again.

    Used by one thread. `close` at the end.
    """

    def __init__(self, items: Iterable[StoredItem]) -> None:
        self._first: dict[str, int] = {}  # the number of a file's first request
        for item in items:
            path, number = item.info.relative_path, item.numbers[0]
            self._first[path] = min(number, self._first.get(path, number))
        self._begins: list[int] = []
        self._regions: list[_Region] = []  # ascending, and none overlaps another
        self._storages: list[int] = []
        self._under_way: dict[int, list[_Place]] = {}  # by the item's id

    def claim(self, item: StoredItem, targets: Sequence[Target]) -> Conflict:
        """Note that an item is about to be written, and say what must wait for what."""
        others = itself = False
        places = self._under_way[id(item)] = []
        for number, target in enumerate(targets):
            for part, extent in target.memory_parts:
                place, found = self._place(extent, part)
                order = self._order(item, number)
                for other in found:
                    other.contested = place.contested = True
                    disordered = other.last > order
                    if other.under_way and other.requests[-1][0] is item:
                        itself = True
                        # Chunks of one item have an order of their own.
                        same = other is place and targets[other.requests[-1][1]].box == target.box
                        disordered = disordered or not same
                    else:
                        others = others or other.under_way > 0
                    place.disordered = place.disordered or disordered
                place.requests.append((item, number))
                place.last = max(place.last, order)
                place.under_way += 1
                places.append(place)
        return Conflict(others, itself)

    def release(self, item: StoredItem) -> None:
        """The item is written, and whoever it was written for has taken it."""
        for place in self._under_way.pop(id(item), ()):
            place.under_way -= 1

    def contested(self, failed: Container[str]) -> list[StoredItem]:
        """What must be written again, one after another: each request as an item of its own, without the `failed`."""
        found: dict[int, StoredItem] = {}
        for region in self._regions:
            places = [place for place in region.places if place.contested]
            requests = [request for place in places for request in place.requests]
            if any(place.disordered for place in places) or any(item.name in failed for item, _ in requests):
                for item, number in requests:
                    if item.name not in failed:
                        one = replace(item, requests=[item.requests[number]], numbers=[item.numbers[number]])
                        found[item.numbers[number]] = one
        return sorted(found.values(), key=lambda item: self._order(item, 0))

    def close(self) -> None:
        """Forget everything."""
        forget_storages(self._storages)
        self._begins, self._regions, self._storages = [], [], []

    def _order(self, item: StoredItem, number: int) -> tuple[int, int]:
        """Where stock DCP has a request of the item, which reads file by file."""
        return self._first[item.info.relative_path], item.numbers[number]

    def _place(self, extent: Extent, tensor: torch.Tensor) -> tuple[_Place, list[_Place]]:
        """The place of this extent, and all that overlap it, which may be the same."""
        begin, end = extent.begin, extent.end
        begins, regions = self._begins, self._regions
        low = bisect_right(begins, begin)
        if low and regions[low - 1].end > begin:
            low -= 1
        high = low
        while high < len(begins) and begins[high] < end:
            high += 1
        storage = weak_storage(tensor)
        self._storages.append(storage)
        place = _Place(extent, storage)
        if low == high:
            begins.insert(low, begin)
            regions.insert(low, _Region(begin, end, [place]))
            return place, []
        region = _merged(regions[low:high], begin, end)
        begins[low:high], regions[low:high] = [region.begin], [region]
        found = [other for other in region.places if other.extent.meets(extent)]
        place = next((other for other in found if other.extent == extent), place)
        if place not in found:
            region.places.append(place)
        return place, found


def _merged(regions: list[_Region], begin: int, end: int) -> _Region:
    """One region of all these, without what doesn't exist any more, and of what lies from `begin` to `end`."""
    places = [place for region in regions for place in region.places]
    places = [place for place in places if place.under_way or not is_gone(place.storage)]
    return _Region(
        min(begin, *(region.begin for region in regions)), max(end, *(region.end for region in regions)), places
    )
