"""`verify`: reads all of a checkpoint, holds it against every checksum there is, and says what is wrong, and where."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from typing import IO, NamedTuple, cast

from torch.distributed.checkpoint.filesystem import FileSystem

from .. import kernels
from ..errors import CorruptError, DcpxError, LoadError, ReplacedError, TruncatedError, Where
from ..frame import frame_of
from ..frame.map import FrameMap
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..progress import Meter, OnProgress
from ..registry import ExtensionRegistry, default_registry
from ..report import Problem, Report
from ._archive import open_archive
from ._torch import check_path
from .containers import check_container, located, open_item
from .directory import Directory
from .frames import HEAD, checked_hint, frame_map, runs
from .items import StoredItem, all_items
from .leftovers import find_leftovers
from .limits import Limits
from .lost import missing_pointer
from .manifest import FileRecord
from .names import METADATA, is_pointer
from .pointer import is_replaced, read_pointer
from .source import FileSource

__all__ = ["verify"]

_JOB_BYTES = 8 << 20
_JOB_ITEMS = 256
"""Bytes, or items, of one job."""

_PART = 1 << 20
"""Bytes that are read at once."""

_ATTEMPTS = 10
"""How often another save may replace the checkpoint while it is being read."""


def verify(
    path: str | os.PathLike[str],
    *,
    registry: ExtensionRegistry | None = None,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    progress: OnProgress | None = None,
) -> Report:
    """Read the whole checkpoint at `path`, in one process, and check it against all checksums that it has.

    Those are, of what dcpx wrote, the manifest's, of every file and item, and those of every chunk; of stock
    checkpoints the CRC32s of torch's archives, which torch doesn't look at, and those of the extensions. Damage isn't
    raised but listed in the report, with what can still be loaded. `threads`, `budget` and `limits` are those of
    `Reader`; `progress` counts stored bytes, and items.

    Raises NotFoundError if there is no checkpoint, LostPointerError if there is one that has only lost its pointer,
    ReplacedError if others are saving there all the time, LoadError if the directory can't be read, and ValueError for
    wrong arguments.
    """
    check_path(path)
    check_crew(threads, budget)
    directory = Directory(FileSystem(), os.fspath(path))
    try:
        names = [METADATA] if directory.exists(METADATA) else sorted(filter(is_pointer, directory.names()))
    except OSError as error:
        raise LoadError(f"{type(error).__name__}: {error}", Where(directory.place(""))) from error
    if not names:
        raise missing_pointer(directory, METADATA)
    with Crew(threads, budget) as crew:
        for _ in range(_ATTEMPTS):
            verifier = _Verifier(directory, registry or default_registry(), limits)
            verifier.verify(names, crew, progress)
            report = verifier.report(os.fspath(path))
            if report.ok or not verifier.is_replaced():
                return report
    raise ReplacedError(f"the checkpoint was replaced {_ATTEMPTS} times while it was being verified", Where(str(path)))


class _Batch(NamedTuple):
    """Items of one file that lie near each other, each to be checked by itself."""

    file: str
    items: list[StoredItem]


class _Run(NamedTuple):
    """Some chunks of a large item."""

    file: str
    item: StoredItem
    frame: FrameMap
    numbers: range


_Job = FileRecord | _Batch | _Run


class _Found(NamedTuple):
    """What a job has found: `unchecked` are items that no checksum vouches for."""

    problems: list[Problem]
    unchecked: list[str]
    nbytes: int = 0
    items: int = 0


class _Verifier:
    """Verifies one checkpoint, once, which has one pointer, or one for each rank."""

    def __init__(self, directory: Directory, registry: ExtensionRegistry, limits: Limits) -> None:
        self._directory = directory
        self._registry = registry
        self._limits = limits
        self._sealed = True
        self._items: list[StoredItem] = []
        self._files: list[FileRecord] = []
        self._problems: list[Problem] = []
        self._unchecked: set[str] = set()
        self._digests: dict[str, str] = {}

    def verify(self, pointers: Sequence[str], crew: Crew, progress: OnProgress | None) -> None:
        """Check all that the pointers stand for."""
        for pointer in pointers:
            self._open(pointer)
        self._items.sort(key=lambda item: (item.info.relative_path, item.info.offset))
        meter = Meter(progress, sum(item.info.length for item in self._items), len(self._items))
        with closing(crew.map(self._run, self._jobs(), _cost)) as found:
            for one in found:
                self._problems += one.problems
                self._unchecked.update(one.unchecked)
                meter.add(one.nbytes, one.items)

    def is_replaced(self) -> bool:
        """Whether a pointer that was read says something else by now."""
        never_read = any(isinstance(problem.error, ReplacedError) for problem in self._problems)
        return never_read or any(is_replaced(self._directory, *pointer) for pointer in self._digests.items())

    def report(self, path: str) -> Report:
        """What was found."""
        located_in = {problem.file for problem in self._problems if problem.item is not None}
        # A file's hash says only that something in it is wrong: that is left out where it is known what.
        problems = [one for one in self._problems if not (one.begin is None and one.file in located_in)]
        problems = list({(one.file, one.item, one.chunk): one for one in problems}.values())
        missing = {one.file for one in problems if isinstance(one.error, LoadError)}
        lost = {one.item for one in problems} | {i.name for i in self._items if i.info.relative_path in missing}
        names = [item.name for item in self._items]
        return Report(
            path,
            sealed=self._sealed,
            whole=[name for name in names if name not in lost],
            lost=[name for name in names if name in lost],
            unchecked=[name for name in names if name in self._unchecked - lost],
            problems=problems,
            leftovers=_leftovers(path),
            files=len({item.info.relative_path for item in self._items}),
            nbytes=sum(item.info.length for item in self._items),
        )

    def _open(self, pointer: str) -> None:
        try:
            pointed = read_pointer(self._directory, pointer, self._limits.metadata_size, without_manifest=True)
        except DcpxError as error:
            self._sealed = False
            self._problems.append(Problem(pointer, error))
            return
        if pointed.damage is not None:
            self._problems.append(Problem(os.path.basename(pointed.damage.where.file or pointer), pointed.damage))
        self._sealed = self._sealed and pointed.manifest is not None
        self._digests[pointer] = pointed.digest
        self._items += all_items(pointed.metadata, pointed.manifest)
        self._files += [] if pointed.manifest is None else pointed.manifest.files

    def _jobs(self) -> Iterator[_Job]:
        yield from self._files
        for file, items in groupby(self._items, key=lambda item: item.info.relative_path):
            batch: list[StoredItem] = []
            for item in items:
                if item.info.length > _JOB_BYTES and item.is_packed:
                    yield from self._runs(file, item)
                    continue
                batch.append(item)
                if len(batch) == _JOB_ITEMS or sum(item.info.length for item in batch) >= _JOB_BYTES:
                    yield _Batch(file, batch)
                    batch = []
            if batch:
                yield _Batch(file, batch)

    def _runs(self, file: str, item: StoredItem) -> list[_Run]:
        try:
            with located(self._directory.place(file), item.name), self._source(file) as source:
                frame = _frame(source, item)
        except DcpxError as error:
            self._problems.append(_problem(item, error))
            return []
        return [_Run(file, item, frame, run) for run in runs([range(frame.count)], frame, _JOB_BYTES)]

    def _source(self, file: str) -> closing[FileSource]:
        return closing(FileSource(self._directory, file))

    # --- on the workers -----------------------------------------------------------------------------------------------

    def _run(self, job: _Job) -> _Found:
        try:
            if isinstance(job, FileRecord):
                with self._source(job.name) as source:
                    _check_file(source, job)
                return _Found([], [])
            with self._source(job.file) as source:
                if isinstance(job, _Run):
                    return self._check_run(source, job)
                return self._check_batch(source, job)
        except DcpxError as error:
            name = job.name if isinstance(job, FileRecord) else job.file
            return _Found([Problem(name, error)], [])

    def _check_run(self, source: FileSource, job: _Run) -> _Found:
        problems = _check_chunks(source, job.item, job.frame, job.numbers)
        return _Found(
            problems,
            [],
            sum(job.frame.record(number)[1] for number in job.numbers),
            int(job.numbers.stop == job.frame.count),
        )

    def _check_batch(self, source: FileSource, job: _Batch) -> _Found:
        problems: list[Problem] = []
        unchecked = []
        for item in job.items:
            try:
                with located(source.name, item.name):
                    if item.is_packed:
                        frame = _frame(source, item)
                        problems += _check_chunks(source, item, frame, range(frame.count))
                    elif not self._check_stream(source, item):
                        unchecked.append(item.name)
            except DcpxError as error:
                problems.append(_problem(item, error))
        return _Found(problems, unchecked, sum(item.info.length for item in job.items), len(job.items))

    def _check_stream(self, source: FileSource, item: StoredItem) -> bool:
        """Check an item that goes through streams; whether anything vouches for its content."""

        def stored() -> IO[bytes]:
            return source.part(item.info.offset, item.info.length)

        def content() -> IO[bytes]:
            return open_item(stored(), item, self._registry, most)

        item.check_stored(stored())
        most = self._limits.most_bytes(item)
        opened = content()
        framed = frame_of(opened) is not None
        size = 0
        while part := opened.read(_PART):
            size += len(part)
            if size > most:
                raise CorruptError(f"the item unfolds into more than {most} bytes")
        if item.seal is not None or framed:
            return True
        archive = cast(IO[bytes], io.BufferedReader(_Rewindable(content, size)))
        if item.shape is not None:
            check_container(archive)
        return _check_archive(archive)


def _leftovers(path: str) -> list[str]:
    try:
        return [name for one in find_leftovers(path) if one.state != "running" for name in one.names]
    except LoadError:
        return []  # with a pointer that can't be read, nobody knows


def _cost(job: _Job) -> int:
    return _JOB_BYTES


def _problem(item: StoredItem, error: DcpxError) -> Problem:
    """Damage to all of an item, or to whatever the error doesn't name."""
    begin = item.info.offset
    return Problem(item.info.relative_path, error, item.name, error.where.chunk, begin, begin + item.info.length)


def _check_file(source: FileSource, record: FileRecord) -> None:
    """The file must be what the manifest says."""
    source.check_size(record.size)
    hasher = kernels.Xxh3_128()
    buffer = memoryview(bytearray(min(_PART, record.size)))
    for begin in range(0, record.size, _PART):
        part = buffer[: min(_PART, record.size - begin)]
        source.read_into(begin, part)
        hasher.update(part)
    if hasher.hexdigest() != record.xxh3_128:
        raise CorruptError("the file's hash isn't the manifest's", Where(source.name))


def _frame(source: FileSource, item: StoredItem) -> FrameMap:
    """The map of a packed item, which must be the one that was asked for."""
    begin, size = item.info.offset, item.info.length

    def read_at(offset: int, count: int) -> bytes:
        return source.read(begin + offset, count)

    frame = frame_map(item, read_at(0, min(HEAD, size)), read_at, size)
    if item.shape is not None:
        checked_hint(item, frame)
    return frame


def _check_chunks(source: FileSource, item: StoredItem, frame: FrameMap, numbers: Iterable[int]) -> list[Problem]:
    """Read and decode these chunks; the damaged ones."""
    problems = []
    for number in numbers:
        offset, size = frame.record(number)
        begin = item.info.offset + offset
        try:
            with located(source.name, item.name):
                frame.decode(
                    number, memoryview(source.read(begin, size)), memoryview(bytearray(frame.raw_size(number)))
                )
        except DcpxError as error:
            problems.append(Problem(item.info.relative_path, error, item.name, number, begin, begin + size))
    return problems


def _check_archive(content: IO[bytes]) -> bool:
    """Compare the CRC32s of an archive of torch.save, which torch doesn't do when it loads; False if it has none."""
    archive = open_archive(content)
    if not any(archive.crc32.values()):
        return False  # torch was told to leave them out
    for name, (offset, size) in sorted(archive.records.items(), key=lambda record: record[1]):
        content.seek(offset)
        found = 0
        while size > 0:
            part = content.read(min(_PART, size))
            if not part:
                raise TruncatedError("the container ends too early")
            found = zlib.crc32(part, found)
            size -= len(part)
        if found != archive.crc32[name]:
            raise CorruptError(f"the CRC32 of the container's record {name!r} is wrong")
    return True


class _Rewindable(io.RawIOBase):
    """A stream that can seek though what `opened` opens, again and again, only reads onward."""

    def __init__(self, opened: Callable[[], IO[bytes]], size: int) -> None:
        super().__init__()
        self._opened = opened
        self._size = size
        self._stream = opened()
        self._at = 0  # in the stream
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._position < self._at:
            self._stream, self._at = self._opened(), 0
        while self._at < self._position:
            skipped = len(self._stream.read(min(_PART, self._position - self._at)))
            if skipped == 0:
                return 0
            self._at += skipped
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        self._at += len(part)
        self._position = self._at
        return len(part)
