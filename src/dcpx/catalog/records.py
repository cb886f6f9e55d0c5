"""What a `.metadata` file may name, and what each of its objects must hold; spec/metadata.md has it in a table."""

from __future__ import annotations

import math
import os
import pathlib
import re
from functools import partial
from typing import Any

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

from ..dcp.private import HAS_STRIDES, OldTensorProperties, StorageInfo
from ..errors import CorruptError, LimitError, UnsupportedError
from ..pickles.paths import PATHS
from ..pickles.unpickle import FOREIGN, Function, Record, shown

__all__ = ["METADATA_FIELDS", "Records", "is_data_file_name"]

# What a file may make of few bytes, by naming the same thing again and again, is bounded.
_MAX_DIMENSIONS = 254
_MAX_PATHS = 16
_MAX_PATH_LENGTH = 1 << 15
_MAX_COLLISIONS = 16

_END = 1 << 63
"""No size, offset or length reaches this."""

_DCP = "torch.distributed.checkpoint.metadata"
_SHARDED = "torch.distributed._shard.sharded_tensor.metadata"  # where older torch had a tensor's properties

_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_LAYOUTS = {str(value): value for value in vars(torch).values() if isinstance(value, torch.layout)}
_MEMORY_FORMATS = {
    "TORCH_CONTIGUOUS_FORMAT": torch.contiguous_format,
    "TORCH_CHANNELS_LAST": torch.channels_last,
    "TORCH_PRESERVE_FORMAT": torch.preserve_format,
}

METADATA_FIELDS = frozenset({"state_dict_metadata", "planner_data", "storage_data", "storage_meta", "version"})
_TENSOR_FIELDS = frozenset({"properties", "size", "chunks"})
_CHUNK_FIELDS = frozenset({"offsets", "sizes"})
_INDEX_FIELDS = frozenset({"fqn", "offset", "index"})
_STORAGE_INFO_FIELDS = frozenset({"relative_path", "offset", "length", "transform_descriptors"})
_STORAGE_META_FIELDS = frozenset({"checkpoint_id", "save_id", "load_id", "modules"})
_PROPERTIES = {
    "dtype": torch.dtype,
    "layout": torch.layout,
    "requires_grad": bool,
    "memory_format": torch.memory_format,
    "pin_memory": bool,
}
"""Of a tensor's properties, whose fields are a tuple. From torch 2.15 on the strides follow."""


class Records:
    """What stands for the names in one file. Its methods check what the file hands them, before it is used."""

    def __init__(self) -> None:
        self._paths = 0
        self._indices = 0
        self._hashes: set[int] = set()
        self._files: set[str] = set()
        self._memory_format = Function(_memory_format)

    def names(self) -> dict[tuple[str, str], object]:
        """(module, name) of everything that a file may name, as `unpickle` wants it."""
        names: dict[tuple[str, str], object] = {("torch", name): dtype for name, dtype in _DTYPES.items()}
        for name, path in PATHS.items():
            # Python 3.13 calls the module pathlib._local.
            names["pathlib", name] = names["pathlib._local", name] = Function(partial(self._path, path))
        # The first releases of Python 3.11 store an enum's member as getattr(class, name).
        by_name = Function(self._memory_format_by_name)
        return names | {
            (_DCP, "Metadata"): Record(Metadata, _build_metadata),
            (_DCP, "TensorStorageMetadata"): Record(TensorStorageMetadata, _build_tensor),
            (_DCP, "BytesStorageMetadata"): Record(BytesStorageMetadata, _build_bytes, fields=False),
            (_DCP, "ChunkStorageMetadata"): Record(ChunkStorageMetadata, _build_chunk),
            (_DCP, "TensorProperties"): Record(TensorProperties, _build_properties),
            (_SHARDED, "TensorProperties"): Record(OldTensorProperties, _build_properties),
            (_DCP, "MetadataIndex"): Record(MetadataIndex, self._build_index, hashable=True),
            (StorageInfo.__module__, "_StorageInfo"): Record(StorageInfo, self._build_storage_info),
            (_DCP, "StorageMeta"): Record(StorageMeta, _build_storage_meta),
            (_DCP, "_MEM_FORMAT_ENCODING"): self._memory_format,
            (_SHARDED, "MEM_FORMAT_ENCODING"): self._memory_format,
            ("builtins", "getattr"): by_name,
            ("__builtin__", "getattr"): by_name,
            ("torch", "Size"): Function(_size),
            ("torch.serialization", "_get_layout"): Function(_layout),
        }

    def _memory_format_by_name(self, arguments: tuple[Any, ...]) -> torch.memory_format:
        match arguments:
            case (self._memory_format, str(name)) if name in _MEMORY_FORMATS:
                return _MEMORY_FORMATS[name]
        raise CorruptError("it calls getattr for what isn't a memory format")

    def _path(self, path: type[pathlib.PurePath], arguments: tuple[Any, ...]) -> pathlib.PurePath:
        self._paths += 1
        if not all(type(part) is str for part in arguments):
            raise CorruptError("a path isn't made of strings")
        if self._paths > _MAX_PATHS or sum(map(len, arguments)) > _MAX_PATH_LENGTH:
            raise LimitError(f"it has more than {_MAX_PATHS} paths, or one longer than {_MAX_PATH_LENGTH}")
        if any("\0" in part for part in arguments):
            raise CorruptError("a path has a NUL byte")
        return path(*arguments)

    def _build_index(self, fields: dict[str, Any], state: Any) -> None:
        _check_names(state, _INDEX_FIELDS)
        fqn, offset, index = state.get("fqn"), state.get("offset"), state.get("index")
        if type(fqn) is not str or not (offset is None or type(offset) is torch.Size):
            raise CorruptError("an item's index isn't a name and an offset")
        if not (index is None or _is_count(index)):
            raise CorruptError("an item's index has a wrong hint")
        self.count([(fqn, offset)])
        fields.update(state)

    def count(self, indices: list[tuple[str, torch.Size | None]]) -> None:
        """Of each index that was built the name and offset, before it can become a key.

        Offsets can be chosen so that their hashes collide: a dictionary of many such keys would take forever.
        """
        self._indices += len(indices)
        self._hashes.update(map(hash, indices))
        if self._indices > len(self._hashes) + _MAX_COLLISIONS:
            raise CorruptError("many items have indices of the same hash")

    def _build_storage_info(self, fields: dict[str, Any], state: Any) -> None:
        _check_names(state, _STORAGE_INFO_FIELDS)
        file, offset, length = state.get("relative_path"), state.get("offset"), state.get("length")
        if type(file) is not str or (file not in self._files and not is_data_file_name(file)):
            raise CorruptError(f"an item lies in {shown(file)}, which isn't a plain file name")
        self._files.add(file)
        if not (_is_count(offset) and _is_count(length) and _is_count(offset + length)):
            raise CorruptError(f"an item in {shown(file)} has a wrong offset or length")
        fields.update(state)


def is_data_file_name(name: str) -> bool:
    """Whether `name` can be that of a checkpoint's data file: it lies in the directory itself and isn't metadata."""
    if _PLAIN_NAME.fullmatch(name) is None or name in (".", "..") or name.endswith(_METADATA_ENDINGS):
        return False
    try:
        return len(os.fsencode(name)) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


_PLAIN_NAME = re.compile(r"[^/\\\0]{1,255}")
_METADATA_ENDINGS = (".metadata", ".metadata.tmp", ".manifest.json")
_MAX_NAME_BYTES = 255


def _is_count(value: Any) -> bool:
    """Whether it is an integer that can be a size, an offset or a length."""
    return type(value) is int and 0 <= value < _END


def _check_names(state: Any, names: frozenset[str]) -> None:
    """An object's fields must be a dictionary of these names; whether one is missing, its value tells."""
    if type(state) is not dict:
        raise CorruptError(f"an object's fields are a {type(state).__name__}")
    if not names.issuperset(state):
        unknown = next(name for name in state if name not in names)
        raise UnsupportedError(f"it has a field that isn't known, {shown(unknown)}", remedy=FOREIGN)


def _size(arguments: tuple[Any, ...]) -> torch.Size:
    if len(arguments) != 1 or type(arguments[0]) not in (tuple, list) or len(arguments[0]) > _MAX_DIMENSIONS:
        raise CorruptError(f"a size isn't a tuple of at most {_MAX_DIMENSIONS} integers")
    for size in arguments[0]:
        if type(size) is not int or not 0 <= size < _END:
            raise CorruptError("a size or offset is negative, too large or no integer")
    return torch.Size(arguments[0])


def _layout(arguments: tuple[Any, ...]) -> torch.layout:
    match arguments:
        case (str(name),) if name in _LAYOUTS:
            return _LAYOUTS[name]
    raise UnsupportedError("a tensor's layout isn't known", remedy=FOREIGN)


def _memory_format(arguments: tuple[Any, ...]) -> torch.memory_format:
    match arguments:
        case (int(number),) if 0 <= number < len(_MEMORY_FORMATS):
            return list(_MEMORY_FORMATS.values())[number]
    raise UnsupportedError("a tensor's memory format isn't known", remedy=FOREIGN)


def _build_metadata(fields: dict[str, Any], state: Any) -> None:
    """Besides its own fields it may have others of plain data: Megatron stores what it needs as `mcore_data`."""
    if type(state) is not dict:
        raise CorruptError(f"an object's fields are a {type(state).__name__}")
    for name in state:
        if type(name) is not str or not name.isidentifier() or name.startswith("_"):
            raise CorruptError(f"the metadata has a field {shown(name)}")
    fields.update(state)


def _build_tensor(fields: dict[str, Any], state: Any) -> None:
    _check_names(state, _TENSOR_FIELDS)
    properties, size = state.get("properties"), state.get("size")
    if type(properties) not in (TensorProperties, OldTensorProperties) or not vars(properties):
        raise CorruptError("a tensor's properties aren't known")
    if type(size) is not torch.Size or math.prod(size) * properties.dtype.itemsize >= _END:
        raise CorruptError("a tensor's size is none, or too large")
    if type(state.get("chunks")) is not list:
        raise CorruptError("a tensor's chunks aren't a list")
    fields.update(state)


def _build_bytes(fields: dict[str, Any], state: Any) -> None:
    _check_names(state, frozenset())


def _build_chunk(fields: dict[str, Any], state: Any) -> None:
    _check_names(state, _CHUNK_FIELDS)
    offsets, sizes = state.get("offsets"), state.get("sizes")
    if type(offsets) is not torch.Size or type(sizes) is not torch.Size or len(offsets) != len(sizes):
        raise CorruptError("a chunk's offsets and sizes aren't of the same number of dimensions")
    fields.update(state)


def _build_properties(fields: dict[str, Any], state: Any) -> None:
    """Strides, which no reader uses, are dropped where this torch has none, and are None where the file has none."""
    if type(state) is not tuple:
        raise CorruptError("a tensor's properties aren't known")
    if len(state) > len(_PROPERTIES) + 1:
        raise UnsupportedError(f"a tensor's properties have {len(state)} fields", remedy=FOREIGN)
    if tuple(map(type, state[: len(_PROPERTIES)])) != tuple(_PROPERTIES.values()):
        raise CorruptError("a tensor's properties aren't known")
    fields.update(zip(_PROPERTIES, state, strict=False))
    strides = None
    if len(state) > len(_PROPERTIES):
        strides = state[-1]
        if not (strides is None or _are_strides(strides)):
            raise CorruptError("a tensor's strides aren't a tuple of integers")
    if HAS_STRIDES:
        fields["strides"] = strides


def _are_strides(value: Any) -> bool:
    return type(value) is tuple and len(value) <= _MAX_DIMENSIONS and all(map(_is_count, value))


def _build_storage_meta(fields: dict[str, Any], state: Any) -> None:
    _check_names(state, _STORAGE_META_FIELDS)
    checkpoint = state.get("checkpoint_id")
    if not (checkpoint is None or type(checkpoint) is str or isinstance(checkpoint, pathlib.PurePath)):
        raise CorruptError("the checkpoint's name isn't a path")
    if any(type(state.get(name)) not in (str, type(None)) for name in ("save_id", "load_id")):
        raise CorruptError("the ids of the save and the load aren't strings")
    fields.update(state)
