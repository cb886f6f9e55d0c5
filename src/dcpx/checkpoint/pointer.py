"""Reads what a checkpoint's pointer says, and holds it against the manifest of the save that wrote it."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from torch.distributed.checkpoint.metadata import Metadata

from ..errors import CorruptError, DcpxError, LoadError, MissingFileError, NotFoundError, Where
from .directory import Directory
from .manifest import FileRecord, Manifest, content_digest, parse_manifest
from .metadata import load_metadata
from .names import is_data_file, manifest_name, save_of

__all__ = ["Pointed", "read_pointer"]

_ATTEMPTS = 3
"""How often a checkpoint may be replaced while it is being opened."""


class Pointed(NamedTuple):
    """What a pointer stands for. `manifest` is None for what stock DCP wrote, or for the reason that is `damage`."""

    metadata: Metadata
    manifest: Manifest | None
    damage: DcpxError | None


def read_pointer(directory: Directory, pointer: str, limit: int, *, without_manifest: bool = False) -> Pointed:
    """Read the checkpoint's metadata, `.metadata` or a rank's own, and its manifest; each has at most `limit` bytes.

    They agree with each other then: on the pointer's own content, and on which items there are, in which files. A
    manifest that is lost or damaged is an error, unless `without_manifest` asks to go on without it.

    Raises LoadError if there is no checkpoint, CorruptError, or another DcpxError; all of them name the file.
    """
    content = _read(directory, pointer, limit)
    for _ in range(_ATTEMPTS):
        metadata = _located(directory.place(pointer), content)
        try:
            manifest = _manifest(directory, metadata, limit)
        except DcpxError as error:
            with suppress(DcpxError):
                before, content = content, _read(directory, pointer, limit)
                if content != before:
                    continue  # another save has replaced it, and has removed that manifest
            damage = error.located(directory.place(pointer))
            if without_manifest:
                return Pointed(metadata, None, damage)
            raise damage from error.__cause__
        if manifest is not None:
            _check_agreement(directory, pointer, content, metadata, manifest)
        return Pointed(metadata, manifest, None)
    raise LoadError(
        f"the checkpoint was replaced {_ATTEMPTS} times while it was being opened", Where(directory.place(pointer))
    )


def _read(directory: Directory, name: str, limit: int) -> bytes:
    place = Where(directory.place(name))
    try:
        return directory.read(name, limit)
    except FileNotFoundError as error:
        raise NotFoundError("there is no checkpoint here", place) from error
    except OSError as error:
        raise LoadError(f"the metadata can't be read: {error}", place) from error


def _located(place: str, content: bytes) -> Metadata:
    try:
        return load_metadata(content)
    except DcpxError as error:
        raise error.located(place) from error.__cause__


def _manifest(directory: Directory, metadata: Metadata, limit: int) -> Manifest | None:
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
    place = directory.place(name)
    try:
        manifest = parse_manifest(directory.read(name, limit))
    except FileNotFoundError:
        if not saves:
            return None
        remedy = "Restore it from another copy, or load with partial=True, which does without it"
        raise MissingFileError("the manifest is missing", Where(place), remedy) from None
    except OSError as error:
        raise LoadError(f"the manifest can't be read: {error}", Where(place)) from error
    except DcpxError as error:
        raise error.located(place) from error.__cause__
    if manifest.checkpoint != save:
        raise CorruptError(f"the manifest is that of another checkpoint, {manifest.checkpoint}", Where(place))
    return manifest


def _check_agreement(
    directory: Directory, pointer: str, content: bytes, metadata: Metadata, manifest: Manifest
) -> None:
    """CorruptError unless the manifest describes this pointer, and the same items, within the files that it lists."""
    place = Where(directory.place(pointer))
    if manifest.metadata != FileRecord(pointer, len(content), content_digest(content)):
        raise CorruptError("the metadata isn't what the manifest says was written", place)
    sealed = {(item.fqn, item.offsets) for item in manifest.items}
    sizes = {file.name: file.size for file in manifest.files}
    for index, info in metadata.storage_data.items():
        offsets = None if index.offset is None else tuple(index.offset)
        if (index.fqn, offsets) not in sealed or info.offset + info.length > sizes.get(info.relative_path, -1):
            raise CorruptError("the manifest doesn't describe the item", Where(place.file, index.fqn))
    if len(sealed) != len(metadata.storage_data) or len(sealed) != len(manifest.items):
        raise CorruptError("the manifest and the metadata list different items", place)
