"""The store behind DCP's storage classes: dcpx's own by its address, or whatever file system somebody gave to them."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any, cast

from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemBase

from ..store.address import StorageOptions, is_address, normal_path, open_store
from ..store.contract import Entry, ObjectReader, ObjectWriter, Store, read_limited
from ..store.local import LocalStore
from ..streams import write_all
from .private import list_directory

__all__ = ["FileSystemStore", "Storage", "StreamReader", "StreamWriter", "store_of"]


class Storage(FileSystem):
    """What dcpx's Writer and Reader have for a file system: torch's own for a local path, and any store's address."""

    def __init__(self, storage_options: StorageOptions | None = None, *, through_fsspec: bool = False) -> None:
        super().__init__()
        self.storage_options = storage_options
        self.through_fsspec = through_fsspec
        self._opened: tuple[Any, bool, Store] | None = None

    def init_path(self, path: str | os.PathLike[str]) -> Any:
        return normal_path(path)

    def check(self, path: Any) -> None:
        """Raise for an address or options that no store can be opened with, as `open_store` does."""
        if is_address(path):
            self.store_at(path, sync=True)

    def store_at(self, path: Any, *, sync: bool) -> Store:
        """The store of this path or address, opened once: its connections are kept."""
        if self._opened is None or self._opened[:2] != (path, sync):
            options, fsspec = self.storage_options, self.through_fsspec
            store = open_store(path, sync=sync, storage_options=options, through_fsspec=fsspec)
            self._opened = path, sync, store
        return self._opened[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}  # another process has connections of its own


def store_of(fs: FileSystemBase, path: Any, *, sync: bool = True) -> Store:
    """The store behind a storage class of DCP's, whose `fs` and `path` these are: dcpx's own for the file system that
    torch gives it, else one whose files go through that of somebody else."""
    if isinstance(fs, Storage):
        return fs.store_at(path, sync=sync)
    if type(fs) is FileSystem:
        return open_store(os.fspath(path), sync=sync)
    if isinstance(fs, FileSystem):
        return _StreamedLocalStore(fs, path, sync=sync)
    return FileSystemStore(fs, path, sync=sync)


class FileSystemStore(Store):
    """A directory of a file system that DCP knows, through its streams.

    It is trusted to keep what it took, to show a file only once its stream is closed, and to replace a whole file by
    another at once. It doesn't know whether a file is new.
    """

    def __init__(self, fs: FileSystemBase, path: Any, *, sync: bool = True) -> None:
        self._fs = fs
        self._path = path
        self._sync = sync

    def place(self, name: str) -> str:
        return str(self._at(name))

    def names(self) -> list[str]:
        if not self._fs.exists(self._path):
            return []
        return [os.path.basename(os.fspath(path).rstrip("/")) for path in list_directory(self._fs, self._path)]

    def entries(self, wanted: Callable[[str], bool]) -> dict[str, Entry]:
        raise OSError(errno.ENOTSUP, "DCP's file systems don't say when a file was written to", self.place(""))

    def folders(self) -> list[str]:
        raise OSError(errno.ENOTSUP, "DCP's file systems don't say what is a folder", self.place(""))

    def exists(self, name: str) -> bool:
        return self._fs.exists(self._at(name))

    def size(self, name: str) -> int:
        with self._stream(name, "rb") as stream:
            return stream.seek(0, os.SEEK_END)

    def open(self, name: str) -> ObjectReader:
        return StreamReader(self._stream(name, "rb"))

    def read(self, name: str, limit: int) -> bytes:
        with self._stream(name, "rb") as stream:
            return read_limited(stream.read, limit, self.place(name))

    def make(self) -> None:
        self._fs.mkdir(self._path)

    def create(self, name: str, *, durable: bool = True) -> ObjectWriter:
        place = self._at(name)
        sync = self._sync and durable
        return StreamWriter(self._stream(name, "wb"), str(place), lambda: self._fs.rm_file(place), sync=sync)

    def publish(self, name: str, data: bytes, temporary: str, *, replace: bool) -> None:
        self.write(name, data)

    def remove(self, name: str) -> None:
        self._fs.rm_file(self._at(name))

    def _at(self, name: str) -> Any:
        return self._fs.concat_path(self._path, name)

    def _stream(self, name: str, mode: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        stream = self._fs.create_stream(self._at(name), mode)
        return cast(contextlib.AbstractContextManager[IO[bytes]], stream)


class _StreamedLocalStore(FileSystemStore):
    """A local directory whose files are streams of somebody's subclass of torch's local file system."""

    def __init__(self, fs: FileSystem, path: Any, *, sync: bool = True) -> None:
        super().__init__(fs, path, sync=sync)
        self._local = LocalStore(path, sync=sync)

    def size(self, name: str) -> int:
        return self._local.size(name)

    def open(self, name: str) -> ObjectReader:
        self.size(name)  # what isn't a regular file may never end, or begin
        return super().open(name)

    def read(self, name: str, limit: int) -> bytes:
        self.size(name)
        return super().read(name, limit)

    def publish(self, name: str, data: bytes, temporary: str, *, replace: bool) -> None:
        self.write(temporary, data)
        self._local.move(temporary, name, replace=replace)

    def sync(self) -> None:
        self._local.sync()

    def sync_root(self) -> None:
        self._local.sync_root()


class StreamReader(ObjectReader):
    """Any seekable stream that can `readinto`, read by one thread at a time; entered by this, and left by `close`."""

    def __init__(self, stream: contextlib.AbstractContextManager[IO[bytes]]) -> None:
        self._stack = contextlib.ExitStack()
        self._stream: Any = self._stack.enter_context(stream)
        self._lock = threading.Lock()

    def read_into(self, offset: int, buffer: memoryview) -> int:
        done = 0
        with self._lock:
            self._stream.seek(offset)
            while done < len(buffer) and (count := self._stream.readinto(buffer[done:])):
                done += count
        return done

    def close(self) -> None:
        self._stack.close()


class StreamWriter(ObjectWriter):
    """Any stream, entered by this, that gets one `write` of many bytes at a time; `remove` undoes what it has written.
    With `sync` a file beneath it, where it names one, is on the disk before it is closed."""

    def __init__(
        self,
        stream: contextlib.AbstractContextManager[IO[bytes]],
        place: str,
        remove: Callable[[], object],
        *,
        sync: bool = True,
    ) -> None:
        self.place = place
        self._stack = contextlib.ExitStack()
        self._stream = self._stack.enter_context(stream)
        self._remove = remove
        self._sync = sync

    def write(self, parts: Sequence[memoryview]) -> None:
        write_all(self._stream, parts[0] if len(parts) == 1 else b"".join(parts))

    def finish(self) -> None:
        with self._stack:
            self._stream.flush()
            if self._sync:
                with contextlib.suppress(AttributeError, io.UnsupportedOperation):
                    os.fsync(self._stream.fileno())

    def discard(self) -> None:
        with contextlib.suppress(Exception):
            self._stack.close()
        self._remove()
