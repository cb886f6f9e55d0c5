"""ObjectStore: S3, Google Cloud Storage, Azure, and objects in memory, through obstore."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Any, TypeVar

from ..errors import LimitError, UnsupportedError, Where
from .contract import Entry, ObjectReader, ObjectWriter, Store
from .credentials import client_options
from .masked import masked, masked_cause

try:
    import obstore
    from obstore.exceptions import (
        AlreadyExistsError,
        BaseError,
        NotSupportedError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )
    from obstore.store import MemoryStore, from_url
except ImportError as error:
    raise UnsupportedError(
        "the package obstore, through which S3, Google Cloud Storage and Azure are reached, can't be imported",
        remedy="Install it: pip install 'dcpx[cloud]'",
    ) from error

__all__ = ["ObjectStore"]

PART = 10 << 20
"""Bytes of one part of an upload. S3 takes 10,000 parts: an object may have 97 GiB."""

PARTS = 4
"""Parts of one object that are on their way at once, beside the one that is being filled."""

RANGE = 8 << 20
"""Bytes that one request reads at most."""

RANGES = 4
"""Requests that one large read makes at once."""

_GAP = 64 << 10
"""Bytes between two small ranges that are read and dropped, which costs less than a second request."""

_ATTEMPTS = 4
"""How often is read at most what breaks within an answer."""

_GIVEN_UP = "Error performing"
"""How the client begins to tell of a request that it has repeated as often as that may help."""

T = TypeVar("T")


class ObjectStore(Store):
    """The objects below one address. An object appears whole or not at all, and is durable once it does.

    The pointer is published on a condition: that there is none, or that it is still the one that was seen. A store that
    doesn't know conditions is asked before, and then written to.
    """

    connections = 16

    def __init__(self, address: str, options: dict[str, Any]) -> None:
        """ValueError for an address or for options that the client doesn't know."""
        self._address = masked(address.rstrip("/"))
        # By no parser of URLs: in a name of an object nothing has a meaning but the slash.
        scheme, _, place = address.rstrip("/").partition("://")
        scheme = scheme.lower()
        bucket, _, self._prefix = place.partition("/")
        if not _BUCKET.fullmatch(bucket) or (scheme not in _WITH_ACCOUNT and "@" in bucket):
            raise ValueError(f"{self._address!r} has no bucket between :// and the next slash, or more than its name")
        if any(segment in ("", ".", "..") for segment in self._prefix.split("/") if self._prefix):
            raise ValueError(f"{self._address!r} has an empty, '.' or '..' part, which names no object")
        self._retry: dict[str, Any] = {"max_retries": 0, "retry_timeout": timedelta(0)}
        try:
            if scheme == "memory":
                self._client: Any = _memory(options)
                self._prefix = f"{bucket}/{self._prefix}".strip("/")
            else:
                told = client_options(scheme, options)
                self._client = _opened(f"{_SCHEMES.get(scheme, scheme)}://{bucket}", told)
                self._retry = told["retry_config"]
        except (BaseError, ValueError) as error:
            raise ValueError(f"{self._address}: {_text(error)}") from masked_cause(error)

    def place(self, name: str) -> str:
        return f"{self._address}/{name}" if name else self._address

    # --- what is there ------------------------------------------------------------------------------------------------

    def _list(self) -> Any:
        return self._repeated("", lambda: obstore.list_with_delimiter(self._client, self._prefix or None))

    def _objects(self) -> Iterator[tuple[str, Any]]:
        for meta in self._list()["objects"]:
            name = self._below(meta["path"])
            if name:  # some stores list the folder itself
                yield name, meta

    def names(self) -> list[str]:
        return [name for name, _ in self._objects()]

    def folders(self) -> list[str]:
        return [self._below(prefix) for prefix in self._list()["common_prefixes"]]

    def _below(self, key: str) -> str:
        return key.removeprefix(self._prefix).strip("/")

    def entries(self, wanted: Callable[[str], bool]) -> dict[str, Entry]:
        found = dict(self._objects())
        if not found:
            raise FileNotFoundError(f"there are no objects in {self._address}")
        return {
            name: Entry(meta["size"], meta["last_modified"].timestamp()) for name, meta in found.items() if wanted(name)
        }

    def exists(self, name: str) -> bool:
        try:
            self._head(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        return int(self._head(name)["size"])

    def _head(self, name: str) -> Any:
        with self.telling(name):
            return obstore.head(self._client, self._key(name))

    # --- reading ------------------------------------------------------------------------------------------------------

    def open(self, name: str) -> ObjectReader:
        return _RangeReader(self, name, self.size(name))

    def read(self, name: str, limit: int) -> bytes:
        def get() -> bytes:
            answer = obstore.get(self._client, self._key(name))
            if answer.meta["size"] > limit:
                raise LimitError(f"the file has more than {limit} bytes", Where(self.place(name)))
            return bytes(answer.bytes())

        return self._repeated(name, get)

    def read_together(self, name: str, begin: int, sizes: list[int]) -> list[Any]:
        """Adjacent ranges from byte `begin` on, by a request for each, all at once."""
        starts = [begin + before for before in accumulate(sizes[:-1], initial=0)]
        return self._repeated(
            name, lambda: obstore.get_ranges(self._client, self._key(name), starts=starts, lengths=sizes, coalesce=0)
        )

    def read_apart(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[Any]:
        """Small ranges, neighbours of which are got by one request."""
        starts, sizes = [offset for offset, _ in ranges], [size for _, size in ranges]
        return self._repeated(
            name, lambda: obstore.get_ranges(self._client, self._key(name), starts=starts, lengths=sizes, coalesce=_GAP)
        )

    def _repeated(self, name: str, read: Callable[[], T]) -> T:
        """What `read` gives, which is called again where the connection breaks within an answer: not all of that does
        the client repeat, as it does all else. What its user allows it bounds both."""
        end = time.monotonic() + self._retry["retry_timeout"].total_seconds()
        for attempt in range(min(_ATTEMPTS - 1, self._retry["max_retries"])):
            try:
                with self.telling(name):
                    return read()
            except (FileNotFoundError, PermissionError):
                raise
            except OSError as error:
                if _GIVEN_UP in str(error) or time.monotonic() >= end:
                    raise
                time.sleep(0.1 * 4**attempt)
        with self.telling(name):
            return read()

    # --- writing ------------------------------------------------------------------------------------------------------

    def create(self, name: str, *, durable: bool = True) -> ObjectWriter:
        return _Upload(self, name)

    def upload(self, name: str) -> Any:
        """A file of the client's that begins an upload."""
        return obstore.open_writer(self._client, self._key(name), buffer_size=PART, max_concurrency=PARTS)

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        with self.telling(name):
            obstore.put(self._client, self._key(name), data, chunk_size=PART, max_concurrency=PARTS)

    def publish(self, name: str, data: bytes, temporary: str, *, replace: bool) -> None:
        mode: Any = "create"
        if replace:
            with suppress(FileNotFoundError):
                found = self._head(name)
                mode = {key: found[key] for key in ("e_tag", "version") if found[key] is not None} or "overwrite"
        try:
            with self.telling(name):
                obstore.put(self._client, self._key(name), data, mode=mode, use_multipart=False)
        except FileExistsError:
            # The client repeats a request whose answer is lost, and finds what it has itself put there.
            if not self._holds(name, data):
                raise
        except NotImplementedError:
            self._publish_unconditionally(name, data, replace=replace)

    def _publish_unconditionally(self, name: str, data: bytes, *, replace: bool) -> None:
        if not replace and self.exists(name):
            raise FileExistsError(f"{self.place(name)} is there already")
        with self.telling(name):
            obstore.put(self._client, self._key(name), data, use_multipart=False)

    def _holds(self, name: str, data: bytes) -> bool:
        with suppress(FileNotFoundError, LimitError):
            return self.read(name, len(data)) == data
        return False

    def remove(self, name: str) -> None:
        with self.telling(name):
            obstore.delete(self._client, self._key(name))

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    @contextmanager
    def telling(self, name: str) -> Iterator[None]:
        """The client's errors as OSErrors, as the contract has them."""
        try:
            yield
        except LimitError:
            raise
        except (BaseError, OSError, ValueError) as error:
            raise _os_error(error, self.place(name)) from masked_cause(error)
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # a bug of the client's, of a class that can't be imported
                raise
            raise OSError(f"{self.place(name)}: the client has failed: {_text(error)}") from masked_cause(error)


_SCHEMES = {"gcs": "gs"}

_BUCKET = re.compile(r"(?:[^@:?#\s]+@)?[^@:?#\s]+")
"""What the client takes for a bucket's name: it would leave out a port, a query, a user and spaces."""

_WITH_ACCOUNT = ("az", "azure", "abfs", "abfss", "adl")
"""Azure's addresses may name a container and, after an @, the host of its account."""


def _opened(url: str, options: dict[str, Any]) -> Any:
    try:
        return from_url(url, **options)
    except TypeError as error:  # which doesn't say of what
        raise ValueError(f"the storage option {_mistyped(url, options)} is of a wrong type: {error}") from error


def _mistyped(url: str, options: dict[str, Any]) -> str:
    """The first of the options that the client can't take, by offering it each by itself."""
    for name, value in options.items():
        try:
            from_url(url, **{name: value})
        except TypeError:
            return repr(name)
        except (BaseError, ValueError):
            pass
    return "of some name"


_MEMORY = MemoryStore()
"""The memory of this process, which all addresses share."""


def _memory(options: dict[str, Any]) -> Any:
    if options:
        raise ValueError(f"objects in memory have no options, such as {next(iter(options))!r}")
    return _MEMORY


class _RangeReader(ObjectReader):
    """One object, read by requests of its own for each range."""

    def __init__(self, store: ObjectStore, name: str, size: int) -> None:
        self._store = store
        self._name = name
        self._size = size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        end = min(offset + len(buffer), self._size)
        done = 0
        while offset + done < end:
            begin = offset + done
            edges = [*range(begin, min(end, begin + RANGE * RANGES), RANGE), min(end, begin + RANGE * RANGES)]
            sizes = [stop - start for start, stop in pairwise(edges)]
            for size, part in zip(sizes, self._store.read_together(self._name, begin, sizes), strict=True):
                buffer[done : done + len(part)] = memoryview(part)
                done += len(part)
                if len(part) < size:
                    return done
        return done

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        sizes = [max(min(size, self._size - offset), 0) for offset, size in ranges]
        wanted = [(offset, size) for (offset, _), size in zip(ranges, sizes, strict=True) if size]
        found = iter(self._store.read_apart(self._name, wanted) if wanted else ())
        return [bytes(next(found)) if size else b"" for size in sizes]

    def close(self) -> None:
        pass


class _Upload(ObjectWriter):
    """One object on its way in parts, of which nobody sees anything before all are there."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self.place = store.place(name)
        self._store = store
        self._name = name
        self._stored = 0
        self._file = store.upload(name)

    def write(self, parts: Sequence[memoryview]) -> None:
        with self._store.telling(self._name):
            for part in parts:
                self._file.write(bytes(part))  # the client takes no copy, and sends it later
                self._stored += len(part)

    def finish(self) -> None:
        try:
            with self._store.telling(self._name):
                self._file.close()
        except OSError:
            # The last answer may be lost: then the object is there, and is of nobody else, as its name is.
            if not self._is_there():
                raise

    def _is_there(self) -> bool:
        with suppress(OSError):
            return self._store.size(self._name) == self._stored
        return False

    def discard(self) -> None:
        with suppress(Exception):  # what was finished or has failed can't be aborted
            self._file.__exit__(InterruptedError, InterruptedError(), None)
        with suppress(FileNotFoundError):
            self._store.remove(self._name)


_BODY = re.compile(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", re.DOTALL)


def _text(error: BaseException) -> str:
    """What the client says of an error, without its own state, the answer's markup, and passwords."""
    text = str(error).partition("\n\nDebug source")[0]
    said = _BODY.search(text)
    if said is not None:
        text = f"{text.partition('<?xml')[0].partition('<Error>')[0].strip().rstrip(':')}: {said[1]}: {said[2]}"
    return masked(" ".join(text.split()))[:600]


def _os_error(error: Exception, place: str) -> OSError | NotImplementedError:
    text = f"{place}: {_text(error)}"
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(text)
    if isinstance(error, (AlreadyExistsError, PreconditionError)):
        return FileExistsError(text)
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return PermissionError(text)
    if isinstance(error, NotSupportedError):
        return NotImplementedError(text)
    return OSError(text)
