"""What a load asks for: the stored items, what each must be, and the tensors that they go to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import IO
from uuid import UUID

import numpy as np
import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner, ReadItem

from .. import kernels
from ..errors import CorruptError, DcpxError, LoadError, UnsupportedError, Where
from ..extensions.pack import Pack
from ..frame import Header
from ._torch import StorageInfo
from .geometry import Box, boxes, intersect, span
from .manifest import Manifest, Seal
from .staging import bytes_of, is_plain, on_device

__all__ = ["StoredItem", "Target", "all_items", "request_bytes", "stored_items"]

_CONTAINER_ROOM = 1 << 20
"""Bytes that a tensor's container may add to its elements."""

_PART = 1 << 20
"""Bytes that are hashed at once."""

_PACKED = [Pack().get_descriptor()]


@dataclass
class StoredItem:
    """One stored item and all requests for parts of it. `shape`, of the stored shard, and `dtype` are the metadata's;
    both are None for an object. `seal` is the manifest's."""

    info: StorageInfo
    index: MetadataIndex
    save_id: str | None
    shape: torch.Size | None
    dtype: torch.dtype | None
    seal: Seal | None = None
    requests: list[ReadItem] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The item's name for an error."""
        offset = self.index.offset
        return self.index.fqn + (f" at {tuple(offset)}" if offset is not None and any(offset) else "")

    @cached_property
    def nbytes(self) -> int:
        """Bytes of a tensor's elements; of an object, as it is stored."""
        if self.shape is None or self.dtype is None:
            return self.info.length
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def most_bytes(self) -> int:
        """The most that the item may unfold into; -1, no limit, for an object."""
        return -1 if self.shape is None else self.nbytes + _CONTAINER_ROOM

    @property
    def is_packed(self) -> bool:
        """Whether it is a frame of Pack's, and nothing else, whatever that frame says."""
        return list(self.info.transform_descriptors or ()) == _PACKED

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
    for request in requests:
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


class Target:
    """One request's tensor, and which of the stored item's elements go there.

    `begin` to `end` are the first and behind the last of them, counted in elements in C order of the stored shape.
    """

    def __init__(self, request: ReadItem, planner: LoadPlanner, shape: torch.Size, dtype: torch.dtype) -> None:
        self.request = request
        self.box = Box(tuple(request.storage_offsets), tuple(request.lengths))
        self.tensor = _resolved(request, planner)
        self.pending = 0  # jobs that have something for it
        if self.tensor.size() != request.lengths:
            raise LoadError(
                f"the stored tensor gives {tuple(request.lengths)}, the target is {tuple(self.tensor.size())}"
            )
        if len(self.box.sizes) != len(shape) or any(
            offset < 0 or size < 0 or offset + size > limit
            for offset, size, limit in zip(self.box.offsets, self.box.sizes, shape, strict=True)
        ):
            raise CorruptError(f"a part of shape {self.box.sizes} at {self.box.offsets} of a tensor {tuple(shape)}")
        self._shape = shape
        self._dtype = dtype
        self.on_device = on_device(self.tensor)  # beyond the host's reach
        self.begin = self.end = 0
        self._alone = True
        if 0 not in self.box.sizes:
            self.begin, self.end, self._alone = span(shape, self.box)
        same = self.tensor.dtype == dtype and is_plain(self.tensor) and self.tensor.is_contiguous()
        self._direct = same and not self.on_device

    @cached_property
    def _memory(self) -> memoryview:
        return bytes_of(self.tensor)

    def commit(self, planner: LoadPlanner) -> None:
        """Hand the filled tensor back to the planner. LoadError if it doesn't take it."""
        try:
            planner.commit_tensor(self.request, self.tensor)
        except DcpxError:
            raise
        except Exception as error:
            raise LoadError(f"the planner doesn't take what was loaded: {type(error).__name__}: {error}") from error

    def wants(self, begin: int, end: int) -> bool:
        """Whether any of the stored item's elements `begin` to `end - 1` goes to the target."""
        if begin >= self.end or end <= self.begin:
            return False
        return self._alone or any(intersect(box, self.box) for box in boxes(self._shape, begin, end))

    def memory(self, begin: int, end: int) -> memoryview | None:
        """The target's own bytes of the stored item's elements `begin` to `end - 1`, if it wants all of them as they
        are."""
        if not (self._direct and self._alone) or begin < self.begin or end > self.end:
            return None
        width = self._dtype.itemsize
        return self._memory[(begin - self.begin) * width : (end - self.begin) * width]

    def fill_from(self, stored: torch.Tensor) -> int:
        """Copy what the target wants of the whole stored tensor; returns how many bytes that were."""
        whole = self.box.sizes == tuple(self._shape)  # of which some classes can't make a view
        _copy(stored if whole else _part(stored, self.box), self.tensor)
        return math.prod(self.box.sizes) * self._dtype.itemsize

    def fill(self, raw: memoryview, begin: int) -> int:
        """Copy what the target wants of `raw`, the bytes of the stored item's elements from `begin` on.

        Returns how many bytes that were.
        """
        width = self._dtype.itemsize
        end = begin + len(raw) // width
        if begin >= self.end or end <= self.begin:
            return 0
        if self._alone:
            first, last = max(begin, self.begin), min(end, self.end)
            memory = self.memory(first, last)
            if memory is not None:
                memory[:] = raw[(first - begin) * width : (last - begin) * width]
                return len(memory)
        elif self._direct:
            return kernels.copy_part(raw, begin * width, self._memory, tuple(self._shape), *self.box, width)
        elements = _elements(raw, self._dtype)
        copied = 0
        for box in boxes(self._shape, begin, end):
            count = math.prod(box.sizes)
            common = intersect(box, self.box)
            if common is not None:
                part = elements[:count].view(box.sizes)
                _copy(part[common.slices(box.offsets)], self.tensor[common.slices(self.box.offsets)])
                copied += math.prod(common.sizes) * width
            elements = elements[count:]
        return copied


def _resolved(request: ReadItem, planner: LoadPlanner) -> torch.Tensor:
    try:
        return planner.resolve_tensor(request).detach()
    except DcpxError:
        raise
    except Exception as error:
        raise LoadError(f"the planner gives no tensor to fill: {type(error).__name__}: {error}") from error


def _part(stored: torch.Tensor, box: Box) -> torch.Tensor:
    try:
        return stored[box.slices()]
    except Exception as error:
        cause = f"a {type(stored).__name__} can only be loaded whole: {type(error).__name__}: {error}"
        raise UnsupportedError(cause, remedy="Load it into a target of its whole shape") from error


def _copy(part: torch.Tensor, target: torch.Tensor) -> None:
    try:
        target.copy_(part)
    except Exception as error:  # a class of tensors may raise anything
        raise LoadError(f"the target can't be filled: {error}") from error


def _elements(raw: memoryview, dtype: torch.dtype) -> torch.Tensor:
    """Bytes as elements; torch wants them aligned, and writable though it only reads them."""
    array = np.frombuffer(raw, np.uint8)
    if array.ctypes.data % dtype.itemsize or not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(array).view(dtype)
