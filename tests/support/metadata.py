"""What DCP's metadata is made of, without a save."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from dcpx.catalog.items import StoredItem
from dcpx.catalog.manifest import Seal
from dcpx.dcp.private import StorageInfo

__all__ = ["indices_of", "make_chunk", "make_object", "make_tensor", "rows"]


def make_chunk(offsets: Sequence[int], sizes: Sequence[int]) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))


def rows(size: Sequence[int], edges: Sequence[int]) -> list[ChunkStorageMetadata]:
    """The chunks of a tensor of this size that is cut along its first dimension, from edge to edge; a scalar's one."""
    if not size:
        return [make_chunk((), ())]
    rest = size[1:]
    return [make_chunk((begin, *[0] * len(rest)), (end - begin, *rest)) for begin, end in pairwise(edges)]


def make_tensor(
    size: Sequence[int], chunks: list[ChunkStorageMetadata], dtype: torch.dtype = torch.float32, **properties: Any
) -> TensorStorageMetadata:
    """What is said of a tensor; `properties` are those of TensorProperties."""
    return TensorStorageMetadata(TensorProperties(dtype, **properties), torch.Size(size), chunks)


def indices_of(name: str, item: TensorStorageMetadata | BytesStorageMetadata) -> list[MetadataIndex]:
    """By what all parts of an item are stored: a tensor's chunks, or an object."""
    if isinstance(item, BytesStorageMetadata):
        return [MetadataIndex(name)]
    return [MetadataIndex(name, chunk.offsets, number) for number, chunk in enumerate(item.chunks)]


def make_object(length: int, descriptors: list[str] | None = None, seal: Seal | None = None) -> StoredItem:
    """An object "x" of `length` stored bytes."""
    return StoredItem(StorageInfo("file", 0, length, descriptors), MetadataIndex("x"), None, None, None, seal)
