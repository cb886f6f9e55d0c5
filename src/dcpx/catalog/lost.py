"""A checkpoint that has lost its pointer, as by a copy that leaves out hidden files: found, and mended.

A save writes its manifest when all else of it is stored. So where a manifest and all files that it lists are there, but
no pointer, the checkpoint is whole but for that; and the manifest holds what the pointer said. Where some of the files
are lost as well, it is a damaged checkpoint and not a save that died, unless that save's owner's file is there: it goes
last when a save is taken back, or cleaned up.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Collection

from ..errors import CorruptError, DcpxError, LoadError, LostPointerError, MissingFileError, NotFoundError, Where
from ..located import naming, reading
from ..store.address import StorageOptions, open_store, shown_path
from ..store.contract import Store
from .manifest import Manifest, parse_manifest
from .metadata import MAX_METADATA_SIZE
from .names import METADATA, is_manifest, is_pointer, manifest_name, owner_name, save_of, temporary_name
from .owner import Owner

__all__ = ["lost_checkpoints", "missing_pointer", "restore_pointer"]


def restore_pointer(
    path: str | os.PathLike[str], *, save: str | None = None, storage_options: StorageOptions | None = None
) -> list[str]:
    """Write the `.metadata` again of a checkpoint that has lost it, or each rank's own; returns their names.

    What is in the files is checked when they are loaded, or by `verify`; of a checkpoint that has lost some of them,
    too, `load(partial=True)` takes what is left. Nothing that is there is replaced. `save` is the UUID with which the
    files' names begin: which one it is to be where several saves have left a checkpoint.

    Raises NotFoundError if there is no such checkpoint; UnsupportedError if it was written by a dcpx that didn't keep
    what the pointer said; CorruptError; LoadError for all else, such as a checkpoint that has its pointer, or several
    to choose from.
    """
    with reading(shown_path(path), foreign=OSError):
        store = open_store(path, storage_options=storage_options)
    place = Where(store.place(""))
    try:
        found = _chosen(store, save)
        contents = [_content(store, manifest) for manifest in found]  # all of them, before the first is written
        for manifest, content in zip(found, contents, strict=True):
            pointer = manifest.metadata.name
            store.publish(pointer, content, temporary_name(str(uuid.uuid4()), pointer), replace=False)
        store.sync()
        for manifest in found:
            with contextlib.suppress(OSError):  # of a save that was killed: it's a leftover now
                store.remove(owner_name(manifest.checkpoint))
    except DcpxError:
        raise
    except OSError as error:
        raise LoadError(f"the pointer can't be written: {error}", place) from error
    return sorted(manifest.metadata.name for manifest in found)


def _chosen(store: Store, save: str | None) -> list[Manifest]:
    """The checkpoints whose pointers are to be written: one, or one for each rank."""
    place = Where(store.place(""))
    names = store.names()
    lost = lost_checkpoints(store, names)
    chosen = [one for one in lost if save in (None, one.checkpoint)]
    if not chosen:
        if any(map(is_pointer, names)) and not lost:
            raise LoadError("the checkpoint has its pointer", place, "Load it, or see what dcpx.verify says of it")
        what = "no whole checkpoint without its pointer" if save is None else f"no whole checkpoint of the save {save}"
        raise NotFoundError(f"there is {what}", place, "Check the path, and that all files were copied")
    pointers = [one.metadata.name for one in chosen]
    if len(set(pointers)) < len(pointers) or (METADATA in pointers and len(pointers) > 1):
        listed = ", ".join(
            f"{one.checkpoint} ({one.metadata.name}, created {one.created}, user {one.user})" for one in chosen
        )
        raise LoadError(f"there are {len(chosen)} whole checkpoints: {listed}", place, "Choose one with save=...")
    return chosen


def _content(store: Store, manifest: Manifest) -> bytes:
    with naming(store.place(manifest_name(manifest.checkpoint))):
        return manifest.pointer_content(MAX_METADATA_SIZE)


def lost_checkpoints(
    store: Store, names: Collection[str], *, limit: int = MAX_METADATA_SIZE, running: bool = False
) -> list[Manifest]:
    """The manifests of all checkpoints whose pointer isn't there, nor another in its place, the whole ones first;
    `names` are those of all that is in the store. What a running process is just completing is none of them, unless
    `running`.

    Raises OSError or a DcpxError, which says where, if it can't be known whether there is one; a manifest that is
    damaged is none. Manifests are read up to `limit` bytes.
    """
    if METADATA in names:
        return []
    some = any(map(is_pointer, names))
    found, damaged = [], []
    for name in sorted(filter(is_manifest, names)):
        manifest = _manifest(store, name, limit)
        if manifest is None:
            continue
        pointer = manifest.metadata.name
        if pointer in names or (some and pointer == METADATA):
            continue  # it was replaced, or never became what the directory stands for
        if _lacking(store, manifest) is not None:
            if owner_name(manifest.checkpoint) not in names:
                damaged.append(manifest)
        elif running or not _is_running(store, manifest.checkpoint):
            found.append(manifest)
    # A save that has ended since the names were listed has its pointer now.
    return [one for one in found + damaged if not (store.exists(METADATA) or store.exists(one.metadata.name))]


def missing_pointer(store: Store, pointer: str, limit: int = MAX_METADATA_SIZE) -> DcpxError:
    """What it means that there is no `pointer`, `.metadata` or a rank's own: no checkpoint, or one that has lost it."""
    place = Where(store.place(pointer))
    try:
        names = store.names()
        lost = lost_checkpoints(store, names, limit=limit)
        if pointer != METADATA or any(map(is_pointer, names)):
            lost = [one for one in lost if one.metadata.name == pointer]
        if not lost:
            return _nothing_yet(store, names, place)
        if lacking := _lacking(store, lost[0]):
            cause = f"a checkpoint is here without its {lost[0].metadata.name} and all of {lacking}"
            return MissingFileError(cause, place, _HALF_LOST)
        lost = [one for one in lost if _lacking(store, one) is None]
        cause = f"all of a checkpoint is here but its {lost[0].metadata.name}"
        if len(lost) > 1:
            cause = f"all of {len(lost)} checkpoints is here but their pointers"
        if any(one.pointer is not None for one in lost):
            return LostPointerError(cause, place)
        remedy = "Copy the checkpoint again, with that file: the manifest, of an older dcpx, doesn't hold what it said"
        return LostPointerError(cause, place, remedy)
    except DcpxError as error:
        return error.located(place.file)
    except OSError as error:
        return LoadError(f"the directory can't be read: {error}", place)


def _nothing_yet(store: Store, names: Collection[str], place: Where) -> NotFoundError:
    """There is no checkpoint of all ranks; it may be that each has its own, or that a save is going on, or has died."""
    cause, remedy = "there is no checkpoint here", ""
    own = sorted(filter(is_pointer, names))
    saves = sorted({save for save in map(save_of, names) if save is not None})
    if own:
        cause = f"there is no checkpoint of all ranks here, but one that each has for itself: {', '.join(own[:4])}"
        remedy = "Load it on as many ranks, with use_collectives=False"
    elif any(_is_running(store, save) for save in saves):
        cause, remedy = "there is no checkpoint here yet: a save is going on", "Try again when it has ended"
    elif saves:
        cause = f"no checkpoint is here, but files without metadata, of a save that never ended: {', '.join(saves[:4])}"
        remedy = "Wait if another machine is still at it; verify --clean removes what dead saves have left"
    return NotFoundError(cause, place, remedy) if remedy else NotFoundError(cause, place)


_HALF_LOST = (
    "Restore both from another copy, or call dcpx.restore_pointer(path) and take what is left with partial=True"
)


def _manifest(store: Store, name: str, limit: int) -> Manifest | None:
    """The manifest of that name; None if it is damaged."""
    try:
        with naming(store.place(name)):
            manifest = parse_manifest(store.read(name, limit))
            return manifest if manifest.checkpoint == save_of(name) else None
    except (CorruptError, FileNotFoundError):
        return None


def _lacking(store: Store, manifest: Manifest) -> str | None:
    """The first file of a checkpoint that isn't there in its size."""
    for file in manifest.files:
        try:
            if store.size(file.name) != file.size:
                return file.name
        except FileNotFoundError:
            return file.name
    return None


def _is_running(store: Store, save: str) -> bool:
    """Whether a process of this machine is completing that save at this moment."""
    owner = Owner.read(store, owner_name(save))
    return owner is not None and owner.is_running() is True
