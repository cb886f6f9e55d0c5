"""The manifest: what a save wrote, so that a reader notices whatever isn't that. spec/manifest.md specifies it.

A manifest is one JSON object, which ends with the checksum of what stands before it:

    body,"checksum":"<XXH3-128 of the body, 32 hexadecimal digits>"}    and a newline
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .. import kernels
from ..errors import CorruptError, LimitError, TruncatedError, UnsupportedError
from ..extensions.pack import Pack
from ..zstd import find_backend
from .names import is_data_file, is_pointer

__all__ = [
    "MAX_USER_SIZE",
    "TAIL_SIZE",
    "FileRecord",
    "ItemRecord",
    "Manifest",
    "Seal",
    "check_user",
    "content_digest",
    "pack_pointer",
    "parse_manifest",
    "seal_kind",
]

VERSION = 1

MAX_USER_SIZE = 1 << 20
"""Bytes of what the user adds, as JSON."""

_TAIL = re.compile(rb',"checksum":"([0-9a-f]{32})"\}\n')
TAIL_SIZE = 48
"""Bytes that follow the body: the checksum's member, the closing brace and the newline."""
_HEADER_HASH = re.compile(r"[0-9a-f]{16}")
_DIGEST = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_END = 1 << 63


class FileRecord(NamedTuple):
    """A file as it was written: its name, its size in bytes, and the XXH3-128 of its content in hexadecimal."""

    name: str
    size: int
    xxh3_128: str


class Seal(NamedTuple):
    """What an item's stored bytes must be, both values as hexadecimal text.

    Of kind "header": a frame whose header has the hash `value`, on which all its other checksums depend. Of kind
    "stored": bytes whose XXH3-128 is `value`.
    """

    kind: str
    value: str

    @classmethod
    def of_frame(cls, header_checksum: int) -> Seal:
        """The seal of a frame whose header has this hash."""
        return cls("header", f"{header_checksum:016x}")

    @classmethod
    def of_stored(cls, hasher: kernels.Xxh3_128) -> Seal:
        """The seal of the bytes that `hasher` was given."""
        return cls("stored", hasher.hexdigest())


_FRAME = [Pack().get_descriptor()]


def seal_kind(descriptors: Iterable[str] | None) -> str:
    """Which kind of seal an item has whose transforms these are: "header" where it is one of Pack's frames and nothing
    else, whose chunks a load may read one by one; "stored" for any other, of which no part is read without the rest."""
    return "header" if list(descriptors or ()) == _FRAME else "stored"


class ItemRecord(NamedTuple):
    """A stored item: its name, where it begins in its tensor (None for an object), and its seal."""

    fqn: str
    offsets: tuple[int, ...] | None
    seal: Seal


@dataclass(frozen=True)
class Manifest:
    """What one save wrote.

    `checkpoint` is the save's UUID, `created` its time in UTC as ISO 8601 has it, and `user` what the caller added.
    `metadata` describes the pointer, and `pointer` is its content as `pack_pointer` makes it, None if it isn't there.
    `files` are the data files.
    """

    checkpoint: str
    created: str
    dcpx: str
    torch: str
    world_size: int
    metadata: FileRecord
    files: list[FileRecord]
    items: list[ItemRecord]
    bases: list[dict[str, Any]] = field(default_factory=list)
    user: dict[str, Any] = field(default_factory=dict)
    pointer: str | None = None

    def pack(self) -> bytes:
        """The file's content."""
        members: dict[str, Any] = {
            "manifest": VERSION,
            "checkpoint": self.checkpoint,
            "created": self.created,
            "dcpx": self.dcpx,
            "torch": self.torch,
            "world_size": self.world_size,
            "metadata": self.metadata._asdict(),
            "files": [file._asdict() for file in self.files],
            "items": [{"fqn": fqn, "offsets": offsets, seal[0]: seal[1]} for fqn, offsets, seal in self.items],
            "bases": self.bases,
            "user": self.user,
        }
        if self.pointer is not None:
            members["pointer"] = self.pointer
        body = _dump(members)[:-1]
        return body + f',"checksum":"{content_digest(body)}"}}\n'.encode()

    def pointer_content(self, limit: int) -> bytes:
        """What the pointer says, byte for byte, to be written again where it was lost.

        Raises UnsupportedError if the manifest doesn't hold it, LimitError if it has more than `limit` bytes, and
        CorruptError if what is held isn't what `metadata` says.
        """
        backend = find_backend()
        if self.pointer is None or backend is None:
            cause = f"the manifest, of dcpx {self.dcpx}, doesn't hold" if backend else "no Zstandard package unpacks"
            raise UnsupportedError(f"{cause} what {self.metadata.name} said", remedy=_COPY_AGAIN)
        if self.metadata.size > limit:
            raise LimitError(f"{self.metadata.name} has {self.metadata.size} bytes, more than {limit}")
        content = bytearray(self.metadata.size)
        try:
            packed = base64.b64decode(self.pointer, validate=True)
            size = backend.decompress_into(memoryview(packed), memoryview(content))
        except (binascii.Error, ValueError, backend.error) as error:
            raise CorruptError(f"what the manifest holds of {self.metadata.name} can't be unpacked: {error}") from error
        if size != self.metadata.size or content_digest(content) != self.metadata.xxh3_128:
            raise CorruptError(f"what the manifest holds of {self.metadata.name} isn't what was written")
        return bytes(content)


_COPY_AGAIN = "Copy the checkpoint again, with the file whose name begins with a dot"


def pack_pointer(content: bytes) -> str | None:
    """A pointer's content for the manifest: Zstandard in base64; None where no Zstandard package is installed."""
    backend = find_backend()
    # Level 1: it is rarely read, and plain names and numbers become small at any level.
    return None if backend is None else base64.b64encode(backend.compress(memoryview(content), 1)).decode("ascii")


def content_digest(data: bytes | bytearray) -> str:
    """XXH3-128 in hexadecimal, as `xxhsum -H2` prints it."""
    return kernels.xxh3_128(data)[::-1].hex()


def check_user(user: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the caller wants in the manifest. ValueError unless it is a dictionary that JSON gives back as it is, in at
    most MAX_USER_SIZE bytes."""
    if user is None:
        return {}
    try:
        data = _dump(user)
        same = type(user) is dict and json.loads(data) == user
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"user must be a dictionary of what JSON can hold: {error}") from error
    if not same:
        raise ValueError("user must be a dictionary of strings, numbers, lists and such dictionaries, for JSON")
    if len(data) > MAX_USER_SIZE:
        raise ValueError(f"user takes {len(data)} bytes as JSON, more than {MAX_USER_SIZE}")
    return dict(user)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in `data`, a file's whole content, verified against its own checksum.

    Raises TruncatedError, CorruptError, LimitError, and UnsupportedError for one of a later version.
    """
    tail = _TAIL.fullmatch(data[-TAIL_SIZE:])
    if tail is None:
        raise TruncatedError("the manifest doesn't end with its checksum")
    body = data[:-TAIL_SIZE]
    if content_digest(body).encode() != tail[1]:
        raise CorruptError("the manifest's checksum is wrong")
    try:
        members = json.loads(str(body + b"}", "ascii"), object_pairs_hook=_members, parse_constant=_refuse)
    except RecursionError:
        raise LimitError("the manifest nests too deep") from None
    except ValueError as error:
        raise CorruptError(f"the manifest isn't JSON: {error}") from error
    if type(members) is not dict or type(members.get("manifest")) is not int:
        raise CorruptError("the manifest doesn't say which version it is")
    if members["manifest"] != VERSION:
        raise UnsupportedError(f"the manifest has version {members['manifest']}, known is {VERSION}")
    try:
        return _manifest(members)
    except KeyError as error:
        raise CorruptError(f"the manifest has no {error}") from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _manifest(members: dict[str, Any]) -> Manifest:
    checkpoint = members["checkpoint"]
    if type(checkpoint) is not str or _UUID.fullmatch(checkpoint) is None:
        raise CorruptError("the checkpoint's UUID is none")
    created, dcpx, torch = (members[name] for name in ("created", "dcpx", "torch"))
    if any(type(text) is not str for text in (created, dcpx, torch)) or not _is_count(members["world_size"]):
        raise CorruptError("the manifest doesn't say when and by what it was written")
    metadata = _file(members["metadata"])
    files = [_file(one) for one in _list(members, "files")]
    if not is_pointer(metadata.name) or not all(is_data_file(file.name) for file in files):
        raise CorruptError("the manifest names a file that is none of a checkpoint's")
    if len({file.name for file in files}) != len(files):
        raise CorruptError("the manifest names a file twice")
    bases, user = _list(members, "bases"), members["user"]
    if type(user) is not dict or any(type(base) is not dict for base in bases):
        raise CorruptError("the manifest's bases or what the user added aren't objects")
    pointer = members.get("pointer")
    if pointer is not None and type(pointer) is not str:
        raise CorruptError("what the manifest holds of the pointer is no text")
    items = [_item(one) for one in _list(members, "items")]
    count = members["world_size"]
    return Manifest(checkpoint, created, dcpx, torch, count, metadata, files, items, bases, user, pointer)


def _list(members: dict[str, Any], name: str) -> list[Any]:
    value = members[name]
    if type(value) is not list:
        raise CorruptError(f"the manifest's {name} aren't a list")
    return value


def _file(value: object) -> FileRecord:
    if type(value) is dict:
        name, size, digest = value.get("name"), value.get("size"), value.get("xxh3_128")
        if (
            type(name) is str
            and type(size) is int
            and 0 <= size < _END
            and type(digest) is str
            and _DIGEST.fullmatch(digest)
        ):
            return FileRecord(name, size, digest)
    raise CorruptError("the manifest has a file without name, size or hash")


def _item(value: object) -> ItemRecord:
    if type(value) is dict:
        fqn, offsets = value.get("fqn"), value.get("offsets")
        header, stored = value.get("header"), value.get("stored")
        if type(fqn) is str and (offsets is None or (type(offsets) is list and all(map(_is_count, offsets)))):
            where = None if offsets is None else tuple(offsets)
            if stored is None and type(header) is str and _HEADER_HASH.fullmatch(header):
                return ItemRecord(fqn, where, Seal("header", header))
            if header is None and type(stored) is str and _DIGEST.fullmatch(stored):
                return ItemRecord(fqn, where, Seal("stored", stored))
    raise CorruptError("the manifest has an item without name, offsets or hash")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _END
