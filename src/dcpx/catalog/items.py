"""The stored items of a checkpoint, and what each must be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, Protocol
from uuid import UUID

from .. import kernels
from ..errors import CorruptError, Where
from ..frame import Header
from ..frame import ItemKey as Key
from ..pickles.constants import ITEM_SIZES
from .manifest import Manifest, Seal, seal_kind
from .plain import Metadata

__all__ = ["Described", "StoredItem", "all_items", "place_of", "sharing"]


class Index(Protocol):
    """Which stored item it is: DCP's MetadataIndex, or the catalog's."""

    @property
    def fqn(self) -> str: ...

    @property
    def offset(self) -> tuple[int, ...] | None: ...

    @property
    def index(self) -> int | None: ...


class Place(Protocol):
    """Where it is stored: DCP's StorageInfo, or the catalog's."""

    @property
    def relative_path(self) -> str: ...

    @property
    def offset(self) -> int: ...

    @property
    def length(self) -> int: ...

    @property
    def transform_descriptors(self) -> Sequence[str] | None: ...


_CONTAINER_ROOM = 1 << 20
"""Bytes that a tensor's container may add to its elements."""

_PART = 1 << 20
"""Bytes that are hashed at once."""


@dataclass
class StoredItem:
    """One stored item. `shape`, of the stored shard, and `dtype`, such as "bfloat16", are the metadata's; both are None
    for an object. `seal` is the manifest's, `together` are the names of all tensors at this very place where there are
    several. `nbytes` are those of a tensor's elements; of an object, as it is stored.
    """

    info: Place
    index: Index
    save_id: str | None
    shape: tuple[int, ...] | None
    dtype: str | None
    seal: Seal | None = None
    together: Sequence[Key] = ()
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        if self.shape is None or self.dtype is None:
            self.nbytes = self.info.length
        else:
            self.nbytes = math.prod(self.shape) * ITEM_SIZES[self.dtype]

    @property
    def name(self) -> str:
        """The item's name for an error."""
        return _name(_key(self.index))

    @property
    def most_bytes(self) -> int:
        """The most that the item may unfold into; -1, no limit, for an object."""
        return -1 if self.shape is None else self.nbytes + _CONTAINER_ROOM

    @property
    def is_packed(self) -> bool:
        """Whether it is a frame of Pack's, and nothing else, whatever that frame says."""
        return seal_kind(self.info.transform_descriptors) == "header"

    def check_identity(self, header: Header) -> None:
        """A frame that says which item of which checkpoint it is must be the one that was asked for, or another that
        the metadata has at this very place: equal tensors are stored once."""
        own = _key(self.index)
        if header.key is not None and header.key != own and header.key not in self.together:
            found = f"{header.key.fqn!r} at {header.key.offsets}"
            raise CorruptError(f"the stored item is {found}, not {own.fqn!r} at {own.offsets}")
        if (
            header.checkpoint is not None
            and self.save_id is not None
            and header.checkpoint.hex() != self.save_id.replace("-", "")
        ):
            raise CorruptError(f"the stored item belongs to another checkpoint, {UUID(bytes=header.checkpoint)}")
        if self.seal is not None and self.seal.kind == "header" and self.seal != Seal.of_frame(header.checksum):
            raise CorruptError("the stored item isn't the one that the manifest names")

    def check_tensor(self, dtype: str, shape: tuple[int, ...]) -> None:
        """CorruptError unless the stored tensor is the one that the metadata describes."""
        if shape != self.shape:
            raise CorruptError(f"the stored tensor is {tuple(shape)}, the metadata says {tuple(self.shape or ())}")
        if dtype != self.dtype:
            raise CorruptError(f"the stored tensor is torch.{dtype}, the metadata says torch.{self.dtype}")

    def check_stored(self, stored: IO[bytes]) -> None:
        """The bytes of an item that isn't a frame must be those that were written; reads them all, and goes back."""
        if self.seal is None or self.seal.kind != "stored":
            return
        hasher = kernels.Xxh3_128()
        while part := stored.read(_PART):
            hasher.update(part)
        if self.seal != Seal.of_stored(hasher):
            raise CorruptError("the stored bytes aren't those that the manifest names")
        stored.seek(0)


def all_items(metadata: Metadata, manifest: Manifest | None) -> list[StoredItem]:
    """All stored items."""
    described = Described(metadata, manifest)
    return [StoredItem(*described.item(index, info)) for index, info in metadata.storage_data.items()]


class Described:
    """What the metadata and the manifest say of each stored item. The metadata may be made of plain records or of
    DCP's own classes; then `dtype_name` names a dtype."""

    def __init__(
        self, metadata: Any, manifest: Manifest | None, dtype_name: Callable[[Any], str] | None = None
    ) -> None:
        self._described: Mapping[str, Any] = metadata.state_dict_metadata
        self._save_id = None if metadata.storage_meta is None else metadata.storage_meta.save_id
        self._seals: dict[tuple[str, tuple[int, ...] | None], Seal] = (
            {} if manifest is None else {(item.fqn, item.offsets): item.seal for item in manifest.items}
        )
        self._dtype_name = dtype_name
        self._together = _together(metadata)

    def item(self, index: Index, info: Place, *, as_object: bool = False) -> tuple[Any, ...]:
        """The arguments of a StoredItem. CorruptError if the metadata doesn't describe it."""
        described: Any = None if as_object else self._described.get(index.fqn)
        seal = self._seals.get(_key(index))
        if not hasattr(described, "chunks"):  # only a tensor has them
            return info, index, self._save_id, None, None, seal
        together = self._together.get(place_of(info), ()) if self._together else ()
        dtype = described.properties.dtype
        name = dtype if self._dtype_name is None else self._dtype_name(dtype)
        return info, index, self._save_id, _stored_shape(described.chunks, index), name, seal, together


def _key(index: Index) -> Key:
    return Key(index.fqn, None if index.offset is None else tuple(index.offset))


def _name(key: Key) -> str:
    fqn, offsets = key
    return fqn + (f" at {offsets}" if offsets is not None and any(offsets) else "")


def place_of(info: Place) -> tuple[str, int, int]:
    """File, offset and length: whatever is the same there is the same item, or equal ones."""
    return info.relative_path, info.offset, info.length


def sharing(metadata: Any, name: str) -> list[str]:
    """The names of the other tensors, or parts of them, that are at the place of the one of this name."""
    for keys in _together(metadata).values():
        names = list(map(_name, keys))
        if name in names:
            return [other for other in names if other != name]
    return []


def _together(metadata: Any) -> dict[tuple[str, int, int], list[Key]]:
    """The tensors of each place that has several."""
    storage = metadata.storage_data
    places = set(map(place_of, storage.values()))
    if len(places) == len(storage):
        return {}
    found: dict[tuple[str, int, int], list[Key]] = {}
    for index, info in storage.items():
        if hasattr(metadata.state_dict_metadata.get(index.fqn), "chunks"):
            found.setdefault(place_of(info), []).append(_key(index))
    return {place: keys for place, keys in found.items() if len(keys) > 1}


def _stored_shape(chunks: Sequence[Any], index: Index) -> tuple[int, ...]:
    # The one that the index hints at comes first.
    hinted = chunks[index.index : index.index + 1] if index.index is not None and index.index >= 0 else []
    for chunk in chain(hinted, chunks):
        if index.offset is None or chunk.offsets == index.offset:
            return chunk.sizes  # type: ignore[no-any-return]
    raise CorruptError("the metadata doesn't describe the stored item", Where(item=index.fqn))
