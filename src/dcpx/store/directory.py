"""Directory: the few things that are done with a checkpoint's files, and in which order they reach the disk."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemBase

from ..dcp.private import list_directory
from ..errors import DcpxError, LimitError, SaveError, Where
from .sink import FileSink

__all__ = ["Directory", "saving_to"]

_PART = 4 << 20
"""Bytes of a file that are read at once."""


class Directory:
    """A checkpoint's directory on a local file system or, through DCP's FileSystemBase, in another store.

    With `sync` what was written is on the disk when a method returns; a store is trusted to keep what it took. All
    names are plain names within the directory. Errors are those of the file system, OSError in general.
    """

    def __init__(self, fs: FileSystemBase, path: Any, *, sync: bool = True) -> None:
        self._fs = fs
        self._path = path
        self._local = isinstance(fs, FileSystem)
        self._sync = sync

    def place(self, name: str) -> str:
        """Where a file lies, for an error."""
        return str(self._fs.concat_path(self._path, name))

    def open(self, name: str, mode: str) -> AbstractContextManager[IO[bytes]]:
        """A file as a stream, `rb` or `wb`. What is read must be a regular file: others may never end, or begin."""
        if self._local and mode == "rb":
            self.size(name)
        stream = self._fs.create_stream(self._fs.concat_path(self._path, name), mode)
        return cast(AbstractContextManager[IO[bytes]], stream)

    def make(self) -> None:
        """Make the directory, and those above it, unless they exist."""
        self._fs.mkdir(self._path)

    def sync_path(self) -> None:
        """Make durable that the directory exists, and those above it on the same disk: whoever made them may have died
        before."""
        if not (self._sync and self._local):
            return
        path = Path(self._path).absolute()
        device = os.stat(path).st_dev
        for parent in path.parents:
            if os.stat(parent).st_dev != device:
                break
            _sync_directory(parent)

    def names(self) -> list[str]:
        """The names of all that is in the directory; none if there is no directory."""
        if not self._fs.exists(self._path):
            return []
        return [os.path.basename(os.fspath(path).rstrip("/")) for path in list_directory(self._fs, self._path)]

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._fs.exists(self._fs.concat_path(self._path, name))

    def size(self, name: str) -> int:
        """A file's size in bytes."""
        if self._local:
            found = os.stat(self.place(name))
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", self.place(name))
            return found.st_size
        with self.open(name, "rb") as stream:
            return stream.seek(0, os.SEEK_END)

    def read(self, name: str, limit: int) -> bytes:
        """A whole file. LimitError if it has more than `limit` bytes."""
        parts: list[bytes] = []
        room = limit
        with self.open(name, "rb") as stream:
            while part := stream.read(min(room + 1, _PART)):  # memory is taken only for what is there
                if len(part) > room:
                    raise LimitError(f"the file has more than {limit} bytes", Where(self.place(name)))
                room -= len(part)
                parts.append(part)
        return b"".join(parts)

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a whole file, which nothing refers to yet. Without `durable` a crash of the machine may lose it."""
        with self.open(name, "wb") as stream:
            sink = FileSink(stream, writeback=False)
            sink.write(data)
            sink.flush()
            if self._sync and durable:
                sink.sync()

    def publish(self, name: str, data: bytes, temporary: str, *, replace: bool) -> None:
        """Write a file that others are waiting for: at every moment there is what was there before, or all of `data`.

        A local file is moved there from `temporary`; a store shows a file only once it is complete. It is durable after
        the next `sync`. Without `replace`, FileExistsError if there is such a file, as far as the file system can tell
        and move at once.
        """
        if not self._local:
            self.write(name, data)
            return
        self.write(temporary, data)
        if replace:
            self._fs.rename(self._fs.concat_path(self._path, temporary), self._fs.concat_path(self._path, name))
        else:
            _move_to_new(self.place(temporary), self.place(name))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._fs.rm_file(self._fs.concat_path(self._path, name))

    def sync(self) -> None:
        """Make durable which files there are, and under which names."""
        if self._sync and self._local:
            _sync_directory(Path(self._path))


_REFUSALS = frozenset(
    getattr(errno, name)
    for name in ("EACCES", "EBADF", "EINVAL", "EISDIR", "ENOSYS", "ENOTSUP", "ENOTTY", "EOPNOTSUPP", "EPERM")
)
"""What a system says of a call that it doesn't have, or doesn't allow: nothing was done, and nothing is broken."""


def _move_to_new(source: str, target: str) -> None:
    """Rename a file unless the target exists, which is FileExistsError: in one step where the system has one, else by
    a link, else by looking before."""
    for move in (_rename_to_new, _link_to_new):
        try:
            return move(source, target)
        except OSError as error:
            if error.errno not in {*_REFUSALS, errno.EMLINK}:
                raise
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)


def _rename_to_new(source: str, target: str) -> None:
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
    if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _link_to_new(source: str, target: str) -> None:
    os.link(source, target)
    with suppress(OSError):  # it is in place: a second name does no harm
        os.unlink(source)


_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]


def _sync_directory(path: Path) -> None:
    """Make a directory's entries durable, on a file system that has a call for that."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise


@contextmanager
def saving_to(place: str) -> Iterator[None]:
    """Errors of the block, which writes to `place`, are dcpx's and name it."""
    try:
        yield
    except DcpxError as error:
        raise error.located(place) from error.__cause__
    except OSError as error:
        raise SaveError(f"{type(error).__name__}: {error}", Where(place)) from error
