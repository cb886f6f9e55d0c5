"""`inspect`: what is in a checkpoint, by what its metadata, manifest and headers say. No element is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias

from ..catalog.items import StoredItem, place_of
from ..catalog.limits import Limits
from ..catalog.manifest import Manifest
from ..catalog.plain import TensorStorageMetadata
from ..codecs import CODECS
from ..codecs.container import WHOLE, Container
from ..codecs.raw import Raw
from ..descriptor import Descriptor
from ..errors import DcpxError, ExtensionError, TruncatedError, Where
from ..frame.layout import CHUNK_HEADER_SIZE, PREFIX_SIZE, header_size, parse_chunk_header, parse_header
from ..located import reading
from ..store.address import StorageOptions
from ..store.contract import Store
from ..store.source import FileSource
from .opened import Opened, Pointer, open_checkpoint
from .selection import matching
from .tables import Table, shape_text

__all__ = ["Item", "Part", "Summary", "inspect", "summary_of"]

SCHEMA = "dcpx.inspect/1"
"""The version of what `Summary.to_json` returns: a new member doesn't change it, a changed or lost one does."""

_FEW = 10_000
"""Items whose headers are read for the codecs unless that is asked for."""

_HEAD = 512
"""Bytes that hold nearly every header."""


class Part(NamedTuple):
    """A stored item: an object, or a part of a tensor that begins at `offsets` and has `shape`, in elements.

    It lies in `file`, written by `rank` where the name says so, from byte `at` on, in `stored` bytes; `nbytes` are
    those of a tensor's elements. `transforms` are the names of the extensions that it went through, the first one
    first. `codec` is that of the first elements in a frame of dcpx's, such as "float"; None where that wasn't looked
    at, or there is no frame. Equal tensors are stored once: `copy_of` is the name of the first item at this place, and
    of a copy `stored` is 0.
    """

    file: str
    rank: int | None
    at: int
    offsets: tuple[int, ...] | None
    shape: tuple[int, ...] | None
    nbytes: int
    stored: int
    transforms: tuple[str, ...]
    codec: str | None = None
    copy_of: str | None = None


class Item(NamedTuple):
    """A tensor or an object of the saved state, by its name. `dtype`, such as "bfloat16", and `shape` are a tensor's;
    both are None for an object. `nbytes` are those of the elements, and of an object what is stored. `own_rank` is the
    rank whose own checkpoint it is in, where each has one."""

    name: str
    dtype: str | None
    shape: tuple[int, ...] | None
    nbytes: int
    parts: tuple[Part, ...]
    own_rank: int | None = None

    @property
    def kind(self) -> Literal["tensor", "object"]:
        return "object" if self.dtype is None else "tensor"

    @property
    def stored(self) -> int:
        """Bytes in files."""
        return sum(part.stored for part in self.parts)

    @property
    def numel(self) -> int:
        """Elements of a tensor; 0 for an object."""
        return _product(self.shape) if self.shape is not None else 0

    @property
    def coding(self) -> str:
        """How it is stored, in a word or two: by codecs of dcpx's, or else through which extensions."""
        found = dict.fromkeys(
            text
            for part in self.parts
            for text in (("copy",) if part.copy_of else (part.codec,) if part.codec else part.transforms)
        )
        return ", ".join(found) or "plain"


@dataclass(frozen=True)
class Summary:
    """What a checkpoint says of itself.

    `kind` is "dcpx" where a manifest vouches for it, else "stock". `uuid` is the save's, `created` its time in UTC as
    ISO 8601 has it, `dcpx` and `torch` are the versions that wrote it, `world_size` its number of ranks and `user` what
    was saved with it; None, and no users' values, where nobody says so. `files` are the data files with their sizes,
    which are the manifest's, or as far as items reach. `problems` are what was found damaged, or can't be read: there
    may be more, which `verify` finds.
    """

    path: str
    kind: Literal["dcpx", "stock"]
    uuid: str | None
    created: str | None
    dcpx: str | None
    torch: str | None
    world_size: int | None
    user: Mapping[str, Any]
    items: list[Item]
    files: Mapping[str, int]
    problems: list[DcpxError] = field(default_factory=list)

    @property
    def tensors(self) -> list[Item]:
        return [item for item in self.items if item.kind == "tensor"]

    @property
    def objects(self) -> list[Item]:
        return [item for item in self.items if item.kind == "object"]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors' elements, and of the objects as they are stored."""
        return sum(item.nbytes for item in self.items)

    @property
    def stored(self) -> int:
        """Bytes of all items in the data files."""
        return sum(item.stored for item in self.items)

    @property
    def numel(self) -> int:
        """Elements of all tensors."""
        return sum(item.numel for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; docs/look.md has the schema."""
        return {
            "schema": SCHEMA,
            "path": self.path,
            "kind": self.kind,
            "uuid": self.uuid,
            "created": self.created,
            "dcpx": self.dcpx,
            "torch": self.torch,
            "world_size": self.world_size,
            "user": self.user,
            "nbytes": self.nbytes,
            "stored": self.stored,
            "numel": self.numel,
            "files": [{"name": name, "size": size} for name, size in self.files.items()],
            "items": [_item_to_json(item) for item in self.items],
            "problems": [str(problem) for problem in self.problems],
        }

    def table(self) -> Table:
        """A row for each item, which a notebook shows."""
        columns = ("item", "dtype", "shape", "bytes", "stored", "coding", "files")
        return Table(
            columns,
            [
                (
                    item.name,
                    item.dtype or "object",
                    shape_text(item.shape),
                    item.nbytes,
                    item.stored,
                    item.coding,
                    len({part.file for part in item.parts}),
                )
                for item in self.items
            ],
        )

    def _repr_html_(self) -> str:
        return self.table().to_html()


def inspect(
    path: str | os.PathLike[str],
    pattern: str = "*",
    *,
    codecs: bool | None = None,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    storage_options: StorageOptions | None = None,
) -> Summary:
    """What is in the checkpoint at `path`, a local path or the address of a store: dcpx's or stock DCP's. Only items
    whose names match the glob `pattern` are listed, and counted.

    Needs no torch, runs nothing and reads no tensor: only `.metadata`, the manifest, and with `codecs` the header of
    each such item (by default where there are at most 10,000). Names and values are those of the file, which may hold
    anything: escape them where you show them.

    Raises NotFoundError if there is no checkpoint, LostPointerError if there is one that has only lost its pointer,
    CorruptError, UnsupportedError or LimitError for a pointer that can't be read, LoadError if the store can't be read
    or no name matches, and ValueError for wrong arguments. A manifest or a header that can't be read is one of the
    `problems`.
    """
    return summary_of(open_checkpoint(path, limits=limits, storage_options=storage_options), pattern, codecs=codecs)


def summary_of(opened: Opened, pattern: str = "*", *, codecs: bool | None = None) -> Summary:
    """As `inspect`, of a checkpoint that is open."""
    described = (name for one in opened.pointers for name in one.pointed.metadata.state_dict_metadata)
    names = matching(described, pattern, opened.path)
    count = sum(item.index.fqn in names for one in opened.pointers for item in one.items)
    problems = [one.pointed.damage for one in opened.pointers if one.pointed.damage is not None]
    read = _Codecs(opened.store, problems) if (count <= _FEW if codecs is None else codecs) else None
    items = [item for pointer in opened.pointers for item in _items(pointer, names, read)]
    manifests = [one.pointed.manifest for one in opened.pointers if one.pointed.manifest is not None]
    files: dict[str, int] = {}
    for info in (item.info for pointer in opened.pointers for item in pointer.items):
        files[info.relative_path] = max(files.get(info.relative_path, 0), info.offset + info.length)
    for manifest in manifests:
        files.update({file.name: file.size for file in manifest.files})
    first = manifests[0] if manifests else None
    return Summary(
        opened.path,
        "stock" if first is None and not problems else "dcpx",
        *_origin(first),
        {} if first is None else first.user,
        items,
        dict(sorted(files.items())),
        problems,
    )


_Origin: TypeAlias = tuple["str | None", "str | None", "str | None", "str | None", "int | None"]


def _origin(manifest: Manifest | None) -> _Origin:
    if manifest is None:
        return None, None, None, None, None
    return manifest.checkpoint, manifest.created, manifest.dcpx, manifest.torch, manifest.world_size


class _Codecs:
    """Reads the headers of the items of dcpx's own."""

    def __init__(self, store: Store, problems: list[DcpxError]) -> None:
        self._store = store
        self._problems = problems

    def of(self, items: Iterable[StoredItem]) -> dict[int, str]:
        """The codecs of those that have a header, by their identity."""
        packed = [one for one in items if one.is_packed]
        packed.sort(key=lambda one: (one.info.relative_path, one.info.offset))
        found: dict[int, str] = {}
        for file, here in groupby(packed, key=lambda one: one.info.relative_path):
            try:
                source = FileSource(self._store, file)
            except DcpxError as error:
                self._problems.append(error)
                continue
            try:
                for item in here:
                    try:
                        with reading(source.name, item.name):
                            found[id(item)] = self._codec(source, item)
                    except DcpxError as error:
                        self._problems.append(error)
            finally:
                source.close()
        return found

    @staticmethod
    def _codec(source: FileSource, item: StoredItem) -> str:
        length = item.info.length
        head = source.read(item.info.offset, min(_HEAD, length))

        def read(offset: int, size: int) -> bytes:
            if offset + size > length:
                raise TruncatedError("the item ends before its first chunk", Where(offset=length))
            known = head[offset : offset + size]
            return known if len(known) == size else source.read(item.info.offset + offset, size)

        header = parse_header(read(0, header_size(head[:PREFIX_SIZE])))
        item.check_identity(header)
        offset = header.size
        chunk = parse_chunk_header(read(offset, CHUNK_HEADER_SIZE), header, 0, offset)
        if chunk.codec == Container.id:  # what a container begins with, or all of a small tensor
            if chunk.parameter == WHOLE:
                return CODECS[Raw.id].name
            offset += CHUNK_HEADER_SIZE + chunk.stored
            chunk = parse_chunk_header(read(offset, CHUNK_HEADER_SIZE), header, 1, offset)
        return CODECS[chunk.codec].name if chunk.codec in CODECS else f"codec {chunk.codec}"


def _items(pointer: Pointer, names: set[str], read: _Codecs | None) -> Iterator[Item]:
    described = pointer.pointed.metadata.state_dict_metadata
    kept = [item for item in pointer.items if item.index.fqn in names]
    codecs = {} if read is None else read.of(kept)
    parts: dict[str, list[Part]] = {}
    first: dict[tuple[str, int, int], StoredItem] = {}
    for item in kept:
        info, offset = item.info, item.index.offset
        original = first.setdefault(place_of(info), item) if item.together else item
        parts.setdefault(item.index.fqn, []).append(
            Part(
                info.relative_path,
                _rank_of(info.relative_path),
                info.offset,
                None if offset is None or item.shape is None else tuple(offset),
                item.shape,
                item.nbytes,
                info.length if original is item else 0,
                _transforms(tuple(info.transform_descriptors or ())),
                codecs.get(id(item)),
                None if original is item else original.name,
            )
        )
    for name in filter(names.__contains__, described):
        one = described[name]
        stored = tuple(parts.get(name, ()))
        if isinstance(one, TensorStorageMetadata):
            nbytes = _product(one.size) * one.properties.dtype.itemsize
            yield Item(name, str(one.properties.dtype), tuple(one.size), nbytes, stored, pointer.rank)
        else:
            yield Item(name, None, None, sum(part.stored for part in stored), stored, pointer.rank)


@lru_cache(256)
def _transforms(descriptors: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_short, descriptors))


def _short(descriptor: str) -> str:
    try:
        return Descriptor.parse(descriptor).name
    except ExtensionError:
        return descriptor


_DATA_FILE = re.compile(r".*__(\d{1,9})_\d+\.distcp")


@lru_cache(4096)
def _rank_of(file: str) -> int | None:
    found = _DATA_FILE.fullmatch(file)
    return None if found is None else int(found[1])


def _product(sizes: Iterable[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _item_to_json(item: Item) -> dict[str, Any]:
    return {
        "name": item.name,
        "kind": item.kind,
        "dtype": item.dtype,
        "shape": item.shape,
        "nbytes": item.nbytes,
        "stored": item.stored,
        "own_rank": item.own_rank,
        "parts": [
            {
                "file": part.file,
                "rank": part.rank,
                "at": part.at,
                "offsets": part.offsets,
                "shape": part.shape,
                "nbytes": part.nbytes,
                "stored": part.stored,
                "transforms": part.transforms,
                "codec": part.codec,
                "copy_of": part.copy_of,
            }
            for part in item.parts
        ],
    }
