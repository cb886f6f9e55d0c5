"""A checkpoint's metadata as DCP's own classes, which is what DCP works with."""

from __future__ import annotations

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from ..catalog.metadata import MAX_METADATA_SIZE
from ..catalog.metadata import load_metadata as load_metadata_as
from ..catalog.records import Classes
from ..pickles.constants import ITEM_SIZES, OTHER_NAMES
from .private import HAS_STRIDES, OldTensorProperties, StorageInfo

__all__ = ["DCP", "dtype_name", "load_metadata"]

DCP: Classes[Metadata] = Classes(
    metadata=Metadata,
    tensor=TensorStorageMetadata,
    object=BytesStorageMetadata,
    chunk=ChunkStorageMetadata,
    properties=TensorProperties,
    old_properties=OldTensorProperties,
    index=MetadataIndex,
    storage_info=StorageInfo,
    storage_meta=StorageMeta,
    size=torch.Size,
    dtype=torch.dtype,
    layout=torch.layout,
    memory_format=torch.memory_format,
    dtypes={name: dtype for name in (*ITEM_SIZES, *OTHER_NAMES) if (dtype := getattr(torch, name, None)) is not None},
    layouts={str(value): value for value in vars(torch).values() if isinstance(value, torch.layout)},
    memory_formats=(torch.contiguous_format, torch.channels_last, torch.preserve_format),
    has_strides=HAS_STRIDES,
    shared=False,
)
"""DCP's classes, as this torch has them, and those of its dtypes that dcpx knows: no other could be loaded."""


def dtype_name(dtype: torch.dtype) -> str:
    """The dtype's name without `torch.`."""
    return str(dtype)[len("torch.") :]


def load_metadata(data: bytes, *, max_size: int = MAX_METADATA_SIZE) -> Metadata:
    """The metadata in `data`, equal to what `pickle.load` makes of every file that DCP writes; nothing in it is run.
    Raises what `catalog.metadata.load_metadata` raises."""
    return load_metadata_as(data, DCP, max_size=max_size)
