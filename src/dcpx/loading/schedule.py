"""Schedule: which jobs a load consists of, in the order in which its items are stored.

Small items are read with their neighbours. Of a large one that dcpx packed only the chunks are read that its targets
need. All else goes through its container as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile

import torch
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner

from ..catalog.frames import HEAD, checked_hint, frame_map, holds_own_container, needed_chunks, runs
from ..dcp.metadata import DCP
from ..errors import CorruptError, DcpxError
from ..frame.map import TAIL
from ..located import reading
from ..store.source import FileSource
from .claims import Claims
from .failures import Failures
from .jobs import Chunks, Container, Job, Neighbours, Wanted
from .open_files import OpenFiles
from .requests import RequestedItem
from .targets import Target

__all__ = ["Schedule"]

_SMALL = 1 << 20
"""Stored bytes up to which an item is read with its neighbours, whether or not all of it is needed."""

_MOST_DECODED = 8 << 20
"""Bytes that the items of one job may unfold into: how little is stored of zeros says nothing of that."""

_GAP = 64 << 10
"""Bytes between two items that are read and dropped, which costs less than a second read."""

_JOB_BYTES, _FAR_JOB_BYTES = 2 << 20, 8 << 20
"""Stored bytes of neighbours, or decoded bytes of chunks, that make up a job; and where each job is a request."""

_AHEAD = 256
"""Large items whose ends are read ahead, all at once, where each read is a request."""

_JOB_ITEMS = 128
"""Neighbours that make up a job, however small they are."""


class Schedule:
    """Makes the jobs of one load, in the caller's thread, and asks the planner for the targets as it goes.

    Jobs come in lists, one for each item or group of neighbours: an item is complete when all jobs of its list have
    ended. An item that can't be read goes to `failures`, or its error is raised.
    """

    def __init__(self, planner: LoadPlanner, files: OpenFiles, failures: Failures) -> None:
        self._job_bytes = _FAR_JOB_BYTES if files.far else _JOB_BYTES
        self._planner = planner
        self._files = files
        self._failures = failures
        self._devices_waited = False

    def together(self, items: Sequence[RequestedItem], claims: Claims) -> Iterator[list[Job]]:
        """The jobs for items in the order in which they are stored."""
        near: list[RequestedItem] = []
        unfolded = 0
        known = 0 if self._files.far else len(items)
        for number, item in enumerate(items):
            self._files.exchange.reach(item)
            small = _is_small(item)
            if near and not (small and _are_near(near, unfolded, item, self._job_bytes)):
                yield self._neighbours(near, claims)
                near, unfolded = [], 0
            if small:
                near.append(item)
                unfolded += item.nbytes
            else:
                if number >= known:
                    known = number + self._read_ends(items[number : number + _AHEAD])
                yield self._single(item, claims)
        if near:
            yield self._neighbours(near, claims)

    def one_by_one(self, items: Sequence[RequestedItem], claims: Claims) -> Iterator[list[Job]]:
        """The jobs for items each of which is to be written after the one before it, in whichever file it is."""
        for item in items:
            yield self._single(item, claims)

    def _neighbours(self, items: list[RequestedItem], claims: Claims) -> list[Job]:
        """The job for small items that lie near each other, or several where they share memory."""
        with self._failures.of(items):
            source = self._files.source(items[0].info.relative_path)
            groups: list[list[Wanted]] = [[]]
            for item in items:
                with self._failures.reading(source.name, item):
                    wanted = self._wanted(item)
                    if claims.claim(item, wanted.targets).others:
                        groups.append([])
                    groups[-1].append(wanted)
            return [_neighbours(source, group, alone=number > 0) for number, group in enumerate(groups) if group]
        return []

    def _read_ends(self, items: Sequence[RequestedItem]) -> int:
        """Read where the large ones of these items begin and end, which says how they are to be read, as far as they
        are in the first one's file; returns how many that were."""
        name = items[0].info.relative_path
        reached = self._files.exchange.is_reached
        same = list(takewhile(lambda item: item.info.relative_path == name and reached(item), items))
        ends: list[tuple[int, int]] = []
        for item in same:
            if item.is_packed and not _is_small(item):
                begin, size = item.info.offset, item.info.length
                ends += (begin, HEAD), (begin + size - TAIL, TAIL)
        with suppress(DcpxError):  # the file is opened again for the first item
            self._files.source(name).read_ahead(ends)
        return len(same)

    def _single(self, item: RequestedItem, claims: Claims) -> list[Job]:
        """The jobs for an item that is read by itself."""
        with self._failures.of([item]):
            source = self._files.source(item.info.relative_path)
            with reading(source.name, item.name):
                wanted = self._wanted(item)
                planned = self._chunks(source, wanted) if item.is_packed and wanted.targets else None
            jobs: list[Job] = [Container(source, wanted)] if planned is None else planned
            conflict = claims.claim(item, wanted.targets)
            if conflict.others or conflict.itself:
                jobs = [job._replace(alone=conflict.itself or job is jobs[0]) for job in jobs]
            return jobs
        return []

    def _chunks(self, source: FileSource, wanted: Wanted) -> list[Job] | None:
        """The jobs for a large packed item, or None where it must go through its container."""
        start, size = wanted.item.info.offset, wanted.item.info.length

        def read_at(offset: int, count: int) -> bytes:
            return source.read(start + offset, count)

        frame = frame_map(wanted.item, read_at(0, min(HEAD, size)), read_at, size)
        hint = checked_hint(wanted.item, frame)
        if hint is None or not holds_own_container(frame, hint, lambda number: read_at(*frame.record(number))):
            return None
        for target in wanted.targets:
            target.prepare()
        needed = needed_chunks(wanted.targets, frame, hint)
        return [Chunks(source, wanted, frame, hint, numbers) for numbers in runs(needed, frame, self._job_bytes)]

    def _wanted(self, item: RequestedItem) -> Wanted:
        """The item with the targets that the planner resolves for it."""
        if item.requests[0].type == LoadItemType.BYTE_IO:
            return Wanted(item, [])
        if item.shape is None or item.dtype is None:
            raise CorruptError("the metadata doesn't describe the tensor that is asked for")
        shape, dtype = torch.Size(item.shape), DCP.dtypes[item.dtype]
        targets = [Target(request, self._planner, shape, dtype) for request in item.requests]
        if not self._devices_waited and any(target.on_device for target in targets):
            torch.accelerator.synchronize()  # what still uses the targets, on whichever stream, comes first
            self._devices_waited = True
        return Wanted(item, targets)


def _neighbours(source: FileSource, wanted: list[Wanted], *, alone: bool) -> Neighbours:
    offset = wanted[0].item.info.offset
    end = max(one.item.info.offset + one.item.info.length for one in wanted)
    return Neighbours(source, offset, end - offset, wanted, alone)


def _is_small(item: RequestedItem) -> bool:
    """Whether an item is read with its neighbours: it has few bytes, and is known to unfold into few."""
    known = item.shape is not None or item.is_packed or not item.info.transform_descriptors
    return known and item.info.length <= _SMALL and item.nbytes <= _MOST_DECODED


def _are_near(items: list[RequestedItem], unfolded: int, item: RequestedItem, most: int) -> bool:
    """Whether `item` is read in one go with `items`, which come before it and unfold into so many bytes; `most` are
    read at once."""
    first, last = items[0].info, items[-1].info
    return (
        item.info.relative_path == first.relative_path
        and item.info.offset - (last.offset + last.length) <= _GAP
        and item.info.offset + item.info.length - first.offset <= most
        and len(items) < _JOB_ITEMS
        and unfolded + item.nbytes <= _MOST_DECODED
    )
