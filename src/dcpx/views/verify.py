"""`verify`: reads all of a checkpoint, holds it against every checksum there is, and says what is wrong, and where."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import groupby
from typing import IO, NamedTuple, cast

from ..catalog.containers import open_item, read_object
from ..catalog.frames import checked_hint, runs
from ..catalog.items import StoredItem, all_items, place_of
from ..catalog.leftovers import leftovers_in
from ..catalog.limits import Limits
from ..catalog.manifest import FileRecord
from ..catalog.plain import PLAIN
from ..catalog.pointer import is_replaced, read_pointer
from ..catalog.rewindable import Rewindable
from ..errors import CorruptError, DcpxError, LoadError, MissingFileError, ReplacedError, Where
from ..frame import frame_of
from ..frame.map import FrameMap
from ..located import extension_errors, reading
from ..parallel import DEFAULT_BUDGET, Crew, check_crew
from ..pickles.archive import open_archive
from ..pickles.containers import check_container
from ..pickles.objects import check_object
from ..pickles.trust import SafeGlobal, Trust
from ..progress import Meter, OnProgress, telling
from ..registry import ExtensionRegistry, default_registry
from ..store.address import StorageOptions, open_store, shown_path
from ..store.contract import Store
from ..store.source import FileSource, Find, nothing
from .checks import check_chunks, check_file, check_size, checked_frame, distinct, is_direct, problem_of
from .findings import Problem, Report
from .opened import pointers_in

__all__ = ["verify"]

_WINDOW, _FAR = 1 << 20, 8 << 20
"""Bytes that are read at once: few, which stay in the processor's cache until they are hashed, and from afar many."""

_LARGE = 8 << 20
"""Bytes of an item from which on its chunks are checked apart from each other."""

_ITEMS = 256
"""Items of one window."""

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
    safe_globals: Sequence[SafeGlobal] = (),
    trust: bool = False,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    quick: bool = False,
    progress: bool | OnProgress = False,
    storage_options: StorageOptions | None = None,
) -> Report:
    """Read the whole checkpoint at `path`, in one process, and check it against all checksums that it has.

    Those are, of what dcpx wrote, the manifest's, of every file and item, and those of every chunk; of stock
    checkpoints the CRC32s of torch's archives, which torch doesn't look at, and those of the extensions. Damage isn't
    raised but listed in the report, with what can still be loaded; and apart from it what a load with the same
    `registry`, `safe_globals`, `trust` and `limits` would refuse, found by the same checks. Needs no torch and makes
    nothing of what is stored: what only this machine's torch, device or version of a class refuses, it can't know.
    These arguments, `storage_options`, `threads` and `budget` are those of `Reader`; an object is held as a whole.
    `progress` is True for a bar in the terminal, or a function that is called with a `Progress`, which counts stored
    bytes and items. With `quick` only the files' names and sizes, the manifest, and of dcpx's frames the header and the
    index are held against each other: nothing that is stored is read, and may be damaged.

    Raises NotFoundError if there is no checkpoint, LostPointerError if there is one that has only lost its pointer,
    ReplacedError if others are saving there all the time, LoadError if the directory can't be read, and ValueError for
    wrong arguments.
    """
    check_crew(threads, budget)
    with reading(shown_path(path), foreign=OSError):
        store = open_store(path, storage_options=storage_options)
    names = pointers_in(store)
    with telling(progress, f"verifying {shown_path(path)}") as tell, Crew(threads, budget) as crew:
        for _ in range(_ATTEMPTS):
            verifier = _Verifier(store, registry or default_registry(), Trust(safe_globals, trust), limits, quick)
            verifier.verify(names, crew, tell)
            report = verifier.report(shown_path(path))
            if report.ok or not verifier.is_replaced():
                return report
    raise ReplacedError(
        f"the checkpoint was replaced {_ATTEMPTS} times while it was being verified", Where(shown_path(path))
    )


class _Window(NamedTuple):
    """A part of a file that is read at once, and the items in it; or some chunks of one item, where `frame` is given.
    What begins where it ends isn't read at once: each item in it reads for itself. Of `copies`, items that are where
    one is that is read in another window, only what tells them apart is looked at."""

    file: str
    begin: int
    end: int
    items: list[StoredItem]
    frame: FrameMap | None = None
    numbers: range = range(0)
    copies: bool = False


class _Found(NamedTuple):
    """What there is to say of a window, and its bytes where they were read: `unchecked` are items that no checksum
    vouches for."""

    window: _Window
    problems: list[Problem]
    unchecked: list[str]
    nbytes: int = 0
    items: int = 0
    memory: memoryview = memoryview(b"")


class _Verifier:
    """Verifies one checkpoint, once, which has one pointer, or one for each rank."""

    def __init__(self, store: Store, registry: ExtensionRegistry, trust: Trust, limits: Limits, quick: bool) -> None:
        self._store = store
        self._registry = registry
        self._trust = trust
        self._limits = limits
        self._quick = quick
        self._window = _FAR if store.connections else _WINDOW
        self._sealed = True
        self._items: list[StoredItem] = []
        self._files: dict[str, FileRecord] = {}
        self._problems: list[Problem] = []
        self._unchecked: set[str] = set()
        self._digests: dict[str, str] = {}
        self._spare: list[bytearray] = []  # what windows were read into, the last one on top, as the cache has it

    def verify(self, pointers: Sequence[str], crew: Crew, progress: OnProgress | None) -> None:
        """Check all that the pointers stand for."""
        for pointer in pointers:
            self._open(pointer)
        self._items.sort(key=lambda item: (item.info.relative_path, item.info.offset))
        meter = Meter(progress, _stored_bytes(self._items), len(self._items))
        with closing(crew.map(self._run, self._windows(), _cost)) as found:
            for file, windows in groupby(found, key=lambda one: one.window.file):
                parts = self._counted(windows, meter)
                try:
                    self._check_file(file, parts)
                except DcpxError as error:
                    self._problems.append(Problem(file, error))
                for _ in parts:
                    """What is left of the file where that has failed."""

    def _counted(self, windows: Iterator[_Found], meter: Meter) -> Iterator[tuple[int, memoryview]]:
        """The bytes of the windows, of which what was found is put down."""
        for one in windows:
            self._problems += one.problems
            self._unchecked.update(one.unchecked)
            meter.add(one.nbytes, one.items)
            yield one.window.begin, one.memory
            if one.memory:
                self._spare.append(cast(bytearray, one.memory.obj))

    def _check_file(self, file: str, parts: Iterator[tuple[int, memoryview]]) -> None:
        """Hold a file against the manifest, in this thread, since its bytes are hashed in their order: so each is read
        only once, which counts where it comes from afar."""
        record = self._files.get(file)
        if record is not None:
            with self._source(file) as source:
                check_size(source, record) if self._quick else check_file(source, record, parts)

    def is_replaced(self) -> bool:
        """Whether a pointer that was read says something else by now."""
        never_read = any(isinstance(problem.error, ReplacedError) for problem in self._problems)
        return never_read or any(is_replaced(self._store, *pointer) for pointer in self._digests.items())

    def report(self, path: str) -> Report:
        """What was found."""
        found = self._shared(self._problems)
        damage = [one for one in found if isinstance(one.error, CorruptError)]
        located_in = {one.file for one in damage if one.item is not None}
        in_chunks = {one.item for one in damage if one.chunk is not None}
        # What a file's hash or a whole item says is left out where it is known which part of it is wrong.
        damage = [one for one in damage if one.begin is not None or one.file not in located_in]
        damage = [one for one in damage if one.chunk is not None or one.item not in in_chunks]
        damage = distinct(damage)
        lost = self._names(damage, MissingFileError)
        refusals = distinct(one for one in found if not isinstance(one.error, CorruptError))
        refused = self._names(refusals, LoadError) - lost
        names = [item.name for item in self._items]
        return Report(
            path,
            sealed=self._sealed,
            quick=self._quick,
            whole=[name for name in names if name not in lost | refused],
            lost=[name for name in names if name in lost],
            refused=[name for name in names if name in refused],
            unchecked=[name for name in names if name in self._unchecked - lost - refused],
            problems=damage,
            refusals=refusals,
            leftovers=_leftovers(self._store),
            files=len({item.info.relative_path for item in self._items}),
            nbytes=_stored_bytes(self._items),
        )

    def _shared(self, problems: list[Problem]) -> list[Problem]:
        """The problems, those of chunks for every item that is where the one is that they name. All else is found out
        of each item by itself."""
        names: dict[tuple[str, int, int], list[str]] = {}
        for item in self._items:
            if item.together:
                names.setdefault(place_of(item.info), []).append(item.name)
        others = {(place[0], name): same for place, same in names.items() for name in same}
        return [
            one if name == one.item else replace(one, item=name, error=_of_item(one.error, name))
            for one in problems
            for name in ([one.item] if one.chunk is None else others.get((one.file, one.item or ""), [one.item]))
        ]

    def _names(self, problems: list[Problem], of_files: type[DcpxError]) -> set[str]:
        """The items that these are about, and all in the files of which nothing could be read for such an error."""
        files = {one.file for one in problems if one.item is None and isinstance(one.error, of_files)}
        return {one.item for one in problems if one.item is not None} | {
            item.name for item in self._items if item.info.relative_path in files
        }

    def _open(self, pointer: str) -> None:
        try:
            pointed = read_pointer(self._store, pointer, PLAIN, self._limits.metadata_size, without_manifest=True)
        except DcpxError as error:
            self._sealed = False
            self._problems.append(Problem(pointer, error))
            return
        if pointed.damage is not None:
            self._problems.append(Problem(os.path.basename(pointed.damage.where.file or pointer), pointed.damage))
        self._sealed = self._sealed and pointed.manifest is not None
        self._digests[pointer] = pointed.digest
        self._items += all_items(pointed.metadata, pointed.manifest)
        for record in [] if pointed.manifest is None else pointed.manifest.files:
            self._files.setdefault(record.name, record)

    def _windows(self) -> Iterator[_Window]:
        by_file: dict[str, list[StoredItem]] = {name: [] for name in self._files}
        for item in self._items:
            by_file.setdefault(item.info.relative_path, []).append(item)
        for file, items in by_file.items():
            yield _Window(file, 0, 0, [])
            batch: list[StoredItem] = []
            end = 0  # of the batch, with the item
            seen: set[tuple[str, int, int]] = set()
            copies: list[StoredItem] = []
            for item in items:
                if item.together and item.is_packed:
                    if place_of(item.info) in seen:
                        copies.append(item)
                        continue
                    seen.add(place_of(item.info))
                end = max(end, _end(item)) if batch else _end(item)
                large = item.info.length > _LARGE and not self._quick
                far = bool(batch) and end - batch[0].info.offset > self._window and not self._quick
                if batch and (large or len(batch) == _ITEMS or far):
                    yield self._batch(file, batch)
                    batch, end = [], _end(item)
                if large:
                    yield from self._runs(file, item) if item.is_packed else [_Window(file, 0, 0, [item])]
                else:
                    batch.append(item)
            if batch:
                yield self._batch(file, batch)
            if copies:
                yield _Window(file, 0, 0, copies, copies=True)

    def _batch(self, file: str, items: list[StoredItem]) -> _Window:
        """Small items that lie near each other."""
        begin, end = (0, 0) if self._quick else (items[0].info.offset, max(map(_end, items)))
        return _Window(file, begin, end, items)

    def _runs(self, file: str, item: StoredItem) -> list[_Window]:
        """The chunks of a large item."""
        frame: FrameMap | None = None
        try:
            with reading(self._store.place(file), item.name), self._source(file) as source:
                frame = checked_frame(source, item)
                self._check_content(source, item, frame)
        except DcpxError as error:
            self._problems.append(problem_of(item, error))
            if frame is None:
                return []
        found = []
        for run in runs([range(frame.count)], frame, self._window):
            begin = item.info.offset + frame.record(run.start)[0]
            end = item.info.offset + sum(frame.record(run.stop - 1))
            found.append(_Window(file, begin, end, [item], frame, run))
        return found

    def _source(self, file: str, find: Find = nothing) -> closing[FileSource]:
        return closing(FileSource(self._store, file, find))

    # --- on the workers -----------------------------------------------------------------------------------------------

    def _run(self, window: _Window) -> _Found:
        memory = memoryview(b"")

        def find(name: str, offset: int, size: int) -> memoryview | None:
            begin = offset - window.begin
            return memory[begin : begin + size] if 0 <= begin <= len(memory) - size else None

        try:
            with self._source(window.file, find) as source:
                if window.end > window.begin:
                    with suppress(DcpxError):  # then each item says what is wrong with it
                        memory = self._read(source, window.begin, window.end - window.begin)
                if window.frame is not None:
                    found = self._check_run(source, window, window.frame)
                else:
                    found = self._check_batch(source, window)
                return found._replace(memory=memory)
        except DcpxError as error:
            return _Found(window, [Problem(window.file, error)], [])

    def _read(self, source: FileSource, begin: int, size: int) -> memoryview:
        try:
            spare = self._spare.pop()
        except IndexError:
            spare = bytearray()
        memory = memoryview(spare if len(spare) >= size else bytearray(size))[:size]
        source.read_into(begin, memory)
        return memory

    def _check_run(self, source: FileSource, window: _Window, frame: FrameMap) -> _Found:
        (item,) = window.items
        problems = check_chunks(source, item, frame, window.numbers)
        nbytes = sum(frame.record(number)[1] for number in window.numbers)
        return _Found(window, problems, [], nbytes, int(window.numbers.stop == frame.count))

    def _check_batch(self, source: FileSource, window: _Window) -> _Found:
        problems: list[Problem] = []
        unchecked = []
        for item in window.items:
            try:
                with reading(source.name, item.name):
                    if self._quick or window.copies:
                        self._check_place(source, item)
                    elif item.is_packed:
                        frame = checked_frame(source, item)
                        damage = check_chunks(source, item, frame, range(frame.count))
                        problems += damage
                        if not damage:
                            self._check_content(source, item, frame)
                    elif not self._check_stream(source, item):
                        unchecked.append(item.name)
            except DcpxError as error:
                problems.append(problem_of(item, error))
        nbytes = 0 if window.copies else _stored_bytes(window.items)
        return _Found(window, problems, unchecked, nbytes, len(window.items))

    def _check_place(self, source: FileSource, item: StoredItem) -> None:
        """Check that an item is there, and of a frame the header and the index, which say which item it is."""
        if item.is_packed:
            checked_frame(source, item)
        elif item.info.length > 0:
            source.read(item.info.offset + item.info.length - 1, 1)

    def _check_content(self, source: FileSource, item: StoredItem, frame: FrameMap) -> None:
        """Check that a load takes what the frame holds: an object, or a container that isn't dcpx's own."""
        if item.shape is not None:
            hint = checked_hint(item, frame)
            if hint is not None and is_direct(source, item, frame, hint):
                return
        if item.shape is None:
            self._check_object(source.part(item.info.offset, item.info.length), item)
        else:
            self._check_tensor(source, item)

    def _check_stream(self, source: FileSource, item: StoredItem) -> bool:
        """Check an item that goes through streams; whether anything vouches for its content."""
        item.check_stored(source.part(item.info.offset, item.info.length))
        if item.shape is None:
            return self._check_object(source.part(item.info.offset, item.info.length), item)
        return self._check_tensor(source, item)

    def _check_object(self, stored: IO[bytes], item: StoredItem) -> bool:
        """Check an object as a load does; whether anything vouches for its content."""
        content = read_object(stored, item, self._registry, self._limits.most_bytes(item))
        vouched = item.seal is not None or item.is_packed or open_archive(io.BytesIO(content)).check_crc32()
        if not self._trust.all:
            check_object(io.BytesIO(content), len(content), self._trust.safe_globals)
        return vouched

    def _check_tensor(self, source: FileSource, item: StoredItem) -> bool:
        """Read all of a tensor's container, of which only a part is held at any time, and check it as a load does;
        whether anything vouches for its content."""

        def content() -> IO[bytes]:
            return open_item(source.part(item.info.offset, item.info.length), item, self._registry, most)

        most = self._limits.most_bytes(item)
        with extension_errors():
            opened = content()
            framed = frame_of(opened) is not None
            size = 0
            while part := opened.read(_PART):
                size += len(part)
                if size > most:
                    raise CorruptError(f"the item unfolds into more than {most} bytes")
            container = cast(IO[bytes], io.BufferedReader(Rewindable(content, size)))
            vouched = item.seal is not None or framed or open_archive(container).check_crc32()
            check_container(container, self._trust, described=item.check_tensor)
        return vouched


def _leftovers(store: Store) -> list[str]:
    try:
        return [name for one in leftovers_in(store) if one.state != "running" for name in one.names]
    except LoadError:
        return []  # with a pointer that can't be read, nobody knows


def _of_item(error: DcpxError, name: str | None) -> DcpxError:
    return type(error)(error.cause, replace(error.where, item=name), error.remedy)


def _stored_bytes(items: Iterable[StoredItem]) -> int:
    return sum(length for _, _, length in {place_of(item.info) for item in items})


def _end(item: StoredItem) -> int:
    return item.info.offset + item.info.length


def _cost(window: _Window) -> int:
    """What a job may hold: what is read at once, or parts of it, and the objects that it holds against what a load
    takes."""
    objects = (item.info.length for item in window.items if item.shape is None)
    return max(window.end - window.begin, _LARGE) + max(objects, default=0)
