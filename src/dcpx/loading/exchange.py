"""Exchange: stored bytes that all ranks need are read from a distant store by one rank each, and told to the others."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from ..errors import DcpxError
from ..store.contract import ObjectReader, Store
from .requests import RequestedItem

__all__ = ["Exchange"]

_LEAST_READ = 8 << 20
"""Bytes that a rank reads at least: a rank more that reads would cost a collective more."""

_KEPT = 2
"""Batches that are kept: that which the jobs are being planned for, and the one before, whose jobs are under way."""


_GAP = 64 << 10
"""Bytes between two items that are read as well, as jobs for neighbours do."""


class _Span(NamedTuple):
    """A range of one file that is read in one go."""

    file: str
    begin: int
    end: int


class _Batch:
    """What is exchanged at once: spans of files, whose bytes follow each other in one piece of memory."""

    def __init__(self, spans: Sequence[_Span]) -> None:
        self.spans = spans
        self.begins = [0]  # of each span, within the memory; and the end of all
        for span in spans:
            self.begins.append(self.begins[-1] + span.end - span.begin)

    @property
    def size(self) -> int:
        return self.begins[-1]

    def within(self, begin: int, end: int) -> Iterator[tuple[str, int, int, int]]:
        """What of the memory from `begin` to `end` is which file's: file, offset there, size, place in the memory."""
        for span, start in zip(self.spans, self.begins[:-1], strict=True):
            low, high = max(begin, start), min(end, start + span.end - span.begin)
            if low < high:
                yield span.file, span.begin + low - start, high - low, low


class Exchange:
    """The batches of one load, the same on every rank of the group, each of which must go through all of them.

    The caller's thread asks by `reach` for what it is about to plan jobs for; any thread finds it by `find`. What isn't
    found, because a rank couldn't read it or it was kept long enough, is read from the store by whoever needs it. As a
    context manager, it lets the other ranks have their turn at the end, also after an error.
    """

    def __init__(
        self, store: Store, items: Sequence[RequestedItem], budget: int, process_group: dist.ProcessGroup | None
    ) -> None:
        """Of `items`, in the order in which they are stored, those are exchanged of which two batches are within
        `budget` bytes. Both are the same on all ranks. Without items nothing is asked of the group."""
        self._store = store
        self._group = process_group
        self._world = dist.get_world_size(process_group) if items else 1
        self._rank = dist.get_rank(process_group) if items else 0
        self._numbers: dict[tuple[str, int], int] = {}  # of the batches, by file and offset of the items in them
        self._batches = self._planned(items, budget // _KEPT)
        self.nbytes = sum(batch.size for batch in self._batches)
        """Stored bytes that are exchanged."""
        self._next = 0
        self._broken = False  # a rank is gone: nobody can be told anything any more
        self._held: list[tuple[list[_Span], list[memoryview]]] = []  # spans by file and begin, and their bytes

    def _planned(self, items: Sequence[RequestedItem], most: int) -> list[_Batch]:
        batches: list[list[_Span]] = []
        size = most
        last: _Span | None = None
        for item in items:
            info = item.info
            if not 0 < info.length <= most or (info.relative_path, info.offset) in self._numbers:  # or it is a copy
                continue
            begin, end = info.offset, info.offset + info.length
            if last is not None and last.file == info.relative_path and 0 <= begin - last.end <= _GAP:
                begin = last.end  # jobs read what lies between as well
            if size + end - begin > most:
                batches.append([])
                size = 0
            spans = batches[-1]
            last = _Span(info.relative_path, begin, end)
            if spans and (spans[-1].file, spans[-1].end) == (last.file, begin):
                spans[-1] = spans[-1]._replace(end=end)
            else:
                spans.append(last)
            size += end - begin
            self._numbers[info.relative_path, info.offset] = len(batches) - 1
        return [_Batch(spans) for spans in batches]

    def reach(self, item: RequestedItem) -> None:
        """Exchange what comes until this item is there. What the collectives raise passes."""
        number = self._number(item)
        while self._next <= number and not self._broken:
            self._held = self._held[1 - _KEPT :]
            self._held = [*self._held, self._exchanged(self._batches[self._next], read=True)]
            self._next += 1

    def is_reached(self, item: RequestedItem) -> bool:
        """Whether nothing of this item is still to be exchanged."""
        return self._number(item) < self._next

    def _number(self, item: RequestedItem) -> int:
        return self._numbers.get((item.info.relative_path, item.info.offset), -1)

    def find(self, file: str, offset: int, size: int) -> memoryview | None:
        """These bytes of a file, where they are held; for any thread."""
        found: list[memoryview] = []
        for spans, parts in self._held:
            number = bisect_right(spans, _Span(file, offset, 1 << 63)) - 1
            while 0 <= number < len(spans) and size and spans[number].file == file and spans[number].end > offset:
                part = parts[number][offset - spans[number].begin :][:size]
                found.append(part)
                offset, size, number = offset + len(part), size - len(part), number + 1
        if size:
            return None
        return found[0] if len(found) == 1 else memoryview(b"".join(found))

    def _exchanged(self, batch: _Batch, *, read: bool) -> tuple[list[_Span], list[memoryview]]:
        """Read this rank's share, tell it, and be told the others'."""
        readers = max(1, min(self._world, batch.size // _LEAST_READ))
        edges = [batch.size * number // readers for number in range(readers + 1)]
        memory = torch.from_numpy(np.empty(batch.size, np.uint8))
        failed = torch.zeros(readers, dtype=torch.uint8)
        if self._rank < readers:
            mine = batch.within(edges[self._rank], edges[self._rank + 1])
            failed[self._rank] = not (read and self._read(mine, memory.numpy().data))
        try:
            dist.all_reduce(failed, dist.ReduceOp.MAX, group=self._group)
            for number in range(readers):
                if not failed[number]:
                    source = number if self._group is None else dist.get_global_rank(self._group, number)
                    dist.broadcast(memory[edges[number] : edges[number + 1]], source, group=self._group)
        except BaseException:
            self._broken = True
            raise
        whole = memory.numpy().data
        told = [edges[number : number + 2] for number in range(readers) if not failed[number]]
        places = [place for begin, end in told for place in batch.within(begin, end)]
        spans = [_Span(file, offset, offset + size) for file, offset, size, _ in places]
        return spans, [whole[place : place + size] for _, _, size, place in places]

    def _read(self, wanted: Iterator[tuple[str, int, int, int]], memory: memoryview) -> bool:
        """Read what is this rank's to read; whether that could be done. Why not is told by whoever needs it."""
        with contextlib.suppress(OSError, DcpxError), contextlib.ExitStack() as stack:
            readers: dict[str, ObjectReader] = {}
            for file, offset, size, place in wanted:
                if file not in readers:
                    readers[file] = stack.enter_context(contextlib.closing(self._store.open(file)))
                if readers[file].read_into(offset, memory[place : place + size]) != size:
                    return False
            return True
        return False

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._held = []
        if not self._broken and (kind is None or issubclass(kind, Exception)):
            for batch in self._batches[self._next :]:
                self._exchanged(batch, read=kind is None)
