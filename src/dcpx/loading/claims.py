"""Claims: which memory a load writes to.

Two names of one tensor, as tied weights have them, are loaded into the same memory. Claims keep two jobs from writing
there at once, and find what must be written again because it was written there in the wrong order.
"""

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

    It is `contested` if other requests or places overlap it. It is `disordered` if they aren't written in the order in
    which stock DCP writes them, so that the wrong one may have come last.
    """

    __slots__ = ("contested", "disordered", "extent", "last", "requests", "storage", "under_way")

    def __init__(self, extent: Extent, storage: int) -> None:
        self.extent = extent
        self.storage = storage  # the storage when it was first claimed; once that is freed, another may lie there
        self.requests: list[tuple[RequestedItem, int]] = []  # the item, and the request's number among the item's
        self.last = (-1, -1)  # the position of the last request in stock DCP's order
        self.under_way = 0  # requests that are being written
        self.contested = False
        self.disordered = False


class _Claim(NamedTuple):
    """The first request for some memory. Most memory is asked for only once, and then this is all that is
    kept of it, because a `_Place` takes more."""

    extent: Extent
    storage: int
    item: RequestedItem
    number: int


class Conflict(NamedTuple):
    """What the memory of an item's targets overlaps.

    With `others` it overlaps memory that other items are being written to: it must wait for them. With `itself` two
    targets of this item overlap each other: no two of its jobs may run at once.
    """

    others: bool
    itself: bool


_NONE = Conflict(False, False)


class Claims:
    """The memory of all targets of one load.

    Where requests share memory, stock DCP writes them one after another, in the order of its plan, file by file, and
    what it writes last is what is loaded. Here it must be the same: an item waits for those that are being written and
    overlap it, and requests that were written in another order, because that is how they are stored, are written again.

    It is used by one thread, and must be closed at the end.
    """

    def __init__(self, items: Iterable[RequestedItem]) -> None:
        self._first: dict[str, int] = {}  # by file, the place in the plan of its first request
        for item in items:
            path, number = item.info.relative_path, item.numbers[0]
            self._first[path] = min(number, self._first.get(path, number))
        # Disjoint regions of memory, by ascending address. Each holds one claim, or several places that overlap.
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._regions: list[_Claim | list[_Place]] = []
        self._storages: list[int] = []
        self._under_way: dict[int, list[_Place]] = {}  # by the item's id; without memory that only one claim is for

    def claim(self, item: RequestedItem, targets: Sequence[Target]) -> Conflict:
        """Note that an item is about to be written to its targets' memory, and say what must wait for what."""
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
        """Add a claim to memory that others have claimed before; returns `conflict` with what it adds to that."""
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
                # An item is written chunk by chunk, not request by request: only the same part leaves the same there.
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
        """Make one region of all that the extent overlaps, and return its places, without those whose memory was freed
        since."""
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
        """Note that the item is written, and that the planner has taken it."""
        for place in self._under_way.pop(id(item), ()):
            place.under_way -= 1

    def contested(self, failed: Container[str]) -> list[RequestedItem]:
        """The requests that must be written again, one after another, in stock DCP's order.

        Each is an item of its own. Items whose names are in `failed` are left out; what they may have left in memory
        that they share is written again by the others.
        """
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
        """Forget all claims."""
        forget_storages(self._storages)
        self._begins, self._ends, self._regions, self._storages = [], [], [], []

    def _order(self, item: RequestedItem, number: int) -> tuple[int, int]:
        """The position of one of the item's requests in stock DCP's order: its file's, then its own in the plan."""
        return self._first[item.info.relative_path], item.numbers[number]
