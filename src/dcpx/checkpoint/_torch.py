"""Every private torch name that dcpx uses, in one place; written against torch 2.7 to 2.13."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch.distributed._shard.sharded_tensor.metadata import TensorProperties as OldTensorProperties
from torch.distributed.checkpoint.filesystem import (
    CURRENT_DCP_VERSION,
    _item_size,
    _OverlappingCpuLoader,
    _SerialCpuLoader,
    _split_by_size_and_type,
    _StorageInfo,
    _StoragePrefix,
    _TensorLoader,
)
from torch.distributed.checkpoint.planner import WriteItem, WriteItemType
from torch.distributed.checkpoint.planner_helpers import _create_write_items

from .setting import HeldSetting

__all__ = [
    "DCP_VERSION",
    "OldTensorProperties",
    "StorageInfo",
    "StoragePrefix",
    "cpu_tensors",
    "is_object",
    "refuse_url",
    "split_by_size",
    "storage_reference",
    "tensor_bytes",
    "without_crc32",
    "write_items",
]

DCP_VERSION = CURRENT_DCP_VERSION
StorageInfo = _StorageInfo
StoragePrefix = _StoragePrefix


def cpu_tensors(
    resolve: Callable[[WriteItem], Any], items: list[WriteItem], copy_ahead: int
) -> Iterator[tuple[torch.Tensor, WriteItem]]:
    """The tensors that `resolve` gives for the items, on the CPU, copied ahead by at most `copy_ahead` bytes where they
    come from a device."""
    loader: _TensorLoader
    if copy_ahead > 0 and torch.accelerator.is_available():
        loader = _OverlappingCpuLoader(resolve, inflight_threshhold=copy_ahead)
    else:
        loader = _SerialCpuLoader(resolve)
    for item in items:
        loader.add(_item_size(item), item)
    loader.start_loading()
    return cast(Iterator[tuple[torch.Tensor, WriteItem]], loader.values())


def tensor_bytes(item: WriteItem) -> int:
    """Bytes of a tensor's elements; 0 for an object, whose size nobody knows before it is made."""
    return 0 if is_object(item) else _item_size(item)


without_crc32 = HeldSetting(torch.serialization.get_crc32_options, torch.serialization.set_crc32_options, False)
"""torch.save computes no CRC32 in a `with` block of this."""


def split_by_size(parts: int, items: list[WriteItem]) -> list[list[WriteItem]]:
    """The items in `parts` lists of about the same number of bytes."""
    return _split_by_size_and_type(parts, items)


def storage_reference(storage: torch.TypedStorage | torch.UntypedStorage) -> tuple[type, torch.UntypedStorage, int]:
    """What torch.save says of a storage: the class that it names, what holds the bytes, and how many elements."""
    if isinstance(storage, torch.UntypedStorage):
        return torch.UntypedStorage, storage, storage.nbytes()
    return getattr(torch, storage._pickle_storage_type()), storage._untyped_storage, storage._size()


def write_items(name: str, value: object) -> list[WriteItem]:
    """What DCP's own planner makes of a value under this name, with the sizes that it looks at when it plans."""
    items = _create_write_items(name, value)
    sum(item.tensor_storage_size() or 1 for item in items)
    return items


def refuse_url(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for the address of a store: as a path it would name a local folder that nobody looks into."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", os.fspath(path)):
        raise ValueError(
            f"{os.fspath(path)!r} is no local path. For other stores use torch's FsspecWriter and FsspecReader with "
            "dcpx's extensions"
        )


def is_object(item: WriteItem) -> bool:
    """Whether the item is stored as an object's bytes and not as a tensor."""
    return bool(item.type == WriteItemType.BYTE_IO)
