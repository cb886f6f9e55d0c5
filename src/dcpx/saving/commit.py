"""The commit: how a save becomes the checkpoint, at one moment, or leaves what was there untouched.

1. The coordinator writes `<uuid>.saving`, which names it as the owner of what has this save's UUID in its name.
2. Every rank writes its data files, and fsyncs them and the directory.
3. The coordinator compares what was stored with what was planned and with the files that are there, and what several
   ranks hold under one name (see `replicas`), and reads the metadata and the manifest that it is about to write, as a
   load would.
4. It writes the manifest, `<uuid>.manifest.json`, and fsyncs it and the directory.
5. It writes `.metadata` under a temporary name, fsyncs it, moves it into place and fsyncs the directory. The move is
   the commit; an object store shows a whole file at once and needs no temporary name.
6. It removes the owner's file, and what the pointer that was replaced referred to; then, if it may replace checkpoints,
   what other finished saves have left; and its own files, if its pointer was replaced meanwhile.

Nobody else writes to any of these names, so a crash before the move leaves the old checkpoint and files that nothing
refers to, and a crash after it leaves the new one and such files. `leftovers` finds them.
"""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.storage import WriteResult

from .. import __version__
from ..catalog.lost import lost_checkpoints
from ..catalog.manifest import FileRecord, ItemRecord, Manifest, content_digest, pack_pointer, parse_manifest
from ..catalog.metadata import MAX_METADATA_SIZE, load_metadata
from ..catalog.names import (
    METADATA,
    is_data_file,
    is_manifest,
    is_pointer,
    manifest_name,
    owner_name,
    save_of,
    temporary_name,
)
from ..catalog.owner import Owner, now
from ..catalog.plain import PLAIN
from ..catalog.pointer import check_readable
from ..errors import CorruptError, DcpxError, DcpxWarning, LimitError, SaveError, Where
from ..located import writing
from ..parallel import Crew
from ..store.contract import Store
from .results import StoredItemResult, Written

__all__ = ["Commit", "check_free"]

_LOOKERS = 16
"""Threads that ask for the sizes of files, which takes a round trip each where the directory is remote."""


def check_free(store: Store, pointer: str, overwrite: bool, own: str | None = None) -> None:
    """SaveError if the store holds a checkpoint that a save to `pointer` would hide or replace unasked, or that
    would hide it. The save's files have the UUID `own`, where it has begun."""
    if pointer != METADATA and store.exists(METADATA):
        remedy = "Choose another path: each rank's own checkpoint would be hidden behind it"
        raise SaveError(_EXISTS, Where(store.place(METADATA)), remedy)
    if overwrite:
        return
    names = store.names()
    if found := [name for name in sorted(names) if is_pointer(name) and pointer in (METADATA, name)]:
        raise SaveError(_EXISTS, Where(store.place(found[0])), _REFUSED)
    for lost in lost_checkpoints(store, [name for name in names if save_of(name) != own or own is None]):
        if pointer == METADATA or lost.metadata.name in (METADATA, pointer):
            cause = f"{_EXISTS}, which has lost its {lost.metadata.name}"
            remedy = f"Rebuild that with dcpx.restore_pointer(path). {_REFUSED}"
            raise SaveError(cause, Where(store.place(manifest_name(lost.checkpoint))), remedy)


_EXISTS = "a checkpoint exists already"
_OVERTAKEN = "another save to the same place was faster, and its checkpoint is there"
_AGAIN = "Save again if this one is to replace it; and let one save at a time go to one place"
_REFUSED = "Choose another path, or pass overwrite=True"
_APART = "Let all ranks save to one path, in a place that all of them see"
_UNREADABLE = "Save without what it names. If torch is newer than this version of dcpx, upgrade dcpx"
_KEPT = "What it replaces was kept. Save again"


class Commit:
    """One save, as its coordinator makes it the checkpoint that `pointer` stands for. `moved` says that it is, or may
    be."""

    def __init__(self, store: Store, save_id: str, pointer: str, *, overwrite: bool, user: Mapping[str, Any]) -> None:
        self._store = store
        self._save_id = save_id
        self._pointer = pointer
        self._overwrite = overwrite
        self._user = dict(user)
        self.moved = False
        self._over = False

    def begin(self) -> None:
        """Say who is writing."""
        name = owner_name(self._save_id)
        with writing(self._store.place("")):
            self._store.sync_root()
        with writing(self._store.place(name)):
            self._store.write(name, Owner.this().pack(), durable=False)

    def publish(
        self, metadata: Metadata, results: Sequence[Sequence[WriteResult]], look: Callable[[Mapping[str, bytes]], None]
    ) -> None:
        """Make what all ranks stored the checkpoint, once it's certain that it is whole. `look` is called before that
        with the contents of the pointer and the manifest, by their names, and may refuse.

        After an error the old checkpoint is there, and nothing of this save; unless the error says otherwise.
        """
        try:
            self._publish(metadata, results, look)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove all files of a save that was not committed. No rank may still be writing."""
        if self.moved or self._over:
            return
        self._over = True
        owner = owner_name(self._save_id)
        with contextlib.suppress(Exception):  # what led here is the error to report
            names = [name for name in self._store.names() if save_of(name) == self._save_id]
            # The owner's file goes last: what an interrupt leaves would seem to be a checkpoint that was damaged.
            _remove(self._store, sorted(names, key=lambda name: name == owner))

    def _publish(
        self, metadata: Metadata, results: Sequence[Sequence[WriteResult]], look: Callable[[Mapping[str, bytes]], None]
    ) -> None:
        store, pointer, name = self._store, self._pointer, manifest_name(self._save_id)
        files, items = _records(results)
        _check_stored(metadata, (result.index for rank in results for result in rank))
        self._check_files(files)
        with writing(store.place(pointer)):
            content = pickle.dumps(metadata)
        described = FileRecord(pointer, len(content), content_digest(content))
        versions = (__version__, torch.__version__)
        manifest = Manifest(
            self._save_id,
            now(),
            *versions,
            len(results),
            described,
            files,
            items,
            user=self._user,
            pointer=pack_pointer(content),
        )
        sealed = manifest.pack()
        self._check_readable(content, sealed)
        look({pointer: content, name: sealed})
        with writing(store.place(name)):
            store.write(name, sealed)
            store.sync()
        with writing(store.place(pointer)):
            check_free(store, pointer, self._overwrite, self._save_id)
            replaced = self._replaced()
            self._move(content)
        needless, unknown = _files_of(replaced)
        needless -= {pointer, name, *(file.name for file in files)}
        left = _remove(store, [owner_name(self._save_id)])
        with contextlib.suppress(OSError, DcpxError):  # who can't look leaves them to the next save
            needless |= self._superseded(content, files, needless)
        left += _remove(store, sorted(needless, key=lambda one: (not is_pointer(one), one)))
        left += [f"what {one} referred to, which can't be read" for one in unknown]
        if left:
            text = f"saved, but what is not needed any more is still there: {', '.join(left)}"
            warnings.warn(text, DcpxWarning, stacklevel=2)

    def _check_readable(self, content: bytes, sealed: bytes) -> None:
        """The reader must have read what is about to be published: what it refuses would be a save that never loads."""
        try:
            check_readable(self._store, self._pointer, content, sealed)
        except DcpxError as error:
            raise SaveError(f"what was saved could not be loaded: {error.cause}", error.where, _UNREADABLE) from error

    def _check_files(self, files: list[FileRecord]) -> None:
        """Every file must be there, as seen from here: a rank may write to a disk of its own under the same path."""

        def check(file: FileRecord) -> None:
            with writing(self._store.place(file.name)):
                try:
                    size = self._store.size(file.name)
                except FileNotFoundError as error:
                    raise SaveError("a file that a rank has written isn't there", remedy=_APART) from error
                if size != file.size:
                    raise SaveError(f"{file.size} bytes were written, the file has {size}")

        with Crew(min(_LOOKERS, len(files) or 1), budget=1) as crew:
            for _ in crew.map(check, files, lambda file: 0):
                pass

    def _replaced(self) -> dict[str, bytes]:
        """The pointers that the new one replaces, and what they say now; nothing where that can't be read."""
        store = self._store
        names = filter(is_pointer, store.names()) if self._pointer == METADATA else [self._pointer]
        found = {}
        for name in names:
            if store.exists(name):
                try:
                    found[name] = store.read(name, MAX_METADATA_SIZE)
                except (OSError, DcpxError):  # whatever it is, it will be replaced
                    found[name] = b""
        return found

    def _superseded(self, content: bytes, files: list[FileRecord], known: set[str]) -> set[str]:
        """The files of finished saves that no pointer refers to any more, beside `known`: all saves' with `overwrite`,
        else this one's.

        Several saves at once each remove what they know to have replaced, and so may overlook one another. Of a save
        that is finished, its owner's file gone, the pointer was moved before; and it is before it looks itself. So the
        names are listed first and the pointer is read then: what is finished by that list, and isn't what the pointer
        refers to, never will be again. Whoever looks last sees all that the others overlooked.
        """
        store = self._store
        names = set(store.names())
        finished = {name for name in filter(is_manifest, names) if owner_name(str(save_of(name))) not in names}
        pointer = METADATA if store.exists(METADATA) else self._pointer
        now_there = store.read(pointer, MAX_METADATA_SIZE)
        own = manifest_name(self._save_id)
        used = {own, *(file.name for file in files)}
        if now_there != content:
            used, unknown = _files_of({pointer: now_there})
            if unknown:
                return set()
        found = {self._pointer}
        if self._overwrite and self._pointer == METADATA:
            found.update(filter(is_pointer, names))
        for name in (finished if self._overwrite else finished & {own}) - used - known:
            try:
                manifest = parse_manifest(store.read(name, MAX_METADATA_SIZE))
            except (FileNotFoundError, CorruptError):
                continue  # somebody else was faster, or nobody knows what it was
            if manifest.metadata.name == self._pointer or self._pointer == METADATA:
                found.update(other for other in names if save_of(other) == save_of(name))
                found.update(file.name for file in manifest.files)
        return found - used - {pointer}

    def _move(self, content: bytes) -> None:
        """The commit itself."""
        store, pointer = self._store, self._pointer
        try:
            temporary = temporary_name(self._save_id, pointer)
            store.publish(pointer, content, temporary, replace=self._overwrite)
            self.moved = True
        except BaseException as error:
            self.moved = self.moved or self._may_have_moved(content)
            if self.moved and isinstance(error, OSError):
                cause = f"the new checkpoint may be in place, though its move failed: {error}"
                raise SaveError(cause, remedy=_KEPT) from error
            if isinstance(error, FileExistsError):  # another save was faster
                cause, remedy = (_OVERTAKEN, _AGAIN) if self._overwrite else (_EXISTS, _REFUSED)
                raise SaveError(cause, Where(store.place(pointer)), remedy) from error
            raise
        try:
            store.sync()
        except OSError as error:
            cause = f"the new checkpoint is in place, but a crash of the machine may undo that: {error}"
            raise SaveError(cause, remedy=_KEPT) from error

    def _may_have_moved(self, content: bytes) -> bool:
        """Whether a move that failed has succeeded: over a network its answer may be lost."""
        try:
            return self._store.read(self._pointer, len(content)) == content
        except (LimitError, FileNotFoundError):
            return False
        except OSError:
            return True


def _records(results: Sequence[Sequence[WriteResult]]) -> tuple[list[FileRecord], list[ItemRecord]]:
    files: list[FileRecord] = []
    items: list[ItemRecord] = []
    for rank in results:
        if not isinstance(rank, Written):
            raise SaveError("a rank didn't store its items with dcpx's Writer")
        files += rank.files
        for result in cast("list[StoredItemResult]", rank):
            index = result.index
            offsets = None if index.offset is None else tuple(index.offset)
            items.append(ItemRecord(index.fqn, offsets, result.seal))
    return files, items


def _check_stored(metadata: Metadata, indices: Iterable[MetadataIndex]) -> None:
    """What is described must have been stored, and nothing else."""
    stored = {(index.fqn, index.offset) for index in indices}
    described: set[tuple[str, torch.Size | None]] = set()
    for name, item in metadata.state_dict_metadata.items():
        if isinstance(item, TensorStorageMetadata):
            described.update((name, chunk.offsets) for chunk in item.chunks)
        else:
            described.add((name, None))
    for some, cause in (
        (described - stored, "are described, but not stored"),
        (stored - described, "aren't described"),
    ):
        if some:
            raise SaveError(f"{len(some)} items {cause}", Where(item=min(name for name, _ in some)))


def _files_of(pointers: Mapping[str, bytes]) -> tuple[set[str], list[str]]:
    """These pointers and the files that they refer to; and the pointers of which that isn't known."""
    names, unknown = set(pointers), []
    for pointer, content in pointers.items():
        try:
            metadata = load_metadata(content, PLAIN)
        except DcpxError:
            unknown.append(pointer)
            continue
        names.update(info.relative_path for info in metadata.storage_data.values())
        if metadata.storage_meta is not None and metadata.storage_meta.save_id is not None:
            names.add(manifest_name(metadata.storage_meta.save_id))
    # A pointer that somebody forged could name a trainer's own files.
    return {name for name in names if is_pointer(name) or is_data_file(name) or save_of(name)}, unknown


def _remove(store: Store, names: Iterable[str]) -> list[str]:
    """Remove what there is of these files; returns those that can't be."""
    left = []
    for name in names:
        try:
            store.remove(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            left.append(f"{store.place(name)} ({error.strerror or error})")
    return left
