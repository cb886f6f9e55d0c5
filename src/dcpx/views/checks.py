"""What `verify` holds against what: files, frames and chunks of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from .. import kernels
from ..catalog.frames import HEAD, checked_hint, frame_map, holds_own_container, whole_elements
from ..catalog.items import StoredItem
from ..catalog.manifest import FileRecord
from ..errors import CorruptError, DcpxError, Where
from ..frame import TensorHint
from ..frame.map import FrameMap
from ..located import reading
from ..store.source import FileSource
from .findings import Problem

__all__ = ["check_chunks", "check_file", "check_size", "checked_frame", "distinct", "is_direct", "problem_of"]

_PART = 1 << 20
"""Bytes that are read at once."""


def problem_of(item: StoredItem, error: DcpxError) -> Problem:
    """Damage to all of an item, or to whatever the error doesn't name."""
    begin = item.info.offset
    return Problem(item.info.relative_path, error, item.name, error.where.chunk, begin, begin + item.info.length)


def check_size(source: FileSource, record: FileRecord) -> None:
    """The file must have the manifest's size."""
    source.check_size(record.size)
    if record.size > 0:
        source.read(record.size - 1, 1)


def check_file(source: FileSource, record: FileRecord, parts: Iterable[tuple[int, memoryview]]) -> None:
    """The file must be what the manifest says. `parts` are bytes of it that have been read already, each with where it
    begins, in this order; what is between them is read."""
    source.check_size(record.size)
    hasher = kernels.Xxh3_128()
    position = 0
    buffer = memoryview(bytearray(min(_PART, record.size)))
    for begin, known in chain(parts, [(record.size, memoryview(b""))]):
        while position < min(begin, record.size):
            part = buffer[: min(_PART, begin - position, record.size - position)]
            source.read_into(position, part)
            hasher.update(part)
            position += len(part)
        fresh = known[: max(record.size - begin, 0)][position - begin :]
        hasher.update(fresh)
        position += len(fresh)
    if hasher.hexdigest() != record.xxh3_128:
        raise CorruptError("the file's hash isn't the manifest's", Where(source.name))


def checked_frame(source: FileSource, item: StoredItem) -> FrameMap:
    """The map of a packed item, which must be the one that was asked for."""
    begin, size = item.info.offset, item.info.length

    def read_at(offset: int, count: int) -> bytes:
        return source.read(begin + offset, count)

    frame = frame_map(item, read_at(0, min(HEAD, size)), read_at, size)
    if item.shape is not None:
        checked_hint(item, frame)
    return frame


def is_direct(source: FileSource, item: StoredItem, frame: FrameMap, hint: TensorHint) -> bool:
    """Whether a load finds the elements in the frame by itself, without what torch would read of its container."""

    def record(number: int) -> memoryview:
        offset, size = frame.record(number)
        return memoryview(source.read(item.info.offset + offset, size))

    if frame.count == 1:
        return whole_elements(frame, hint, record) is not None
    return holds_own_container(frame, hint, record)


def distinct(problems: Iterable[Problem]) -> list[Problem]:
    """The first problem of each item, chunk or file."""
    found: dict[tuple[str, str | None, int | None], Problem] = {}
    for one in problems:
        found.setdefault((one.file, one.item, one.chunk), one)
    return list(found.values())


def check_chunks(source: FileSource, item: StoredItem, frame: FrameMap, numbers: range) -> list[Problem]:
    """Read and decode these chunks; the damaged ones."""
    problems = []
    scratch = memoryview(bytearray(max(map(frame.raw_size, numbers), default=0)))
    for number in numbers:
        offset, size = frame.record(number)
        begin = item.info.offset + offset
        try:
            with reading(source.name, item.name):
                frame.decode(number, source.view(begin, size), scratch[: frame.raw_size(number)])
        except DcpxError as error:
            problems.append(Problem(item.info.relative_path, error, item.name, number, begin, begin + size))
    return problems
