"""Unpacking: the chunks that a load needs, decoded side by side, each once, into the targets' memory where possible.

The direct path is for frames that say where a tensor's elements lie and what they are. All else goes through
`containers`, on the same workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from typing import IO, NamedTuple, cast

import torch
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner

from ..catalog.containers import read_object
from ..catalog.frames import (
    HEAD,
    MOST_CHUNKS,
    checked_hint,
    frame_map,
    holds_own_container,
    needed_chunks,
    runs,
    whole_elements,
)
from ..catalog.items import StoredItem
from ..catalog.kept import Held
from ..catalog.limits import Limits
from ..catalog.located import located
from ..errors import CorruptError, DcpxError
from ..frame import TensorHint
from ..frame.map import FrameMap
from ..parallel import Crew
from ..pickles.trust import Trust
from ..progress import Meter
from ..registry import ExtensionRegistry
from ..store.source import FileSource, Sources
from .buffers import Buffers
from .claims import Claims
from .containers import fill_from_container
from .decoding import Step, Stored, decode_steps, next_step
from .requests import RequestedItem
from .targets import Target, count_as_changed

__all__ = ["Unpacker"]

_WHOLE = 1 << 20
"""Stored bytes up to which an item is read at once, with its neighbours; of a larger one only the chunks needed."""

_MOST_DECODED = 8 << 20
"""Bytes that the items of one job may unfold into: the little that is stored of zeros says nothing of that."""

_GAP = 64 << 10
"""Bytes between two items that are rather read than skipped."""

_JOB_BYTES = 2 << 20
_JOB_ITEMS = 128
"""Bytes, or items, that make up a job for the workers."""

_CHUNK_COST = 1 << 10
_MAP_COST = 48
"""Bytes that a chunk takes while it is decoded, whatever its size, and in the map of its frame."""


class _Wanted(NamedTuple):
    """An item and its targets; those of an object are none."""

    item: RequestedItem
    targets: list[Target]


class _Neighbours(NamedTuple):
    """Small items that are read at once, and each by itself decoded."""

    source: FileSource
    offset: int
    size: int
    wanted: list[_Wanted]
    alone: bool = False


class _Chunks(NamedTuple):
    """Adjacent chunks of a large item."""

    source: FileSource
    wanted: _Wanted
    frame: FrameMap
    hint: TensorHint
    numbers: range
    alone: bool = False


class _Container(NamedTuple):
    """An item that is read through its container."""

    source: FileSource
    wanted: _Wanted
    alone: bool = False


_Job = _Neighbours | _Chunks | _Container
"""`alone` if all jobs before it must have ended when it begins: they write to the same memory."""


class _Done(NamedTuple):
    """What a job has done: its items, the bytes that were filled, and what is to be handed to the planner."""

    job: _Job
    nbytes: int
    objects: list[tuple[RequestedItem, bytes]]


class _Isolated:
    """A block whose error is noted for all `items` in `failures`, where there are such, and what follows goes on.

    Of a block about one item the error is located, too: as `located` does, but at no cost where there is none.
    """

    __slots__ = ("_failures", "_file", "_items")

    def __init__(
        self, failures: dict[str, DcpxError] | None, items: Sequence[StoredItem], file: str | None = None
    ) -> None:
        self._failures = failures
        self._items = items
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if error is None:
            return False
        if self._file is None:
            return self._noted(error)
        try:
            with located(self._file, self._items[0].name):
                raise error
        except DcpxError as found:
            if not self._noted(found):
                raise found from found.__cause__
            return True

    def _noted(self, error: BaseException) -> bool:
        if self._failures is None or not isinstance(error, DcpxError):
            return False
        self._failures.update((item.name, error) for item in self._items)
        return True


class Unpacker:
    """Reads stored items into what the planner resolves for them; made for one load.

    With `partial`, an item that can't be read doesn't end the load: it goes to `failures`, by its name, and its targets
    may be partly filled. Without, its error is raised.
    """

    def __init__(
        self,
        planner: LoadPlanner,
        registry: ExtensionRegistry,
        sources: Sources,
        crew: Crew,
        meter: Meter,
        check_object: Callable[[bytes], bytes],
        limits: Limits,
        partial: bool = False,
        trust: Trust = Trust(),  # noqa: B008 (immutable)
    ) -> None:
        self._planner = planner
        self._registry = registry
        self._sources = sources
        self._crew = crew
        self._meter = meter
        self._check_object = check_object
        self._limits = limits
        self._total = 0  # bytes of what is loaded
        self._partial = partial
        self._trust = trust
        self.failures: dict[str, DcpxError] = {}
        self._buffers = Buffers()
        self._file: str | None = None  # whose jobs are being made
        self._open_jobs: Counter[str] = Counter()  # jobs under way, by file
        self._begun: dict[str, _Wanted] = {}  # items under way, in order: their targets may be partly filled
        self._devices_waited = False

    def read(self, items: Sequence[RequestedItem]) -> dict[str, DcpxError]:
        """Read all `items`, which come in the order in which they are stored; returns `failures`."""
        self._total = self._limits.check(items)
        again = self._do(items, self._jobs(items))
        if again:
            self._meter = Meter(None, 0, 0)  # they were counted
            self._do(again, (job for item in again for job in self._single(item)))
        return self.failures

    def _do(self, items: Sequence[RequestedItem], jobs: Iterator[_Job]) -> list[RequestedItem]:
        """Do all jobs; returns the items that must be read again because of their order in memory."""
        with closing(Claims(items)) as self._claims:
            try:
                with closing(self._crew.map(self._run, jobs, self._cost)) as done:
                    for result in done:
                        self._commit(result)
            except DcpxError as error:
                raise self._telling_begun(error) from error.__cause__
            finally:
                count_as_changed(target for wanted in self._begun.values() for target in wanted.targets)
            return self._claims.contested(self.failures)

    # --- in the caller's thread: what is to be done -----------------------------------------------------------------

    def _jobs(self, items: Sequence[RequestedItem]) -> Iterator[_Job]:
        near: list[RequestedItem] = []
        unfolded = 0
        for item in items:
            small = item.is_packed and item.info.length <= _WHOLE and item.nbytes <= _MOST_DECODED
            if near and not (small and _near(near, unfolded, item)):
                yield from self._neighbours(near)
                near, unfolded = [], 0
            if small:
                near.append(item)
                unfolded += item.nbytes
            else:
                yield from self._single(item)
        if near:
            yield from self._neighbours(near)

    def _single(self, item: RequestedItem) -> list[_Job]:
        with self._isolated([item]):
            source = self._source(item)
            with located(source.name, item.name):
                wanted = self._wanted(item)
                planned = self._chunk_jobs(source, wanted) if item.is_packed and wanted.targets else None
            jobs: list[_Job] = [_Container(source, wanted)] if planned is None else planned
            conflict = self._claims.claim(item, wanted.targets)
            if conflict.others or conflict.itself:
                jobs = [job._replace(alone=conflict.itself or job is jobs[0]) for job in jobs]
            return self._counted(jobs)
        return []

    def _neighbours(self, items: list[RequestedItem]) -> list[_Job]:
        with self._isolated(items):
            return self._counted(self._joined(self._source(items[0]), items))
        return []

    def _joined(self, source: FileSource, items: list[RequestedItem]) -> list[_Job]:
        """The job for small items that lie near each other, or several where they share memory."""
        groups: list[list[_Wanted]] = [[]]
        for item in items:
            with self._isolated([item], source.name):
                wanted = self._wanted(item)
                if self._claims.claim(item, wanted.targets).others:
                    groups.append([])
                groups[-1].append(wanted)
        jobs: list[_Job] = []
        for number, group in enumerate(groups):
            if group:
                offset = group[0].item.info.offset
                size = max(wanted.item.info.offset + wanted.item.info.length for wanted in group) - offset
                jobs.append(_Neighbours(source, offset, size, group, alone=number > 0))
        return jobs

    def _source(self, item: RequestedItem) -> FileSource:
        name = item.info.relative_path
        if name != self._file:
            last, self._file = self._file, name
            self._close_if_done(last)
        return self._sources[name]

    def _close_if_done(self, file: str | None) -> None:
        if file is not None and file != self._file and self._open_jobs[file] == 0:
            self._sources.done(file)

    def _wanted(self, item: RequestedItem) -> _Wanted:
        if item.requests[0].type == LoadItemType.BYTE_IO:
            return _Wanted(item, [])
        if item.shape is None or item.dtype is None:
            raise CorruptError("the metadata doesn't describe the tensor that is asked for")
        targets = [Target(request, self._planner, item.shape, item.dtype) for request in item.requests]
        if not self._devices_waited and any(target.on_device for target in targets):
            torch.accelerator.synchronize()  # what still uses the targets, on whichever stream, comes first
            self._devices_waited = True
        return _Wanted(item, targets)

    def _chunk_jobs(self, source: FileSource, wanted: _Wanted) -> list[_Job] | None:
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
        return [_Chunks(source, wanted, frame, hint, numbers) for numbers in runs(needed, frame, _JOB_BYTES)]

    def _counted(self, jobs: list[_Job]) -> list[_Job]:
        """All jobs of an item are counted before the first of them runs: the last one to end completes it."""
        for job in jobs:
            self._open_jobs[_file(job)] += 1
            for wanted in _all_wanted(job):
                self._begun[wanted.item.name] = wanted
                for target in wanted.targets:
                    target.pending += 1
        return jobs

    def _cost(self, job: _Job) -> int:
        """What a job may hold: its stored bytes and a chunk, or all of a tensor. More than the budget for what must
        wait until nothing else is held."""
        if job.alone:
            return self._crew.budget + 1
        held = sum([target.held_bytes for wanted in _all_wanted(job) for target in wanted.targets])
        match job:
            case _Neighbours():
                return held + job.size + sum([wanted.item.nbytes for wanted in job.wanted])
            case _Chunks():
                frame = job.frame
                held += _CHUNK_COST * len(job.numbers) + _MAP_COST * frame.count
                return held + sum(frame.record(number)[1] + frame.raw_size(number) for number in job.numbers)
            case _Container():
                return held + job.wanted.item.info.length + max(job.wanted.item.most_bytes, 0)

    def _commit(self, done: _Done) -> None:
        """Hand what is complete to the planner."""
        items = 0
        all_wanted = _all_wanted(done.job)
        complete: list[Target] = []
        for wanted in all_wanted:
            for target in wanted.targets:
                target.pending -= 1
                if target.pending == 0:
                    complete.append(target)
        count_as_changed(complete)
        for item, targets in all_wanted:
            for target in targets:
                if target.pending == 0 and item.name not in self.failures:
                    with self._isolated([item], done.job.source.name):
                        target.commit(self._planner)
                    items += 1
            if all(target.pending == 0 for target in targets):
                self._begun.pop(item.name, None)
                self._claims.release(item)
        for item, content in done.objects:
            with self._isolated([item], done.job.source.name):
                items += self._load_object(item, content)
        self._meter.add(done.nbytes, items)
        file = _file(done.job)
        self._open_jobs[file] -= 1
        self._close_if_done(file)

    def _load_object(self, item: RequestedItem, content: bytes) -> int:
        self._total += len(content) - item.nbytes
        self._limits.check_total(self._total, item)
        checked = self._check_object(content)
        for request in item.requests:
            self._planner.load_bytes(request, BytesIO(checked))
        return len(item.requests)

    def _telling_begun(self, error: DcpxError) -> DcpxError:
        names = list(self._begun)
        if not names:
            return error
        shown = ", ".join(repr(name) for name in names[:5])
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        cause = f"{error.cause}; partly filled may be {shown}{more}"
        return type(error)(cause, error.where, error.remedy).with_traceback(error.__traceback__)

    # --- on the workers ---------------------------------------------------------------------------------------------

    def _run(self, job: _Job) -> _Done:
        if isinstance(job, _Neighbours):
            return self._read_neighbours(job)
        item = job.wanted.item
        with self._isolated([item], job.source.name):
            if isinstance(job, _Chunks):
                return _Done(job, self._read_chunks(job), [])
            return self._through_container(job, job.source.part(item.info.offset, item.info.length))
        return _Done(job, 0, [])

    def _through_container(self, job: _Container, stored: IO[bytes]) -> _Done:
        item, targets = job.wanted
        if item.seal is not None and item.seal.kind == "stored":
            stored = cast(IO[bytes], Held(self._whole(job.source, item)))  # to be checked, and then read
            item.check_stored(stored)
        if not targets:
            content = read_object(stored, item, self._registry, self._limits.most_bytes(item))
            return _Done(job, 0, [(item, content)])
        return _Done(job, fill_from_container(stored, item, self._registry, targets, self._trust), [])

    def _whole(self, source: FileSource, item: RequestedItem) -> memoryview:
        """All that is stored of an item; memory is taken once it's certain that there is as much."""
        begin, size = item.info.offset, item.info.length
        if size:
            source.read(begin + size - 1, 1)
        memory = self._buffers.stored(size)
        source.read_into(begin, memory)
        return memory

    def _read_neighbours(self, job: _Neighbours) -> _Done:
        stored = self._buffers.stored(job.size)
        try:
            with located(job.source.name, job.wanted[0].item.name):
                job.source.read_into(job.offset, stored)
        except DcpxError as error:
            return self._read_apart(job, error)
        nbytes = 0
        objects: list[tuple[RequestedItem, bytes]] = []
        steps: list[Step | None] = []
        for wanted in job.wanted:
            item, targets = wanted
            with self._isolated([item], job.source.name):
                begin = item.info.offset - job.offset
                content = stored[begin : begin + item.info.length]
                found = self._unpack(wanted, content) if targets else None
                if found is None:
                    done = self._through_container(_Container(job.source, wanted), BytesIO(content))
                    objects += done.objects
                    nbytes += done.nbytes
                else:
                    filled, more = found
                    nbytes += filled
                    for step in more:
                        steps.append(step)
                        if len(steps) == MOST_CHUNKS:
                            nbytes += self._decode(job.source, steps)
                            steps = []
        return _Done(job, nbytes + self._decode(job.source, steps), objects)

    def _read_apart(self, job: _Neighbours, error: DcpxError) -> _Done:
        """Read items one by one that can't be read at once: the one that is to blame is found, and with `partial` the
        others are read."""
        if len(job.wanted) == 1:
            with self._isolated([job.wanted[0].item]):
                raise error
            return _Done(job, 0, [])
        alone = []
        for wanted in job.wanted:
            info = wanted.item.info
            alone.append(self._read_neighbours(_Neighbours(job.source, info.offset, info.length, [wanted])))
        return _Done(job, sum(done.nbytes for done in alone), [pair for done in alone for pair in done.objects])

    def _isolated(self, items: Sequence[StoredItem], file: str | None = None) -> _Isolated:
        return _Isolated(self.failures if self._partial else None, items, file)

    def _unpack(self, wanted: _Wanted, content: memoryview) -> tuple[int, Iterable[Step | None]] | None:
        """Unpack a whole small frame: the bytes that were filled, and the chunks still to be decoded. None where it
        must go through its container."""

        def read_at(offset: int, count: int) -> bytes:
            return bytes(content[offset : offset + count])

        def record(number: int) -> memoryview:
            begin, size = frame.record(number)
            return content[begin : begin + size]

        frame = frame_map(wanted.item, bytes(content[:HEAD]), read_at, len(content))
        hint = checked_hint(wanted.item, frame)
        if hint is None:
            return None
        for target in wanted.targets:
            target.prepare()
        elements = whole_elements(frame, hint, record)
        if elements is not None:
            return sum([target.fill(elements, 0) for target in wanted.targets]), ()
        if not holds_own_container(frame, hint, record):
            return None
        return 0, (self._step(wanted, frame, hint, number, record(number)) for number in range(1, frame.count - 1))

    def _read_chunks(self, job: _Chunks) -> int:
        frame, source, item = job.frame, job.source, job.wanted.item
        records: dict[int, memoryview | Stored] = {}
        if source.reads_chunks:  # each is read just before it is decoded
            for number in job.numbers:
                offset, size = frame.record(number)
                records[number] = Stored(item.info.offset + offset, size)
        elif job.numbers:  # all at once
            begin, end = frame.record(job.numbers[0])[0], sum(frame.record(job.numbers[-1]))
            stored = self._buffers.stored(end - begin)
            source.read_into(item.info.offset + begin, stored)
            for number in job.numbers:
                offset, size = frame.record(number)
                records[number] = stored[offset - begin : offset - begin + size]
        return self._decode(source, [self._step(job.wanted, frame, job.hint, *record) for record in records.items()])

    def _step(
        self, wanted: _Wanted, frame: FrameMap, hint: TensorHint, number: int, record: memoryview | Stored
    ) -> Step | None:
        return next_step(wanted.item, wanted.targets, frame, hint, number, record, self._buffers)

    def _decode(self, source: FileSource, steps: Sequence[Step | None]) -> int:
        try:
            return decode_steps(source, [step for step in steps if step is not None], self._isolated, self.failures)
        finally:
            self._buffers.release()


def _file(job: _Job) -> str:
    return _all_wanted(job)[0].item.info.relative_path


def _all_wanted(job: _Job) -> list[_Wanted]:
    return job.wanted if isinstance(job, _Neighbours) else [job.wanted]


def _near(items: list[RequestedItem], unfolded: int, item: RequestedItem) -> bool:
    """Whether `item` is read in one go with `items`, which come before it and unfold into so many bytes."""
    first, last = items[0].info, items[-1].info
    return (
        item.info.relative_path == first.relative_path
        and item.info.offset - (last.offset + last.length) <= _GAP
        and item.info.offset + item.info.length - first.offset <= _JOB_BYTES
        and len(items) < _JOB_ITEMS
        and unfolded + item.nbytes <= _MOST_DECODED
    )
