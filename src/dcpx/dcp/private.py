"""Every private torch name that dcpx uses, and every difference between torch's versions, in one place.

Written against torch 2.7 to 2.15.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard, cast

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed._shard.sharded_tensor.metadata import TensorProperties as OldTensorProperties
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint.filesystem import (
    FileSystem,
    FileSystemBase,
    FileSystemWriter,
    _item_size,
    _OverlappingCpuLoader,
    _SerialCpuLoader,
    _split_by_size_and_type,
    _StorageInfo,
    _StoragePrefix,
    _TensorLoader,
)
from torch.distributed.checkpoint.metadata import Metadata, TensorProperties
from torch.distributed.checkpoint.planner import SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.planner_helpers import _create_write_items
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.stateful import Stateful

from ..catalog.setting import HeldSetting
from ..errors import SaveError

__all__ = [
    "HAS_RANK_LOCAL",
    "HAS_STRIDES",
    "OldTensorProperties",
    "StorageInfo",
    "StoragePrefix",
    "as_plain",
    "collectives",
    "cpu_tensors",
    "default_store",
    "forget_plans",
    "forget_storages",
    "has_elements_of_its_own",
    "has_no_memory",
    "is_gone",
    "is_object",
    "is_stateful",
    "list_directory",
    "own_rank",
    "set_version",
    "split_by_size",
    "storage_reference",
    "takes_memory",
    "tensor_bytes",
    "version_of",
    "weak_storage",
    "without_crc32",
    "write_items",
]

HAS_STRIDES = "strides" in TensorProperties.__dataclass_fields__
"""Whether a tensor's properties have strides, as from torch 2.15 on."""

HAS_RANK_LOCAL = "use_collectives" in inspect.signature(save).parameters
"""Whether DCP saves and loads without collectives, as from torch 2.9 on."""

StorageInfo = _StorageInfo
StoragePrefix = _StoragePrefix


def collectives(use: bool) -> dict[str, bool]:
    """What `dcp.save` has to be told of whether to use collectives. SaveError where this torch can't do without."""
    if not (use or HAS_RANK_LOCAL):
        remedy = "Upgrade torch, or save with collectives"
        raise SaveError(f"torch {torch.__version__} doesn't save without collectives", remedy=remedy)
    return {"use_collectives": use} if HAS_RANK_LOCAL else {}


def own_rank(writer: FileSystemWriter) -> int | None:
    """The number of a rank whose checkpoint is its own; None where all ranks have one together."""
    return None if getattr(writer, "use_collectives", True) else writer.rank


def list_directory(fs: FileSystemBase, path: str | os.PathLike[str]) -> list[str]:
    """The paths of all that is in a directory. Before torch 2.8 only a local file system can tell."""
    if isinstance(fs, FileSystem) and not hasattr(fs, "ls"):
        return os.listdir(path)
    return fs.ls(path)  # type: ignore[attr-defined,no-any-return]


def set_version(metadata: Metadata) -> None:
    """Say which version of DCP's format it is, where this torch does."""
    if "version" in Metadata.__dataclass_fields__:
        metadata.version = filesystem.CURRENT_DCP_VERSION


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


def has_elements_of_its_own(tensor: torch.Tensor) -> bool:
    """Whether a tensor of a class of somebody's own lies in memory as one of torch's does, and isn't made of others."""
    return (
        type(tensor) is not torch.Tensor
        and tensor.layout is torch.strided
        and not tensor.is_quantized
        and type(tensor).__torch_dispatch__ is torch.Tensor.__torch_dispatch__
    )


def as_plain(tensor: torch.Tensor) -> torch.Tensor:
    """The same elements as a tensor of torch's own; the class isn't asked."""
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.detach().as_subclass(torch.Tensor)


def has_no_memory(tensor: torch.Tensor) -> bool:
    """Whether the tensor stands for another one or for zeros, as within torch.func's transforms: what its address leads
    to isn't its elements."""
    return (
        tensor._is_zerotensor()
        or torch._is_functional_tensor(tensor)
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def version_of(tensor: torch.Tensor) -> int | None:
    """How often the tensor was changed in place; None where nobody counts."""
    try:
        return tensor._version
    except Exception:  # noqa: BLE001 (an inference tensor has none, and a subclass may do anything)
        return None


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


def is_object(item: WriteItem) -> bool:
    """Whether the item is stored as an object's bytes and not as a tensor."""
    return bool(item.type == WriteItemType.BYTE_IO)


def is_stateful(value: object) -> TypeGuard[Stateful]:
    """Whether DCP asks a value for its `state_dict()`, and stores that. Tensors first: asking for a protocol takes many
    times as long."""
    return not isinstance(value, torch.Tensor) and isinstance(value, Stateful)


def weak_storage(storage: torch.UntypedStorage) -> int:
    """A weak reference to a storage, for `is_gone`; to be forgotten by `forget_storages`."""
    return cast(Any, storage)._weak_ref()  # type: ignore[no-any-return]


def is_gone(storage: int) -> bool:
    """Whether a storage doesn't exist any more: its address may be another's by now."""
    return bool(torch.UntypedStorage._expired(storage))


def forget_storages(storages: Iterable[int]) -> None:
    """Give weak references back."""
    for storage in storages:
        torch.UntypedStorage._free_weak_ref(storage)


def default_store() -> dist.Store:
    """The store by which all ranks have met."""
    return distributed_c10d._get_default_store()


def takes_memory(group: dist.ProcessGroup | None) -> bool:
    """Whether the group's collectives take tensors of this machine's memory, and not those of a device alone."""
    return torch.device("cpu") in (group or cast(Any, dist.group.WORLD))._device_types


def forget_plans(planner: SavePlanner) -> None:
    """Drop what DCP keeps of this planner's plans for the next save. A save that failed leaves one rank's plan without
    the others': to the next one the ranks would say "as before" of what nobody has."""
    key = getattr(planner, "_cached_plans_key", None)
    for name, plans in vars(SavePlanner).items():
        if name.startswith("_cached_") and isinstance(plans, dict):
            plans.pop(key, None)
