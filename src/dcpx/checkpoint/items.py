"""What a load asks for: the stored items, and what each must be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import IO
from uuid import UUID

import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, ReadItem

from .. import kernels
from ..errors import CorruptError, Where
from ..frame import Header
from ._torch import StorageInfo
from .manifest import Manifest, Seal, seal_kind

__all__ = ["StoredItem", "all_items", "request_bytes", "stored_items"]

_CONTAINER_ROOM = 1 << 20
"""Bytes that a tensor's container may add to its elements."""

_PART = 1 << 20
"""Bytes that are hashed at once."""


@dataclass
class StoredItem:
    """One stored item and all requests for parts of it. `shape`, of the stored shard, and `dtype` are the metadata's;
    both are None for an object. `seal` is the manifest's; `numbers` are the requests' places in the plan. `nbytes` are
    those of a tensor's elements; of an object, as it is stored."""

    info: StorageInfo
    index: MetadataIndex
    save_id: str | None
    shape: torch.Size | None
    dtype: torch.dtype | None
    seal: Seal | None = None
    requests: list[ReadItem] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        if self.shape is None or self.dtype is None:
            self.nbytes = self.info.length
        else:
            self.nbytes = math.prod(self.shape) * self.dtype.itemsize

    @property
    def name(self) -> str:
        """The item's name for an error."""
        offset = self.index.offset
        return self.index.fqn + (f" at {tuple(offset)}" if offset is not None and any(offset) else "")

    @property
    def most_bytes(self) -> int:
        """The most that the item may unfold into; -1, no limit, for an object."""
        return -1 if self.shape is None else self.nbytes + _CONTAINER_ROOM

    @property
    def is_packed(self) -> bool:
        """Whether it is a frame of Pack's, and nothing else, whatever that frame says."""
        return seal_kind(self.info.transform_descriptors) == "header"

    def check_identity(self, header: Header) -> None:
        """A frame that says which item of which checkpoint it is must be the one that was asked for."""
        index = self.index
        offsets = None if index.offset is None else tuple(index.offset)
        if header.key is not None and (header.key.fqn, header.key.offsets) != (index.fqn, offsets):
            found = f"{header.key.fqn!r} at {header.key.offsets}"
            raise CorruptError(f"the stored item is {found}, not {index.fqn!r} at {offsets}")
        if (
            header.checkpoint is not None
            and self.save_id is not None
            and header.checkpoint.hex() != self.save_id.replace("-", "")
        ):
            raise CorruptError(f"the stored item belongs to another checkpoint, {UUID(bytes=header.checkpoint)}")
        if self.seal is not None and self.seal.kind == "header" and self.seal != Seal.of_frame(header.checksum):
            raise CorruptError("the stored item isn't the one that the manifest names")

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


def stored_items(requests: Iterable[ReadItem], metadata: Metadata, manifest: Manifest | None) -> list[StoredItem]:
    """The stored items that are asked for, in the order in which they lie in their files."""
    seals, save_id = _seals(manifest), _save_id(metadata)
    storage = metadata.storage_data
    found: dict[MetadataIndex, StoredItem] = {}
    for number, request in enumerate(requests):
        index = request.storage_index
        item = found.get(index)
        if item is None:
            info = storage.get(index)
            if info is None:
                raise CorruptError("the metadata doesn't say where the item is stored", Where(item=index.fqn))
            described = metadata.state_dict_metadata.get(index.fqn)
            described = None if request.type == LoadItemType.BYTE_IO else described
            item = found[index] = _stored_item(index, info, save_id, described, seals)
        item.requests.append(request)
        item.numbers.append(number)
    return sorted(found.values(), key=lambda item: (item.info.relative_path, item.info.offset))


def all_items(metadata: Metadata, manifest: Manifest | None) -> list[StoredItem]:
    """All stored items, none of which is asked for."""
    seals, save_id, described = _seals(manifest), _save_id(metadata), metadata.state_dict_metadata
    return [
        _stored_item(index, info, save_id, described.get(index.fqn), seals)
        for index, info in metadata.storage_data.items()
    ]


_Seals = Mapping[tuple[str, tuple[int, ...] | None], Seal]


def _seals(manifest: Manifest | None) -> _Seals:
    return {} if manifest is None else {(item.fqn, item.offsets): item.seal for item in manifest.items}


def _save_id(metadata: Metadata) -> str | None:
    return None if metadata.storage_meta is None else metadata.storage_meta.save_id


def _stored_item(
    index: MetadataIndex, info: StorageInfo, save_id: str | None, described: object, seals: _Seals
) -> StoredItem:
    seal = seals.get((index.fqn, None if index.offset is None else tuple(index.offset)))
    if not isinstance(described, TensorStorageMetadata):
        return StoredItem(info, index, save_id, None, None, seal)
    return StoredItem(info, index, save_id, _stored_shape(described, index), described.properties.dtype, seal)


def request_bytes(request: ReadItem, metadata: Metadata) -> int:
    """Bytes of the elements that a request asks for; 0 for an object."""
    described = metadata.state_dict_metadata.get(request.storage_index.fqn)
    if request.type == LoadItemType.BYTE_IO or not isinstance(described, TensorStorageMetadata):
        return 0
    return math.prod(request.lengths) * described.properties.dtype.itemsize


def _stored_shape(described: TensorStorageMetadata, index: MetadataIndex) -> torch.Size:
    for chunk in _stored_chunks(described, index):
        if index.offset is None or chunk.offsets == index.offset:
            return chunk.sizes
    raise CorruptError("the metadata doesn't describe the stored item", Where(item=index.fqn))


def _stored_chunks(described: TensorStorageMetadata, index: MetadataIndex) -> Iterable[ChunkStorageMetadata]:
    """A tensor's chunks, the one that `index` hints at first."""
    hinted = described.chunks[index.index : index.index + 1] if index.index is not None and index.index >= 0 else []
    return chain(hinted, described.chunks)
