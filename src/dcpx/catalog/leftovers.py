"""Leftovers: files of saves that never became a checkpoint, found by their names, and removed on request only.

Every file that a save makes has the save's UUID in its name. What a pointer of the directory refers to is a
checkpoint's, and what a whole checkpoint consists of that has lost its pointer; all else was left by a save that died,
or belongs to one that is going on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import DcpxError, LoadError, NotFoundError, Where
from ..located import reading
from ..store.address import StorageOptions, open_store, shown_path
from ..store.contract import Entry, Store
from .lost import lost_checkpoints
from .manifest import Manifest
from .metadata import MAX_METADATA_SIZE
from .names import is_pointer, is_scaffold, manifest_name, owner_name, save_of
from .owner import Owner
from .plain import PLAIN
from .pointer import read_pointer

__all__ = ["Leftover", "find_leftovers", "leftovers_in", "remove_leftovers"]


@dataclass(frozen=True)
class Leftover:
    """The files of one save, its UUID being `save`, that no checkpoint needs.

    They have `nbytes` bytes in all, and the newest was written to at `modified`, in seconds since the epoch. `owner` is
    the process that began the save, where a file says so.
    """

    save: str
    names: tuple[str, ...]
    nbytes: int
    modified: float
    owner: Owner | None

    @property
    def state(self) -> Literal["running", "dead", "unknown"]:
        """Whether the owner runs at this moment; unknown where there is none, or on another machine."""
        running = None if self.owner is None else self.owner.is_running()
        return "unknown" if running is None else "running" if running else "dead"


def find_leftovers(path: str | os.PathLike[str], *, storage_options: StorageOptions | None = None) -> list[Leftover]:
    """What saves have left in the directory of a checkpoint, or where there was to be one; the oldest first. `path` and
    `storage_options` are those of a save.

    Saves that are still going on are among them. Once a save has succeeded, at most its owner's file is; a whole
    checkpoint that has only lost its pointer is none either.

    Raises LoadError if a pointer or, where there is none, a manifest can't be read, because nobody knows then what
    belongs to a checkpoint.
    """
    return leftovers_in(_opened(path, storage_options))


def _opened(path: str | os.PathLike[str], storage_options: StorageOptions | None) -> Store:
    with reading(shown_path(path), foreign=OSError):
        return open_store(path, storage_options=storage_options)


def leftovers_in(store: Store) -> list[Leftover]:
    """As `find_leftovers`, in a store that is open."""
    files, pointers = _list(store)
    # After the files were listed, or they could be of a save that succeeds now.
    used = _used_saves(store, files, pointers)
    by_save: dict[str, list[str]] = {}
    for name in sorted(files):
        save = save_of(name)
        if save is not None and (save not in used or is_scaffold(name)):
            by_save.setdefault(save, []).append(name)
    found = [
        Leftover(
            save,
            tuple(names),
            sum(files[name].size for name in names),
            max(files[name].modified for name in names),
            _owner(store, owner_name(save), files),
        )
        for save, names in by_save.items()
    ]
    return sorted(found, key=lambda one: one.modified)


def remove_leftovers(
    path: str | os.PathLike[str], *, older_than: float = 86400.0, storage_options: StorageOptions | None = None
) -> list[Leftover]:
    """Remove what dead saves have left, and return what that was.

    A save is dead if its owner's process is. Where that can't be known, as of another machine's, it counts as dead once
    it has written nothing for `older_than` seconds: make that longer than any save takes. A running one's files stay.

    Raises LoadError if a pointer or the directory can't be read, and then nothing was removed, or if a file can't be
    removed; and ValueError for wrong arguments.
    """
    if not older_than >= 0:
        raise ValueError(f"older_than must be a number of seconds, at least 0, not {older_than!r}")
    store, end = _opened(path, storage_options), time.time() - older_than
    dead = {one.save for one in leftovers_in(store) if _is_dead(one, end)}
    # A process that was dead just now commits nothing any more: what the pointers leave out from here on is nobody's.
    removed = [one for one in leftovers_in(store) if one.save in dead and _is_dead(one, end)] if dead else []
    for one in removed:
        # The owner's file goes last: without it, what an interrupt leaves would be of unknown state.
        for name in sorted(one.names, key=lambda name: name == owner_name(one.save)):
            _remove(store, name)
    return removed


def _is_dead(one: Leftover, end: float) -> bool:
    state = one.state
    return state == "dead" or (state == "unknown" and one.modified < end)


def _list(store: Store) -> tuple[dict[str, Entry], list[str]]:
    """The files and links of saves, with what is known of each, and the pointers' names."""
    place = Where(store.place(""))
    try:
        # The pointers last: one that a save has moved into place meanwhile is among them.
        files = store.entries(lambda name: save_of(name) is not None)
        return files, [name for name in store.names() if is_pointer(name)]
    except FileNotFoundError as error:
        raise NotFoundError("there is no such directory", place, "Check the path") from error
    except OSError as error:
        raise LoadError(f"the directory can't be read: {error}", place) from error


def _owner(store: Store, name: str, files: Mapping[str, Entry]) -> Owner | None:
    """Whom the file names; a link's isn't this save's owner."""
    return None if name in files and files[name].link else Owner.read(store, name)


def _used_saves(store: Store, files: Iterable[str], pointers: Sequence[str]) -> set[str]:
    """The saves whose files some pointer refers to, or would if it weren't lost."""
    names: set[str] = set()
    for pointer in pointers:
        with _knowing(store.place(pointer)):
            store.size(pointer)  # no regular file may be one that is never read to its end
            pointed = read_pointer(store, pointer, PLAIN, MAX_METADATA_SIZE)
            names.update(info.relative_path for info in pointed.metadata.storage_data.values())
            names.update(() if pointed.manifest is None else _names_in(pointed.manifest))
    with _knowing():
        for manifest in lost_checkpoints(store, {*files, *pointers}, running=True):
            names.update(_names_in(manifest))
    return {save for save in map(save_of, names) if save is not None}


def _names_in(manifest: Manifest) -> set[str]:
    return {manifest_name(manifest.checkpoint), *(file.name for file in manifest.files)}


@contextlib.contextmanager
def _knowing(place: str | None = None) -> Iterator[None]:
    """Without what the block finds out, of the file at `place`, nothing may be removed."""
    try:
        yield
    except (DcpxError, OSError) as error:
        cause, where = str(error), Where(place)
        if isinstance(error, DcpxError):
            cause, where = error.cause, Where(place or error.where.file)
        remedy = "Restore the checkpoint, or remove it if it is lost; then try again"
        raise LoadError(f"which files belong to a checkpoint can't be known: {cause}", where, remedy) from error


def _remove(store: Store, name: str) -> None:
    try:
        store.remove(name)
    except FileNotFoundError:
        pass  # somebody else was faster
    except OSError as error:
        place = Where(store.place(name))
        raise LoadError(f"a leftover can't be removed: {error}", place, "Remove it by hand") from error
