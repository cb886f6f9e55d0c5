"""Reads what a checkpoint's pointer says, and holds it against the manifest of the save that wrote it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..errors import (
    CorruptError,
    DcpxError,
    LimitError,
    LoadError,
    MissingFileError,
    ReplacedError,
    UnsupportedError,
    Where,
)
from ..located import naming
from ..pickles.names import shown
from ..store.contract import Store
from .lost import missing_pointer
from .manifest import FileRecord, Manifest, content_digest, parse_manifest, seal_kind
from .metadata import MAX_METADATA_SIZE, load_metadata
from .names import is_data_file, is_manifest, manifest_name, save_of
from .plain import PLAIN
from .records import Classes

__all__ = ["Pointed", "check_readable", "is_replaced", "read_pointer"]

_ATTEMPTS = 3
"""How often a checkpoint may be replaced while it is being opened."""


M = TypeVar("M")


@dataclass(frozen=True)
class Pointed(Generic[M]):
    """What a pointer stands for. `metadata` is made of the classes that were asked for. `manifest` is None for what
    stock DCP wrote, or for the reason that is `damage`; `digest` is the XXH3-128 of the pointer's content. `files` is
    what was read, by its name, and None for what isn't there: `known` to whoever needn't read it once more."""

    metadata: M
    manifest: Manifest | None
    damage: DcpxError | None
    digest: str
    files: Mapping[str, bytes | None] = field(repr=False)


def read_pointer(
    store: Store,
    pointer: str,
    classes: Classes[M],
    limit: int,
    *,
    without_manifest: bool = False,
    known: Mapping[str, bytes | None] | None = None,
) -> Pointed[M]:
    """Read the checkpoint's metadata, `.metadata` or a rank's own, and its manifest; each has at most `limit` bytes.

    They agree with each other then: on the pointer's own content, and on which items there are, in which files. A
    manifest that is lost or damaged is an error, unless `without_manifest` asks to go on without it. What is `known`,
    of what another rank has read, is checked as if it had been read here.

    Raises LoadError if there is no checkpoint, CorruptError, or another DcpxError; all of them name the file.
    """
    files = _Files(store, limit, known or {})
    content = _pointer(files, pointer)
    for _ in range(_ATTEMPTS):
        metadata = _metadata(store, pointer, classes, content, limit)
        try:
            manifest = _manifest(files, metadata)
        except DcpxError as error:
            with suppress(DcpxError):
                before, files = content, _Files(store, limit, {})
                content = _pointer(files, pointer)
                if content != before:
                    continue  # another save has replaced it, and has removed that manifest
            damage = error.located(store.place(pointer))
            if without_manifest:
                return Pointed(metadata, None, damage, content_digest(content), files.found)
            raise damage from error.__cause__
        if manifest is not None:
            _check_agreement(store, pointer, content, metadata, manifest)
        return Pointed(metadata, manifest, None, content_digest(content), files.found)
    raise ReplacedError("the checkpoint was replaced while it was being opened", Where(store.place(pointer)))


class _Files:
    """The small files of a checkpoint, read from its store or `known` already."""

    def __init__(self, store: Store, limit: int, known: Mapping[str, bytes | None]) -> None:
        self.store = store
        self.limit = limit
        self._known = known
        self.found: dict[str, bytes | None] = {}

    def read(self, name: str) -> bytes:
        """As `Store.read`."""
        if name not in self._known:
            self.found[name] = None
            self.found[name] = content = self.store.read(name, self.limit)
            return content
        self.found[name] = known = self._known[name]
        if known is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.store.place(name))
        if len(known) > self.limit:
            raise LimitError(f"the file has more than {self.limit} bytes", Where(self.store.place(name)))
        return known


def is_replaced(store: Store, pointer: str, digest: str) -> bool:
    """Whether the pointer says something else by now than the content of which that is the XXH3-128."""
    try:
        return content_digest(store.read(pointer, MAX_METADATA_SIZE)) != digest
    except (DcpxError, OSError):
        return False


def _pointer(files: _Files, name: str) -> bytes:
    place = Where(files.store.place(name))
    try:
        content = files.read(name)
    except FileNotFoundError as error:
        raise missing_pointer(files.store, name, files.limit) from error
    except OSError as error:
        raise LoadError(f"the metadata can't be read: {error}", place) from error
    if files.store.connections and _PAGE.match(content):
        remedy = "Check the address and the endpoint: this may be a login or a proxy, and the checkpoint whole"
        raise LoadError("what answers sends a web page, or XML, and is no store", place, remedy)
    return content


_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml|error)", re.IGNORECASE)
"""How metadata never begins."""


def _metadata(store: Store, pointer: str, classes: Classes[M], content: bytes, limit: int) -> M:
    with naming(store.place(pointer)):
        try:
            return load_metadata(content, classes, max_size=limit)
        except UnsupportedError as error:
            cause = f"{error.cause}{_written_by(store, pointer, content, limit)}"
            raise UnsupportedError(cause, error.where, error.remedy) from error.__cause__


def _written_by(store: Store, pointer: str, content: bytes, limit: int) -> str:
    """What wrote a pointer that can't be read, for an error: the manifest that seals it knows, if there is one."""
    sealed = FileRecord(pointer, len(content), content_digest(content))
    with suppress(OSError):
        for name in filter(is_manifest, store.names()):
            with suppress(DcpxError, OSError):
                manifest = parse_manifest(store.read(name, limit))
                if manifest.metadata == sealed:
                    return f" (written by torch {shown(manifest.torch)} and dcpx {shown(manifest.dcpx)})"
    return ""


def _manifest(files: _Files, metadata: Any) -> Manifest | None:
    """The manifest of the save that wrote `metadata`; None if that was not dcpx's."""
    meta = metadata.storage_meta
    save = None if meta is None or meta.save_id is None else save_of(manifest_name(meta.save_id))
    names = {info.relative_path for info in metadata.storage_data.values()}
    saves = {save_of(name) for name in names if is_data_file(name)} - {None}
    if save is None:
        if saves:
            raise CorruptError("the metadata doesn't name its manifest, though dcpx wrote the data files")
        return None
    name = manifest_name(save)
    place = files.store.place(name)
    try:
        with naming(place):
            manifest = parse_manifest(files.read(name))
    except FileNotFoundError:
        if not saves:
            return None
        remedy = "Restore it from another copy, or load with partial=True, which does without it"
        raise MissingFileError("the manifest is missing", Where(place), remedy) from None
    except OSError as error:
        raise LoadError(f"the manifest can't be read: {error}", Where(place)) from error
    if manifest.checkpoint != save:
        raise CorruptError(f"the manifest is that of another checkpoint, {manifest.checkpoint}", Where(place))
    return manifest


def check_readable(store: Store, pointer: str, content: bytes, sealed: bytes) -> None:
    """Read a pointer's `content`, and `sealed`, that of its manifest, before they are published.

    Raises what `read_pointer` would raise of them.
    """
    metadata = load_metadata(content, PLAIN, max_size=len(content))
    _check_agreement(store, pointer, content, metadata, parse_manifest(sealed))


def _check_agreement(store: Store, pointer: str, content: bytes, metadata: Any, manifest: Manifest) -> None:
    """CorruptError unless the manifest describes this pointer, and the same items, within the files that it lists."""
    place = Where(store.place(pointer))
    if manifest.metadata != FileRecord(pointer, len(content), content_digest(content)):
        raise CorruptError("the metadata isn't what the manifest says was written", place)
    sealed = {(item.fqn, item.offsets): item.seal for item in manifest.items}
    sizes = {file.name: file.size for file in manifest.files}
    for index, info in metadata.storage_data.items():
        offsets = None if index.offset is None else tuple(index.offset)
        if (index.fqn, offsets) not in sealed or info.offset + info.length > sizes.get(info.relative_path, -1):
            raise CorruptError("the manifest doesn't describe the item", Where(place.file, index.fqn))
        # A seal of the other kind would be held against nothing when the item is read.
        if sealed[index.fqn, offsets].kind != seal_kind(info.transform_descriptors):
            raise CorruptError("the manifest seals the item as one of another form", Where(place.file, index.fqn))
    if len(sealed) != len(metadata.storage_data) or len(sealed) != len(manifest.items):
        raise CorruptError("the manifest and the metadata list different items", place)
