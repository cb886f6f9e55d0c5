"""What a `.metadata` file says, as dcpx's own plain records: DCP's names and fields, without torch.

Dtypes, layouts and memory formats are strings such as "bfloat16", "torch.strided" and "contiguous_format". Records are
not to be changed: those that say the same may be one object.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from ..pickles.constants import ITEM_SIZES, OTHER_NAMES
from .records import Classes

__all__ = [
    "PLAIN",
    "BytesStorageMetadata",
    "ChunkStorageMetadata",
    "Dtype",
    "Layout",
    "MemoryFormat",
    "Metadata",
    "MetadataIndex",
    "Size",
    "StorageInfo",
    "StorageMeta",
    "TensorProperties",
    "TensorStorageMetadata",
]


class Dtype(str):
    """The name of a dtype of torch's, without `torch.`."""

    __slots__ = ()

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ITEM_SIZES[self]


class Layout(str):
    """The name of a layout of torch's."""

    __slots__ = ()


class MemoryFormat(str):
    """The name of a memory format of torch's, without `torch.`."""

    __slots__ = ()


class Size(tuple[int, ...]):
    """Sizes or offsets in elements, one for each dimension."""

    __slots__ = ()


@dataclass
class ChunkStorageMetadata:
    """A stored part of a tensor: where it begins and how far it reaches."""

    offsets: Size
    sizes: Size


@dataclass
class TensorProperties:
    """What a tensor is besides its elements. `strides` are None where the file, of a torch before 2.15, has none."""

    dtype: Dtype
    layout: Layout
    requires_grad: bool
    memory_format: MemoryFormat
    pin_memory: bool
    strides: tuple[int, ...] | None = None


@dataclass
class TensorStorageMetadata:
    """A tensor: its properties, its size, and the parts in which it is stored."""

    properties: TensorProperties
    size: Size
    chunks: list[ChunkStorageMetadata]


@dataclass
class BytesStorageMetadata:
    """Anything that isn't a tensor."""


@dataclass(unsafe_hash=True)
class MetadataIndex:
    """A stored item: its name and, for a part of a tensor, the offsets at which that begins. `index` is a hint at the
    part's place among the tensor's."""

    fqn: str
    offset: Size | None = None
    index: int | None = field(default=None, hash=False, compare=False)


@dataclass
class StorageInfo:
    """Where an item is stored: bytes `offset` to `offset + length - 1` of a file, and through which extensions."""

    relative_path: str
    offset: int
    length: int
    transform_descriptors: list[str] | None = None


@dataclass
class StorageMeta:
    """Which save, and which load, it is of."""

    checkpoint_id: str | os.PathLike[str] | None = None
    save_id: str | None = None
    load_id: str | None = None
    modules: list[str] = field(default_factory=list)


@dataclass
class Metadata:
    """All that a checkpoint's `.metadata` says."""

    state_dict_metadata: dict[str, TensorStorageMetadata | BytesStorageMetadata]
    planner_data: Any = None
    storage_data: Any = None
    storage_meta: StorageMeta | None = None
    version: str | None = None


PLAIN: Classes[Metadata] = Classes(
    metadata=Metadata,
    tensor=TensorStorageMetadata,
    object=BytesStorageMetadata,
    chunk=ChunkStorageMetadata,
    properties=TensorProperties,
    old_properties=TensorProperties,
    index=MetadataIndex,
    storage_info=StorageInfo,
    storage_meta=StorageMeta,
    size=Size,
    dtype=Dtype,
    layout=Layout,
    memory_format=MemoryFormat,
    dtypes={name: Dtype(name) for name in ITEM_SIZES} | {name: Dtype(full) for name, full in OTHER_NAMES.items()},
    layouts={
        name: Layout(name)
        for name in (
            "torch.strided",
            "torch.sparse_coo",
            "torch.sparse_csr",
            "torch.sparse_csc",
            "torch.sparse_bsr",
            "torch.sparse_bsc",
            "torch._mkldnn",
            "torch.jagged",
        )
    },
    memory_formats=(
        MemoryFormat("contiguous_format"),
        MemoryFormat("channels_last"),
        MemoryFormat("preserve_format"),
    ),
    has_strides=True,
    shared=True,
)
"""The classes of this module, for the interpreter of the file."""
