"""LocalStore: local directories, the first keeper of the contract, by the system's own calls."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .. import kernels
from .contract import ChunkJob, Entry, ObjectReader, ObjectWriter, Store, read_limited
from .directory import move_to_new, sync_directory
from .parts import split_parts

__all__ = ["LocalStore"]


class LocalStore(Store):
    """A directory of a local file system, or of one that is mounted; objects are its regular files, and links to such.

    Without `sync` nothing is durable: the system writes it when it likes. An object appears in part while it is
    written; it is published by a move.
    """

    def __init__(self, path: str | os.PathLike[str], *, sync: bool = True) -> None:
        self._path = Path(path)
        self._sync = sync

    def place(self, name: str) -> str:
        return str(self._path / name)

    def names(self) -> list[str]:
        try:
            return os.listdir(self._path)
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            if _is_there(self.place("")):
                raise
            return []  # the file lies further up

    def entries(self, wanted: Callable[[str], bool]) -> dict[str, Entry]:
        found = {}
        with os.scandir(self._path) as entries:
            for entry in entries:
                if wanted(entry.name):
                    with suppress(FileNotFoundError):  # it is gone already
                        status = entry.stat(follow_symlinks=False)
                        link = stat.S_ISLNK(status.st_mode)
                        if link or stat.S_ISREG(status.st_mode):
                            found[entry.name] = Entry(status.st_size, status.st_mtime, link)
        return found

    def folders(self) -> list[str]:
        try:
            with os.scandir(self._path) as entries:
                return [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []

    def exists(self, name: str) -> bool:
        return _is_there(self.place(name))

    def size(self, name: str) -> int:
        return _size(self.place(name))

    def open(self, name: str) -> ObjectReader:
        return _FileReader(self.place(name))

    def read(self, name: str, limit: int) -> bytes:
        place = self.place(name)
        with _opened(place) as file:
            return read_limited(file.read, limit, place)

    def make(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)

    def create(self, name: str, *, durable: bool = True) -> ObjectWriter:
        return _FileWriter(self.place(name), sync=self._sync and durable)

    def publish(self, name: str, data: bytes, temporary: str, *, replace: bool) -> None:
        self.write(temporary, data)
        self.move(temporary, name, replace=replace)

    def move(self, temporary: str, name: str, *, replace: bool) -> None:
        """The move of `publish`, after which, or after an error, `temporary` is gone."""
        source, target = self.place(temporary), self.place(name)
        try:
            if replace:
                os.rename(source, target)
            else:
                move_to_new(source, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(source)
            raise

    def remove(self, name: str) -> None:
        os.unlink(self.place(name))

    def sync(self) -> None:
        if self._sync:
            sync_directory(self._path)

    def sync_root(self) -> None:
        if not self._sync:
            return
        path = self._path.absolute()
        device = os.stat(path).st_dev
        for parent in path.parents:  # whoever made them may have died before
            if os.stat(parent).st_dev != device:
                break
            sync_directory(parent)


def _size(place: str) -> int:
    found = os.stat(place)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", place)
    return found.st_size


def _opened(place: str) -> io.FileIO:
    try:
        _size(place)  # what isn't a regular file may never end, or begin
        return io.FileIO(place)
    except NotADirectoryError as error:  # nothing that could hold it: a file lies where its directory would
        raise FileNotFoundError(error.errno, error.strerror, place) from error


def _is_there(place: str) -> bool:
    try:
        os.stat(place)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False
    return True


# --- one file ---------------------------------------------------------------------------------------------------------


class _FileReader(ObjectReader):
    """A file that is read side by side, and by the kernels themselves."""

    reads_chunks = True

    def __init__(self, place: str) -> None:
        self._file = _opened(place)
        self._descriptor = self._file.fileno()

    def read_into(self, offset: int, buffer: memoryview) -> int:
        done = 0
        while done < len(buffer) and (count := os.preadv(self._descriptor, [buffer[done:]], offset + done)):
            done += count
        return done

    def read_chunks(self, jobs: list[ChunkJob]) -> list[int]:
        return kernels.read_chunks(self._descriptor, jobs)

    def close(self) -> None:
        self._file.close()


_MOST_PARTS = 1024
"""Of one call: IOV_MAX of Linux."""

_HINTED = 64 << 10
"""Bytes of a write from which on the kernel is asked to begin storing them: for fewer the call doesn't pay."""

_LARGE = 1 << 20
"""Bytes of a write from which on room is set aside for what follows."""

_RESERVED = 64 << 20
"""Bytes for which room is set aside at once."""


class _FileWriter(ObjectWriter):
    """A file that is written by `writev`, without another copy. With `sync` the kernel is asked to begin storing each
    large write at once: otherwise all would wait for the fsync.

    On a device room is set aside ahead of large writes: the kernel looks for it page by page otherwise, which takes a
    third of a write's time."""

    def __init__(self, place: str, *, sync: bool) -> None:
        self.place = place
        self._sync = sync
        self._file = io.FileIO(place, "w")
        self._descriptor = self._file.fileno()
        self._stored = 0
        # In memory it would take longer, and across a network nobody knows.
        self._on_device = os.major(os.fstat(self._descriptor).st_dev) != 0
        self._reserved = 0

    def write(self, parts: Sequence[memoryview]) -> None:
        size = sum(map(len, parts))
        if self._on_device and size >= _LARGE and (lacking := self._stored + size - self._reserved) > 0:
            room = max(lacking, _RESERVED)
            _set_aside(self._descriptor, self._reserved, room)
            self._reserved += room
        _write_parts(self._descriptor, parts)
        if self._sync and size >= _HINTED:
            _begin_writeback(self._descriptor, self._stored, size)
        self._stored += size

    def finish(self) -> None:
        with self._file:
            if self._reserved > self._stored:
                os.ftruncate(self._descriptor, self._stored)  # gives back the room that wasn't needed
            if self._sync:
                os.fsync(self._descriptor)

    def discard(self) -> None:
        with suppress(OSError):
            self._file.close()
        os.unlink(self.place)


def _write_parts(descriptor: int, parts: Sequence[memoryview]) -> None:
    """Write all of `parts`, again and again while the system takes only a part of them."""
    while parts:
        taken = os.writev(descriptor, parts[:_MOST_PARTS])
        if taken <= 0:
            raise OSError(f"the file took {taken} of {sum(map(len, parts))} bytes")
        _, parts = split_parts(parts, taken)


def _begin_writeback(descriptor: int, offset: int, size: int) -> None:
    """Ask the kernel to start storing this range; a hint, whose failure means nothing."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, size, 2)  # SYNC_FILE_RANGE_WRITE


def _set_aside(descriptor: int, offset: int, size: int) -> None:
    """Ask the kernel for room for this range of a file, which grows no longer by it; a hint as well."""
    if _fallocate is not None:
        _fallocate(descriptor, 1, offset, size)  # FALLOC_FL_KEEP_SIZE


_sync_file_range = _fallocate = None
if sys.platform == "linux":
    _sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
    _fallocate = getattr(ctypes.CDLL(None), "fallocate", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
