"""Unpacking: the chunks that a load needs, decoded side by side, each once, into the targets' memory where possible.

The direct path is for frames that say where a tensor's elements lie and what they are. All else goes through
`containers`, on the same workers.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from typing import IO, NamedTuple

import torch
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner

from ..codecs.container import container
from ..codecs.dtypes import ITEM_SIZES
from ..errors import CorruptError, DcpxError
from ..extensions.pack import Pack
from ..frame import Header, TensorHint, check_codecs
from ..frame.layout import PREFIX_SIZE, header_size, parse_header
from ..frame.map import FrameMap, read_final
from ..parallel import Crew
from ..progress import Meter
from ..registry import ExtensionRegistry
from .containers import fill_from_container, located, read_object
from .items import StoredItem, Target
from .source import FileSource, Sources
from .staging import host_buffer

__all__ = ["Unpacker"]

_WHOLE = 1 << 20
"""Stored bytes up to which an item is read at once, with its neighbours; of a larger one only the chunks needed."""

_GAP = 64 << 10
"""Bytes between two items that are rather read than skipped."""

_JOB_BYTES = 1 << 20
_JOB_ITEMS = 128
"""Stored bytes, or items, that make up a job for the workers."""

_HEAD = 4 << 10
"""Bytes read at a large item's beginning in the hope that they hold its header."""

_MOST_BEFORE = 64 << 10
"""Bytes that may come before a tensor's elements in its container; a longer one is read the slow way."""


class _Wanted(NamedTuple):
    """An item and its targets; those of an object are none."""

    item: StoredItem
    targets: list[Target]


class _Neighbours(NamedTuple):
    """Small items that are read at once, and each by itself decoded."""

    source: FileSource
    offset: int
    size: int
    wanted: list[_Wanted]


class _Chunks(NamedTuple):
    """Adjacent chunks of a large item."""

    source: FileSource
    wanted: _Wanted
    frame: FrameMap
    hint: TensorHint
    numbers: range


class _Container(NamedTuple):
    """An item that is read through its container."""

    source: FileSource
    wanted: _Wanted


_Job = _Neighbours | _Chunks | _Container


class _Done(NamedTuple):
    """What a job has done: its items, the bytes that were filled, and what is to be handed to the planner."""

    job: _Job
    nbytes: int
    objects: list[bytes]


class Unpacker:
    """Reads stored items into what the planner resolves for them; made for one load."""

    def __init__(
        self, planner: LoadPlanner, registry: ExtensionRegistry, sources: Sources, crew: Crew, meter: Meter
    ) -> None:
        self._planner = planner
        self._registry = registry
        self._sources = sources
        self._crew = crew
        self._meter = meter
        self._buffers = _Buffers()
        self._file: str | None = None  # whose jobs are being made
        self._open_jobs: Counter[str] = Counter()  # jobs under way, by file
        self._begun: dict[str, None] = {}  # items under way, in order: their targets may be partly filled
        self._devices_waited = False

    def read(self, items: Sequence[StoredItem]) -> None:
        """Read all `items`, which come in the order in which they are stored."""
        try:
            with closing(self._crew.map(self._run, self._jobs(items), self._cost)) as done:
                for result in done:
                    self._commit(result)
        except DcpxError as error:
            raise self._telling_begun(error) from error.__cause__

    # --- in the caller's thread: what is to be done -----------------------------------------------------------------

    def _jobs(self, items: Sequence[StoredItem]) -> Iterator[_Job]:
        near: list[StoredItem] = []
        for item in items:
            if near and not _near(near, item):
                yield self._neighbours(near)
                near = []
            packed = list(item.info.transform_descriptors or ()) == [Pack().get_descriptor()]
            if packed and item.info.length <= _WHOLE:
                near.append(item)
                continue
            if near:
                yield self._neighbours(near)
                near = []
            source = self._source(item)
            with located(source.name, item.name):
                wanted = self._wanted(item)
                planned = self._chunk_jobs(source, wanted) if packed and wanted.targets else None
            yield from self._counted([_Container(source, wanted)] if planned is None else planned)
        if near:
            yield self._neighbours(near)

    def _neighbours(self, items: list[StoredItem]) -> _Job:
        source = self._source(items[0])
        offset = items[0].info.offset
        size = max(item.info.offset + item.info.length for item in items) - offset
        wanted = []
        for item in items:
            with located(source.name, item.name):
                wanted.append(self._wanted(item))
        return self._counted([_Neighbours(source, offset, size, wanted)])[0]

    def _source(self, item: StoredItem) -> FileSource:
        name = item.info.relative_path
        if name != self._file:
            last, self._file = self._file, name
            self._close_if_done(last)
        return self._sources[name]

    def _close_if_done(self, file: str | None) -> None:
        if file is not None and file != self._file and self._open_jobs[file] == 0:
            self._sources.done(file)

    def _wanted(self, item: StoredItem) -> _Wanted:
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

        frame = _frame(wanted.item, read_at(0, min(_HEAD, size)), read_at, size)
        hint = _checked_hint(wanted.item, frame)
        if hint is None:
            return None
        before = bytearray()
        for number in frame.covering(0, hint.payload_offset):
            record = read_at(*frame.record(number))
            raw = bytearray(frame.index[number][1])
            frame.decode(number, memoryview(record), memoryview(raw))
            before += raw
        if bytes(before[: hint.payload_offset]) != container(hint.dtype, hint.shape).before:
            return None
        needed = _needed(wanted.targets, frame, hint)
        return [_Chunks(source, wanted, frame, hint, numbers) for numbers in _runs(needed, frame)]

    def _counted(self, jobs: list[_Job]) -> list[_Job]:
        """All jobs of an item are counted before the first of them runs: the last one to end completes it."""
        for job in jobs:
            self._open_jobs[_file(job)] += 1
            for wanted in _all_wanted(job):
                self._begun[wanted.item.name] = None
                for target in wanted.targets:
                    target.pending += 1
        return jobs

    def _cost(self, job: _Job) -> int:
        """What a job may hold: its stored bytes and a chunk, or all of a tensor."""
        match job:
            case _Neighbours():
                return 2 * job.size
            case _Chunks():
                return sum(job.frame.record(number)[1] + job.frame.index[number][1] for number in job.numbers)
            case _Container():
                return job.wanted.item.info.length + max(job.wanted.item.most_bytes, 0)

    def _commit(self, done: _Done) -> None:
        """Hand what is complete to the planner."""
        items = 0
        for wanted in _all_wanted(done.job):
            for target in wanted.targets:
                target.pending -= 1
                if target.pending == 0:
                    self._planner.commit_tensor(target.request, target.tensor)
                    items += 1
            if all(target.pending == 0 for target in wanted.targets):
                self._begun.pop(wanted.item.name, None)
        objects = iter(done.objects)
        for wanted in _all_wanted(done.job):
            if not wanted.targets:
                items += self._load_object(wanted.item, next(objects), done.job.source.name)
        self._meter.add(done.nbytes, items)
        file = _file(done.job)
        self._open_jobs[file] -= 1
        self._close_if_done(file)

    def _load_object(self, item: StoredItem, content: bytes, file: str) -> int:
        with located(file, item.name):
            for request in item.requests:
                self._planner.load_bytes(request, BytesIO(content))
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
        match job:
            case _Neighbours():
                return self._read_neighbours(job)
            case _Chunks():
                with located(job.source.name, job.wanted.item.name):
                    return _Done(job, self._read_chunks(job), [])
            case _Container():
                with located(job.source.name, job.wanted.item.name):
                    info = job.wanted.item.info
                    return self._through_container(job, job.source.part(info.offset, info.length))

    def _through_container(self, job: _Container, stored: IO[bytes]) -> _Done:
        item, targets = job.wanted
        if not targets:
            return _Done(job, 0, [read_object(stored, item, self._registry)])
        return _Done(job, fill_from_container(stored, item, self._registry, targets), [])

    def _read_neighbours(self, job: _Neighbours) -> _Done:
        stored = self._buffers.stored(job.size)
        nbytes, objects = 0, []
        with located(job.source.name, job.wanted[0].item.name):
            job.source.read_into(job.offset, stored)
        for wanted in job.wanted:
            item, targets = wanted
            with located(job.source.name, item.name):
                begin = item.info.offset - job.offset
                content = stored[begin : begin + item.info.length]
                filled = self._unpack(wanted, content) if targets else None
                if filled is None:
                    stream = BytesIO(content)
                    done = self._through_container(_Container(job.source, wanted), stream)
                    objects += done.objects
                    filled = done.nbytes
                nbytes += filled
        return _Done(job, nbytes, objects)

    def _unpack(self, wanted: _Wanted, content: memoryview) -> int | None:
        """Decode a whole small frame; None where it must go through its container."""

        def read_at(offset: int, count: int) -> bytes:
            return bytes(content[offset : offset + count])

        frame = _frame(wanted.item, bytes(content[:_HEAD]), read_at, len(content))
        hint = _checked_hint(wanted.item, frame)
        if hint is None:
            return None
        # The container's beginning, and what of the elements shares its chunk.
        first = frame.covering(0, hint.payload_offset)
        decoded = frame.begins[first.stop]
        raw = self._buffers.raw(decoded, False)
        memory = raw.numpy().data
        for number in first:
            begin, size = frame.record(number)
            frame.decode(number, content[begin : begin + size], memory[frame.begins[number] : frame.begins[number + 1]])
        if memory[: hint.payload_offset] != container(hint.dtype, hint.shape).before:
            return None
        elements = raw[hint.payload_offset : min(decoded, hint.payload_offset + hint.nbytes)]
        filled = sum(target.fill(elements, 0) for target in wanted.targets)
        for number in frame.covering(decoded, hint.payload_offset + hint.nbytes):
            begin, size = frame.record(number)
            filled += self._decode(frame, number, content[begin : begin + size], hint, wanted.targets)
        return filled

    def _read_chunks(self, job: _Chunks) -> int:
        frame = job.frame
        if not job.numbers:
            return 0
        first = frame.record(job.numbers[0])[0]
        end = sum(frame.record(job.numbers[-1]))
        stored = self._buffers.stored(end - first)
        job.source.read_into(job.wanted.item.info.offset + first, stored)
        filled = 0
        for number in job.numbers:
            begin, size = frame.record(number)
            record = stored[begin - first : begin - first + size]
            filled += self._decode(frame, number, record, job.hint, job.wanted.targets)
        return filled

    def _decode(self, frame: FrameMap, number: int, record: memoryview, hint: TensorHint, targets: list[Target]) -> int:
        """Decode one chunk and give every target what it wants of it; returns how many bytes that were."""
        begin, end = frame.begins[number], frame.begins[number + 1]
        elements = _elements(frame, number, hint)
        fitting = [target for target in targets if target.wants(*elements)]
        if not fitting:
            return 0
        width = ITEM_SIZES[hint.dtype]
        first, last = (hint.payload_offset + width * edge for edge in elements)
        if len(fitting) == 1 and (first, last) == (begin, end):
            memory = fitting[0].memory(*elements)
            if memory is not None:
                frame.decode(number, record, memory)
                return len(memory)
        raw = self._buffers.raw(end - begin, any(target.on_device for target in fitting))
        frame.decode(number, record, raw.numpy().data)
        wanted = raw[first - begin : last - begin]
        return sum(target.fill(wanted, elements[0]) for target in fitting)


class _Buffers(threading.local):
    """A worker's own memory, kept from job to job: for stored bytes, and for decoded ones that go on from there."""

    def __init__(self) -> None:
        self._stored = bytearray()
        self._raw: dict[bool, torch.Tensor] = {}

    def stored(self, size: int) -> memoryview:
        if len(self._stored) < size:
            self._stored = bytearray(size)
        return memoryview(self._stored)[:size]

    def raw(self, size: int, pinned: bool) -> torch.Tensor:
        """`size` bytes, dtype uint8; what was in them before is still there where it fitted."""
        known = self._raw.get(pinned)
        if known is None or len(known) < size:
            grown = host_buffer(max(size, _JOB_BYTES), pinned)
            if known is not None:
                grown[: len(known)] = known
            known = self._raw[pinned] = grown
        return known[:size]


def _file(job: _Job) -> str:
    return _all_wanted(job)[0].item.info.relative_path


def _all_wanted(job: _Job) -> list[_Wanted]:
    return job.wanted if isinstance(job, _Neighbours) else [job.wanted]


def _near(items: list[StoredItem], item: StoredItem) -> bool:
    """Whether `item` is read in one go with `items`, which come before it."""
    first, last = items[0].info, items[-1].info
    return (
        item.info.relative_path == first.relative_path
        and item.info.offset - (last.offset + last.length) <= _GAP
        and item.info.offset + item.info.length - first.offset <= _JOB_BYTES
        and len(items) < _JOB_ITEMS
    )


def _frame(item: StoredItem, head: bytes, read_at: Callable[[int, int], bytes], size: int) -> FrameMap:
    """The map of an item's frame, once it's certain that it is the one asked for and no larger than it may be."""
    length = header_size(head[:PREFIX_SIZE])
    header: Header = parse_header(head[:length] if length <= len(head) else read_at(0, min(length, size)))
    check_codecs(header)
    item.check_identity(header)
    frame = FrameMap(header, read_final(read_at, header, size))
    if 0 <= item.most_bytes < frame.total:
        raise CorruptError(f"the item holds {frame.total} bytes, more than its shape needs")
    return frame


def _checked_hint(item: StoredItem, frame: FrameMap) -> TensorHint | None:
    """The frame's hint, if it has one that the direct path can follow. CorruptError if it contradicts the metadata."""
    hint = frame.header.hint
    if hint is None or not hasattr(torch, hint.dtype):
        return None
    if getattr(torch, hint.dtype) != item.dtype or hint.shape != tuple(item.shape or ()):
        described = f"{item.dtype} {tuple(item.shape or ())}"
        raise CorruptError(f"the frame holds a tensor {hint.dtype} {hint.shape}, the metadata says {described}")
    if hint.payload_offset + hint.nbytes > frame.total:
        raise CorruptError(f"the frame says that a tensor of {hint.nbytes} bytes begins at {hint.payload_offset}")
    width = ITEM_SIZES[hint.dtype]
    within = frame.covering(hint.payload_offset, hint.payload_offset + hint.nbytes)
    aligned = all((frame.begins[number] - hint.payload_offset) % width == 0 for number in within[1:])
    return hint if aligned and hint.payload_offset <= _MOST_BEFORE else None


def _needed(targets: Iterable[Target], frame: FrameMap, hint: TensorHint) -> list[int]:
    """The chunks that hold something for any of the targets, ascending."""
    width = ITEM_SIZES[hint.dtype]
    numbers: set[int] = set()
    for target in targets:
        begin, end = (hint.payload_offset + width * edge for edge in (target.begin, target.end))
        for number in frame.covering(begin, end):
            if target.wants(*_elements(frame, number, hint)):
                numbers.add(number)
    return sorted(numbers)


def _elements(frame: FrameMap, number: int, hint: TensorHint) -> tuple[int, int]:
    """Which of the tensor's elements a chunk holds: the first, and behind the last, in C order."""
    edges = (edge - hint.payload_offset for edge in (frame.begins[number], frame.begins[number + 1]))
    first, last = (min(max(edge, 0), hint.nbytes) // ITEM_SIZES[hint.dtype] for edge in edges)
    return first, last


def _runs(numbers: list[int], frame: FrameMap) -> Iterator[range]:
    """Adjacent chunks, as many as make up a job; one of none where there are none."""
    start = 0
    size = 0
    if not numbers:
        yield range(0)
    for position, number in enumerate(numbers):
        if position > start and (number != numbers[position - 1] + 1 or size >= _JOB_BYTES):
            yield range(numbers[start], numbers[position - 1] + 1)
            start, size = position, 0
        size += frame.index[number][1]
    if numbers:
        yield range(numbers[start], numbers[-1] + 1)
