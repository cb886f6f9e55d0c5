"""Claims: which memory a load writes, so that no two jobs write the same at once, and what is left there at the end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..dcp.private import forget_storages, is_gone, weak_storage
from .extents import Extent
from .requests import RequestedItem
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
        self.requests: list[tuple[RequestedItem, int]] = []  # the number is that of the request among the item's
        self.last = (-1, -1)  # the latest of them, in stock DCP's order
        self.under_way = 0
        self.contested = False
        self.disordered = False


class _Claim(NamedTuple):
    """The first request for some memory; most stay the only one."""

    extent: Extent
    storage: int
    item: RequestedItem
    number: int


class Conflict(NamedTuple):
    """What an item overlaps: `others` that are under way, so that it must wait for them; `itself`, so that no two of
    its jobs may run at once."""

    others: bool
    itself: bool


_NONE = Conflict(False, False)


class Claims:
    """The memory of all targets of one load.

    Names of one tensor, as tied weights have them, go to one memory. Stock DCP writes there one after another, in the
    order of its plan, file by file, and the last one is what is loaded. So it is here: items under way exclude those
    that overlap them, and what wasn't written in that order, because it isn't stored in it, is written again.

    Used by one thread. `close` at the end.
    """

    def __init__(self, items: Iterable[RequestedItem]) -> None:
        self._first: dict[str, int] = {}  # the number of a file's first request
        for item in items:
            path, number = item.info.relative_path, item.numbers[0]
            self._first[path] = min(number, self._first.get(path, number))
        # Disjoint regions of memory, ascending: in each one claim, or places each of which begins before another ends.
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._regions: list[_Claim | list[_Place]] = []
        self._storages: list[int] = []
        self._under_way: dict[int, list[_Place]] = {}  # by the item's id; places that have one claim are left out

    def claim(self, item: RequestedItem, targets: Sequence[Target]) -> Conflict:
        """Note that an item is about to be written, and say what must wait for what."""
        conflict = _NONE
        begins, ends = self._begins, self._ends
        self._under_way[id(item)] = []
        for number, target in enumerate(targets):
            for storage, extent in target.memory_parts:
                claim = _Claim(extent, weak_storage(storage), item, number)
                self._storages.append(claim.storage)
                begin, end = extent.begin, extent.end
                at = bisect_right(begins, begin)
                if (at and ends[at - 1] > begin) or (at < len(begins) and begins[at] < end):
                    conflict = self._join(claim, targets, conflict)
                else:
                    begins.insert(at, begin)
                    ends.insert(at, end)
                    self._regions.insert(at, claim)
        return conflict

    def _join(self, claim: _Claim, targets: Sequence[Target], conflict: Conflict) -> Conflict:
        """Add a claim to memory whose regions hold others already; the conflict that is known, and what comes of it."""
        extent, storage, item, number = claim
        places = self._merged(extent)
        found = [other for other in places if other.extent.meets(extent)]
        place = next((other for other in found if other.extent == extent), None)
        if place is None:
            place = _Place(extent, storage)
            places.append(place)
        others, itself = conflict
        order = self._order(item, number)
        for other in found:
            other.contested = place.contested = True
            disordered = other.last > order
            if other.under_way and other.requests[-1][0] is item:
                itself = True
                # Chunks of one item have an order of their own.
                same = other is place and targets[other.requests[-1][1]].box == targets[number].box
                disordered = disordered or not same
            else:
                others = others or other.under_way > 0
            place.disordered = place.disordered or disordered
        self._add(place, item, number)
        return Conflict(others, itself)

    def _add(self, place: _Place, item: RequestedItem, number: int) -> None:
        place.requests.append((item, number))
        place.last = max(place.last, self._order(item, number))
        under_way = self._under_way.get(id(item))
        if under_way is not None:
            under_way.append(place)
            place.under_way += 1

    def _merged(self, extent: Extent) -> list[_Place]:
        """One region of those that the extent overlaps, without what doesn't exist any more; its places."""
        begin, end = extent.begin, extent.end
        low = bisect_right(self._ends, begin)
        high = bisect_left(self._begins, end)
        places: list[_Place] = []
        for region in self._regions[low:high]:
            if isinstance(region, _Claim):
                place = _Place(region.extent, region.storage)
                self._add(place, region.item, region.number)
                places.append(place)
            else:
                places += region
        places = [place for place in places if place.under_way or not is_gone(place.storage)]
        begin, end = min(begin, *self._begins[low:high]), max(end, *self._ends[low:high])
        self._begins[low:high], self._ends[low:high], self._regions[low:high] = [begin], [end], [places]
        return places

    def release(self, item: RequestedItem) -> None:
        """The item is written, and whoever it was written for has taken it."""
        for place in self._under_way.pop(id(item), ()):
            place.under_way -= 1

    def contested(self, failed: Container[str]) -> list[RequestedItem]:
        """What must be written again, one after another: each request as an item of its own, without the `failed`."""
        found: dict[int, RequestedItem] = {}
        for region in self._regions:
            if isinstance(region, _Claim):
                continue
            places = [place for place in region if place.contested]
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
        self._begins, self._ends, self._regions, self._storages = [], [], [], []

    def _order(self, item: RequestedItem, number: int) -> tuple[int, int]:
        """Where stock DCP has a request of the item, which reads file by file."""
        return self._first[item.info.relative_path], item.numbers[number]
