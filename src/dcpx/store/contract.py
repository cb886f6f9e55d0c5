"""The contract of a store: what is asked of wherever the objects of one checkpoint lie, and no more.

All below `store/` that isn't a keeper, and all above it, knows stores by these three classes only: no paths, no file
descriptors, no file systems of anybody else's.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..errors import LimitError, Where

__all__ = ["ChunkJob", "Entry", "ObjectReader", "ObjectWriter", "Store", "read_limited"]

ChunkJob = tuple[int, int, Any, int, int, int, int]
"""A chunk to read and decode, as `kernels.read_chunks` takes it: where its record begins in the object and how many
bytes it has, the memory that it is decoded into, and what seals it."""


class Entry(NamedTuple):
    """What a listing says of an object: its size in bytes, and when it was last written to, in seconds since the epoch.
    A link is one of its own, whose bytes lie elsewhere."""

    size: int
    modified: float
    link: bool = False


class ObjectWriter(ABC):
    """One object while it is written, by one thread at a time. `place` says where, for an error.

    It ends by `finish`, or by `discard`; until `finish` has returned, nobody reads it, and a listing may show it in
    part, as a whole, or not at all.
    """

    place: str

    @abstractmethod
    def write(self, parts: Sequence[memoryview]) -> None:
        """Append all of these bytes, no part being empty; they may change as soon as this has returned. OSError."""

    @abstractmethod
    def finish(self) -> None:
        """The object is there, whole, and as durable as was asked for. OSError, and then `discard` is still to be
        called."""

    @abstractmethod
    def discard(self) -> None:
        """Give up: nothing of it stays. OSError where that can't be done, and where the store can tell that it is gone
        already."""


class ObjectReader(ABC):
    """One object while it is read, by many threads at once. What is open stays readable when it is removed, where the
    store can do that."""

    reads_chunks: bool = False
    """Whether `read_chunks` can be called: then chunks are best left where they lie until they are decoded. Else many
    of them are read at once."""

    @abstractmethod
    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from the object's byte `offset` on; returns how many bytes that were, fewer only where the
        object ends. OSError."""

    def read_chunks(self, jobs: list[ChunkJob]) -> list[int]:
        """Read and decode these chunks, all without a stop; returns the numbers of the jobs that weren't done, because
        the chunk is another codec's, damaged, or can't be read: whoever goes on with them by `read_into` learns why."""
        raise NotImplementedError(f"{type(self).__name__} reads no chunks")

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """These ranges, each an offset and a size, of which those that lie near each other may be read at once; as
        `read_into`."""
        found = []
        for offset, size in ranges:
            buffer = bytearray(size)
            found.append(bytes(buffer[: self.read_into(offset, memoryview(buffer))]))
        return found

    @abstractmethod
    def close(self) -> None:
        """Once no thread is reading any more. OSError."""


class Store(ABC):
    """Where the objects of one checkpoint lie, each under a plain name, without separators.

    Every call but `place` may raise an OSError that isn't named there: the store can't be reached, is full, fails, or
    doesn't allow it. FileNotFoundError says that there is no such object, or nothing that could hold it, and
    FileExistsError that there is one, and no other failure is told by these. What has returned is seen by whoever calls
    next, in any process.

    A save makes these calls, in this order:

    1. `make`, on every rank; and whether there is a checkpoint already, which it may not replace: `exists`, `names`,
       and of manifests without a pointer `read` and `size`.
    2. `sync_root`, and `write` of the owner's object, not durably, on the coordinator.
    3. `create` for each data object, on every rank, of which each is finished while the next is being written; then
       `sync`.
    4. `size` of each data object, on the coordinator, from several threads.
    5. `write` of the manifest, and `sync`.
    6. `names`, `exists` and `read` once more, for what will be replaced; then `publish` of the pointer, and `sync`:
       this is the commit. After an error of `publish`, `read`, for what has become of it.
    7. `remove`, of the owner's object and of what was replaced; `names` and `read`, for what others have left.

    What fails before the commit removes all that it wrote. A load makes these:

    1. `read` of the pointer and of the manifest. Where there is no pointer, `names`, `read` and `size` say why.
    2. `open` of each data object, early, and `read_into` or `read_chunks` from many threads.
    3. `read` of the pointer after a failure, for whether another save has replaced the checkpoint.

    A clean-up calls `entries` first, and `remove` last. Whoever looks for checkpoints calls `folders`.
    """

    connections: int = 0
    """How many reads at once serve best where each is a request to another machine, for which a small one takes as long
    as a large one; 0 where it isn't."""

    @abstractmethod
    def place(self, name: str) -> str:
        """Where an object lies, for an error; where all of them do for the empty name. Raises nothing."""

    # --- what is there ------------------------------------------------------------------------------------------------

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all that is there, in any order; none where there is no such place."""

    @abstractmethod
    def entries(self, wanted: Callable[[str], bool]) -> dict[str, Entry]:
        """What is known of the objects whose names are `wanted`; what is no object is left out. FileNotFoundError where
        there is no such place."""

    @abstractmethod
    def folders(self) -> list[str]:
        """The names of the places right below this one: its address, a slash and the name open each. None where there
        is no such place. Links to places are among them."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such an object. An error is never taken for a no."""

    @abstractmethod
    def size(self, name: str) -> int:
        """An object's size in bytes. FileNotFoundError where there is none, OSError for what is no object."""

    # --- reading ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def open(self, name: str) -> ObjectReader:
        """An object to read from. FileNotFoundError where there is none, OSError for what is no object."""

    @abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """A whole object; as `open`, and LimitError if it has more than `limit` bytes. Memory is taken for what is
        there only, whatever the limit."""

    # --- writing ------------------------------------------------------------------------------------------------------

    def make(self) -> None:  # noqa: B027 (most stores have nothing to do)
        """Make the place, where objects need one that is there before them. It isn't durable before `sync_root`."""

    @abstractmethod
    def create(self, name: str, *, durable: bool = True) -> ObjectWriter:
        """An object to write, to which nothing refers yet; one that is there is replaced. Once `finish` has returned, a
        crash of the machine leaves its bytes, and after the next `sync` its name; without `durable` it may lose them.
        """

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a small object, as by `create`. After an error nothing of it is left, as far as that can be done."""
        writer = self.create(name, durable=durable)
        try:
            if data:
                writer.write([memoryview(data)])
            writer.finish()
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to report
                writer.discard()
            raise

    @abstractmethod
    def publish(self, name: str, data: bytes, temporary: str, *, replace: bool) -> None:
        """Make a small object appear at once: whoever reads finds what was there before, or all of `data`.

        Without `replace`, FileExistsError if there is such an object, in the same step where the store has one for
        that. With it, what is there when this is called is replaced, and FileExistsError if it was changed meanwhile,
        where the store can tell. A store that can only move what is complete writes it to `temporary`, of which after
        an error nothing is left, as far as that can be done; after a crash something may be.

        After any other error than FileExistsError it may have appeared, or still may. It is durable after `sync`, and
        may be before.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove an object. FileNotFoundError where there is none, unless the store can't tell."""

    # --- durability ---------------------------------------------------------------------------------------------------

    def sync(self) -> None:  # noqa: B027 (most stores have nothing to do)
        """A crash of the machine leaves which objects there are, and which are gone, as they are now."""

    def sync_root(self) -> None:  # noqa: B027 (most stores have nothing to do)
        """A crash of the machine leaves the place itself, whoever made it."""


_PART = 4 << 20
"""Bytes of an object that are read at once."""


def read_limited(read: Callable[[int], bytes], limit: int, place: str) -> bytes:
    """All that `read` gives, which takes how many bytes it may give and gives none at the end; for `Store.read`."""
    parts: list[bytes] = []
    room = limit
    while part := read(min(room + 1, _PART)):  # memory is taken only for what is there
        if len(part) > room:
            raise LimitError(f"the file has more than {limit} bytes", Where(place))
        room -= len(part)
        parts.append(part)
    return b"".join(parts)
