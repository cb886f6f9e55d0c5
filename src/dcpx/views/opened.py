"""A checkpoint that is opened to be looked at: what its pointer says, or each rank's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from ..catalog.items import StoredItem, all_items
from ..catalog.limits import Limits
from ..catalog.lost import missing_pointer
from ..catalog.names import METADATA, is_pointer
from ..catalog.plain import PLAIN, Metadata
from ..catalog.pointer import Pointed, is_replaced, read_pointer
from ..errors import DcpxError, NotFoundError, ReplacedError, Where
from ..located import reading
from ..store.address import StorageOptions, open_store, shown_path
from ..store.contract import Store
from ..store.source import FileSource

__all__ = ["Opened", "Pointer", "check_current", "lost_files", "open_checkpoint", "pointers_in"]


@dataclass(frozen=True)
class Pointer:
    """One pointer and what it stands for. `rank` is that whose own checkpoint it is, None for one of all ranks."""

    name: str
    rank: int | None
    pointed: Pointed[Metadata]
    items: list[StoredItem]


@dataclass(frozen=True)
class Opened:
    """`path` is the checkpoint's as it may be shown. There is one pointer, or one for each rank."""

    path: str
    store: Store
    pointers: list[Pointer]


def pointers_in(store: Store) -> list[str]:
    """The names of the checkpoint's pointers: one, or each rank's. NotFoundError if there is none, LostPointerError if
    only that is lost, LoadError if nobody can say."""
    with reading(store.place(""), foreign=OSError), _no_directory(store):
        names = [METADATA] if store.exists(METADATA) else sorted(filter(is_pointer, store.names()), key=rank_of)
    if not names:
        raise missing_pointer(store, METADATA)
    return names


@contextmanager
def _no_directory(store: Store) -> Iterator[None]:
    try:
        yield
    except NotADirectoryError as error:
        place, remedy = Where(store.place("")), "A checkpoint is a directory, which dcpx.convert makes of such a file"
        raise NotFoundError("it is a file, and no checkpoint", place, remedy) from error


def rank_of(pointer: str) -> int:
    """The rank whose pointer it is by its name; -1 for that of all ranks."""
    number = pointer.removesuffix(METADATA).strip("_")
    return int(number) if number else -1


def open_checkpoint(
    path: str | os.PathLike[str],
    *,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    storage_options: StorageOptions | None = None,
) -> Opened:
    """Read what the checkpoint at `path` says of itself; a manifest that is lost or damaged is done without.

    Raises what `pointers_in` and `read_pointer` raise, and ValueError for wrong arguments.
    """
    with reading(shown_path(path), foreign=OSError):
        store = open_store(path, storage_options=storage_options)
    found = []
    for name in pointers_in(store):
        pointed = read_pointer(store, name, PLAIN, limits.metadata_size, without_manifest=True)
        rank = rank_of(name)
        items = all_items(pointed.metadata, pointed.manifest)
        found.append(Pointer(name, None if rank < 0 else rank, pointed, items))
    return Opened(shown_path(path), store, found)


def check_current(opened: Opened) -> None:
    """ReplacedError if another save has replaced the checkpoint since: what couldn't be read of it isn't damaged."""
    for pointer in opened.pointers:
        if is_replaced(opened.store, pointer.name, pointer.pointed.digest):
            raise ReplacedError("the checkpoint was replaced while it was being read", Where(opened.path))


def lost_files(store: Store, sizes: Mapping[str, int]) -> dict[str, DcpxError]:
    """Why files don't reach as far as these sizes, or aren't there, by their names; the last byte of each is read."""
    found = {}
    for name, size in sizes.items():
        try:
            with closing(FileSource(store, name)) as source:
                source.read(max(size - 1, 0), min(size, 1))
        except DcpxError as error:
            found[name] = error
    return found
