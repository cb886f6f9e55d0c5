"""RemoteStore: every store that fsspec knows and that isn't kept better elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import LimitError, UnsupportedError, Where
from .contract import Entry, ObjectReader, ObjectWriter, Store
from .masked import masked, masked_cause

try:
    import fsspec
    from fsspec.core import url_to_fs
except ImportError as error:
    raise UnsupportedError(
        "the package fsspec, through which this store is reached, can't be imported",
        remedy="Install it: pip install 'dcpx[cloud]'",
    ) from error

__all__ = ["RemoteStore"]


class RemoteStore(Store):
    """A directory of a file system of fsspec's.

    It is trusted to keep what it took once the file is closed. A file system that can rename publishes by that; another
    one is trusted to show a file once it is closed, and whole. Whether there is one already is asked before, and by the
    store itself where it can.
    """

    connections = 16

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        """ValueError for an address or for options that fsspec doesn't know, UnsupportedError where the package isn't
        installed that knows such a store, OSError where one that is asked at once can't be reached."""
        self._address = masked(address.rstrip("/"))
        try:
            self._fs, path = url_to_fs(address, **options)
        except ImportError as error:
            raise UnsupportedError(
                f"{self._address}: {masked(str(error))}", remedy="Install what it names"
            ) from masked_cause(error)
        except OSError as error:
            raise OSError(f"the store can't be reached: {masked(str(error))}") from masked_cause(error)
        except Exception as error:  # noqa: BLE001 (each file system has errors of its own)
            raise ValueError(f"{self._address}: {type(error).__name__}: {masked(str(error))}") from masked_cause(error)
        self._path: str = path.rstrip("/")
        name = address.rstrip("/").rpartition("/")[2]
        if re.search(r"[?#]", name) and ("://" in self._path or not self._path.endswith(name)):
            # Most drop what follows it, and a checkpoint's files can't come after the query of a URL.
            raise ValueError(f"{self._address!r} has a '?' or '#', after which this store finds no place")
        self._renames = type(self._fs).mv is not fsspec.AbstractFileSystem.mv

    def place(self, name: str) -> str:
        return f"{self._address}/{name}" if name else self._address

    # --- what is there ------------------------------------------------------------------------------------------------

    def _list(self) -> dict[str, Any]:
        self._fs.invalidate_cache()  # what it remembers of a listing may be of before another's write
        try:
            with self.telling(""):
                found = self._fs.ls(self._path, detail=True)
        except FileNotFoundError:
            return {}
        names = {info["name"].rstrip("/").rpartition("/")[2]: info for info in found}
        return {name: info for name, info in names.items() if name and info["name"].strip("/") != self._path.strip("/")}

    def names(self) -> list[str]:
        return list(self._list())

    def entries(self, wanted: Callable[[str], bool]) -> dict[str, Entry]:
        found = self._list()
        if not found:
            raise FileNotFoundError(f"there are no files in {self._address}")
        return {
            name: Entry(int(info["size"]), self._modified(info), info.get("islink", False))
            for name, info in found.items()
            if info["type"] != "directory" and wanted(name)
        }

    def _modified(self, info: dict[str, Any]) -> float:
        with self.telling(""):
            moment = next(
                (info[key] for key in ("mtime", "LastModified", "last_modified", "created") if info.get(key)), None
            )
            if moment is None:
                moment = self._fs.modified(info["name"])
            return float(moment.timestamp() if hasattr(moment, "timestamp") else moment)

    def folders(self) -> list[str]:
        return [name for name, info in self._list().items() if info["type"] == "directory"]

    def exists(self, name: str) -> bool:
        try:
            self._info(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        info = self._info(name)
        if info["type"] == "directory" or info.get("size") is None:
            raise OSError(f"{self.place(name)} is no file")
        return int(info["size"])

    def _info(self, name: str) -> Any:
        self._fs.invalidate_cache()
        with self.telling(name):
            return self._fs.info(self._at(name))

    # --- reading ------------------------------------------------------------------------------------------------------

    def open(self, name: str) -> ObjectReader:
        return _RemoteReader(self, name, self.size(name))

    def read(self, name: str, limit: int) -> bytes:
        size = self.size(name)
        if size > limit:
            raise LimitError(f"the file has more than {limit} bytes", Where(self.place(name)))
        return self.read_range(name, 0, size)

    def read_range(self, name: str, begin: int, size: int) -> bytes:
        """Exactly what is asked for, without what a file's own buffer would read beside it."""
        with self.telling(name):
            return bytes(self._fs.cat_file(self._at(name), start=begin, end=begin + size)) if size else b""

    # --- writing ------------------------------------------------------------------------------------------------------

    def make(self) -> None:
        with self.telling("", making=True):
            self._fs.makedirs(self._path, exist_ok=True)

    def create(self, name: str, *, durable: bool = True) -> ObjectWriter:
        with self.telling(name, making=True):
            return _RemoteWriter(self, name, self._fs.open(self._at(name), "wb"))

    def publish(self, name: str, data: bytes, temporary: str, *, replace: bool) -> None:
        if not replace and self.exists(name):
            raise FileExistsError(f"{self.place(name)} is there already")
        if self._renames:
            self.write(temporary, data)
            try:
                with self.telling(name):
                    self._fs.mv(self._at(temporary), self._at(name))
            except BaseException:
                with suppress(OSError):
                    self.remove(temporary)
                raise
            return
        with self.telling(name):
            if replace:
                self._fs.pipe_file(self._at(name), data)
            else:
                self._fs.pipe_file(self._at(name), data, mode="create")

    def remove(self, name: str) -> None:
        with self.telling(name):
            self._fs.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextmanager
    def telling(self, name: str, *, making: bool = False) -> Iterator[None]:
        """Whatever the file system raises as an OSError, as the contract has it. One that doesn't know how to be
        `making` something can only be read."""
        try:
            yield
        except Exception as error:
            shown = masked_cause(error)
            if isinstance(error, OSError) and shown is error:
                raise
            kind = next((kind for kind in _TOLD if isinstance(error, kind)), OSError)
            said = f": {masked(str(error))}" if str(error) else f", of fsspec's {type(self._fs).__name__}"
            text = f"{type(error).__name__}{said}"
            if making and isinstance(error, NotImplementedError):
                text = f"the store is read-only ({text})"
            raise kind(f"{self.place(name)}: {text}") from shown


_TOLD = (FileNotFoundError, FileExistsError, PermissionError)
"""The errors that say more to a caller than that something has failed."""


class _RemoteReader(ObjectReader):
    """One file, read by requests of its own for each range."""

    def __init__(self, store: RemoteStore, name: str, size: int) -> None:
        self._store = store
        self._name = name
        self._size = size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        done = 0
        end = min(offset + len(buffer), self._size)
        while offset + done < end:
            part = self._store.read_range(self._name, offset + done, min(_RANGE, end - offset - done))
            buffer[done : done + len(part)] = part
            done += len(part)
            if not part:
                break
        return done

    def close(self) -> None:
        pass


_RANGE = 8 << 20
"""Bytes that one request reads at most."""


class _RemoteWriter(ObjectWriter):
    """One file while it is written."""

    def __init__(self, store: RemoteStore, name: str, file: Any) -> None:
        self.place = store.place(name)
        self._store = store
        self._name = name
        self._file = file

    def write(self, parts: Sequence[memoryview]) -> None:
        with self._store.telling(self._name):
            for part in parts:
                rest = part
                while rest:
                    taken = self._file.write(rest)
                    rest = rest[len(rest) if taken is None else taken :]

    def finish(self) -> None:
        with self._store.telling(self._name):
            self._file.close()

    def discard(self) -> None:
        # Closing such a file publishes it, even on the way out of an error, and so does its end.
        with suppress(Exception):
            if hasattr(self._file, "discard"):
                self._file.discard()
        with suppress(AttributeError):
            self._file.closed = True
        with suppress(FileNotFoundError):
            self._store.remove(self._name)
