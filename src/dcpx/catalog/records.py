"""What a `.metadata` file may name, and what each of its objects must hold; spec/metadata.md has it in a table."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ..errors import CorruptError, LimitError, UnsupportedError
from ..pickles.names import shown
from ..pickles.paths import PATHS
from ..pickles.unpickle import FOREIGN, Function, Record

__all__ = ["METADATA_FIELDS", "Classes", "Records", "is_data_file_name"]

# What a file may make of few bytes, by naming the same thing again and again, is bounded.
_MAX_DIMENSIONS = 254
_MAX_PATHS = 16
_MAX_PATH_LENGTH = 1 << 15
_MAX_COLLISIONS = 16

_END = 1 << 63
"""No size, offset or length reaches this."""

_DCP = "torch.distributed.checkpoint.metadata"
_FILES = "torch.distributed.checkpoint.filesystem"
_SHARDED = "torch.distributed._shard.sharded_tensor.metadata"  # where older torch had a tensor's properties

_MEMORY_FORMATS = ("TORCH_CONTIGUOUS_FORMAT", "TORCH_CHANNELS_LAST", "TORCH_PRESERVE_FORMAT")
"""torch's names of them, in the order of their numbers in the file."""

METADATA_FIELDS = frozenset({"state_dict_metadata", "planner_data", "storage_data", "storage_meta", "version"})
_TENSOR_FIELDS = frozenset({"properties", "size", "chunks"})
_CHUNK_FIELDS = frozenset({"offsets", "sizes"})
_INDEX_FIELDS = frozenset({"fqn", "offset", "index"})
_STORAGE_INFO_FIELDS = frozenset({"relative_path", "offset", "length", "transform_descriptors"})
_STORAGE_META_FIELDS = frozenset({"checkpoint_id", "save_id", "load_id", "modules"})
_PROPERTIES = ("dtype", "layout", "requires_grad", "memory_format", "pin_memory")
"""Of a tensor's properties, whose fields are a tuple. From torch 2.15 on the strides follow."""

M = TypeVar("M")


@dataclass(frozen=True)
class Classes(Generic[M]):
    """What stands for each of DCP's classes, and for torch's values: the file is read by the same steps whatever it
    becomes. Objects are made without calling their class, and their fields put into their `__dict__`."""

    metadata: type[M]
    tensor: type[Any]
    object: type[Any]
    chunk: type[Any]
    properties: type[Any]
    old_properties: type[Any]
    index: type[Any]
    storage_info: type[Any]
    storage_meta: type[Any]
    size: type[tuple[int, ...]]
    dtype: type[Any]
    layout: type[Any]
    memory_format: type[Any]
    dtypes: Mapping[str, Any]
    """By their names without `torch.`."""
    layouts: Mapping[str, Any]
    """By their names."""
    memory_formats: Sequence[Any]
    """By their numbers in the file."""
    has_strides: bool
    """Whether a tensor's properties have strides."""
    shared: bool
    """Whether records that say the same may be one object."""


class Records:
    """What stands for the names in one file. Its methods check what the file hands them, before it is used."""

    def __init__(self, classes: Classes[Any]) -> None:
        self._classes = classes
        self._metadata = 0
        self._paths = 0
        self._indices = 0
        self._hashes: set[int] = set()
        self._files: set[str] = set()
        self._memory_format = Function(self._memory_format_by_number)

    def names(self) -> dict[tuple[str, str], object]:
        """(module, name) of everything that a file may name, as `unpickle` wants it."""
        classes = self._classes
        names: dict[tuple[str, str], object] = {("torch", name): dtype for name, dtype in classes.dtypes.items()}
        for name, path in PATHS.items():
            # Python 3.13 calls the module pathlib._local.
            names["pathlib", name] = names["pathlib._local", name] = Function(partial(self._path, path))
        # The first releases of Python 3.11 store an enum's member as getattr(class, name).
        by_name = Function(self._memory_format_by_name)
        return names | {
            (_DCP, "Metadata"): Record(classes.metadata, self._build_metadata),
            (_DCP, "TensorStorageMetadata"): Record(classes.tensor, self._build_tensor),
            (_DCP, "BytesStorageMetadata"): Record(classes.object, _build_bytes, fields=False),
            (_DCP, "ChunkStorageMetadata"): Record(classes.chunk, self._build_chunk),
            (_DCP, "TensorProperties"): Record(classes.properties, self._build_properties),
            (_SHARDED, "TensorProperties"): Record(classes.old_properties, self._build_properties),
            (_DCP, "MetadataIndex"): Record(classes.index, self._build_index, hashable=True),
            (_FILES, "_StorageInfo"): Record(classes.storage_info, self._build_storage_info),
            (_DCP, "StorageMeta"): Record(classes.storage_meta, _build_storage_meta),
            (_DCP, "_MEM_FORMAT_ENCODING"): self._memory_format,
            (_SHARDED, "MEM_FORMAT_ENCODING"): self._memory_format,
            ("builtins", "getattr"): by_name,
            ("__builtin__", "getattr"): by_name,
            ("torch", "Size"): Function(self._size),
            ("torch.serialization", "_get_layout"): Function(self._layout),
        }

    def _build_metadata(self, fields: dict[str, Any], state: Any) -> None:
        """Besides its own fields it may have others of plain data: Megatron stores what it needs as `mcore_data`."""
        if type(state) is not dict:
            raise CorruptError(f"an object's fields are a {type(state).__name__}")
        self._metadata += 1
        if self._metadata > 1:  # its fields may be as many as the file likes, and are copied
            raise CorruptError("the file holds metadata within metadata")
        for name in state:
            if type(name) is not str or not name.isidentifier() or name.startswith("_"):
                raise CorruptError(f"the metadata has a field {shown(name)}")
        fields.update(state)

    def _memory_format_by_name(self, arguments: tuple[Any, ...]) -> Any:
        match arguments:
            case (self._memory_format, name) if type(name) is str and name in _MEMORY_FORMATS:
                return self._classes.memory_formats[_MEMORY_FORMATS.index(name)]
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
        if type(fqn) is not str or not (offset is None or type(offset) is self._classes.size):
            raise CorruptError("an item's index isn't a name and an offset")
        if not (index is None or _is_count(index)):
            raise CorruptError("an item's index has a wrong hint")
        self.count([(fqn, offset)])
        fields.update(state)

    def count(self, indices: list[tuple[str, Any]]) -> None:
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

    def _size(self, arguments: tuple[Any, ...]) -> Any:
        if len(arguments) != 1 or type(arguments[0]) not in (tuple, list) or len(arguments[0]) > _MAX_DIMENSIONS:
            raise CorruptError(f"a size isn't a tuple of at most {_MAX_DIMENSIONS} integers")
        for size in arguments[0]:
            if type(size) is not int or not 0 <= size < _END:
                raise CorruptError("a size or offset is negative, too large or no integer")
        return self._classes.size(arguments[0])

    def _layout(self, arguments: tuple[Any, ...]) -> Any:
        match arguments:
            case (name,) if type(name) is str and name in self._classes.layouts:
                return self._classes.layouts[name]
        raise UnsupportedError("a tensor's layout isn't known", remedy=FOREIGN)

    def _memory_format_by_number(self, arguments: tuple[Any, ...]) -> Any:
        match arguments:
            case (int(number),) if 0 <= number < len(_MEMORY_FORMATS):
                return self._classes.memory_formats[number]
        raise UnsupportedError("a tensor's memory format isn't known", remedy=FOREIGN)

    def _build_tensor(self, fields: dict[str, Any], state: Any) -> None:
        _check_names(state, _TENSOR_FIELDS)
        properties, size = state.get("properties"), state.get("size")
        if type(properties) not in (self._classes.properties, self._classes.old_properties) or not vars(properties):
            raise CorruptError("a tensor's properties aren't known")
        if type(size) is not self._classes.size or _reaches_end(size, properties.dtype.itemsize):
            raise CorruptError("a tensor's size is none, or too large")
        if type(state.get("chunks")) is not list:
            raise CorruptError("a tensor's chunks aren't a list")
        fields.update(state)

    def _build_chunk(self, fields: dict[str, Any], state: Any) -> None:
        _check_names(state, _CHUNK_FIELDS)
        offsets, sizes = state.get("offsets"), state.get("sizes")
        size = self._classes.size
        if type(offsets) is not size or type(sizes) is not size or len(offsets) != len(sizes):
            raise CorruptError("a chunk's offsets and sizes aren't of the same number of dimensions")
        fields.update(state)

    def _build_properties(self, fields: dict[str, Any], state: Any) -> None:
        """Strides, which no reader uses, are dropped where the class has none, and are None where the file has none."""
        if type(state) is not tuple:
            raise CorruptError("a tensor's properties aren't known")
        if len(state) > len(_PROPERTIES) + 1:
            raise UnsupportedError(f"a tensor's properties have {len(state)} fields", remedy=FOREIGN)
        classes = self._classes
        kinds = (classes.dtype, classes.layout, bool, classes.memory_format, bool)
        if tuple(map(type, state[: len(_PROPERTIES)])) != kinds:
            raise CorruptError("a tensor's properties aren't known")
        fields.update(zip(_PROPERTIES, state, strict=False))
        strides = None
        if len(state) > len(_PROPERTIES):
            strides = state[-1]
            if not (strides is None or _are_strides(strides)):
                raise CorruptError("a tensor's strides aren't a tuple of integers")
        if classes.has_strides:
            fields["strides"] = strides


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


def _reaches_end(size: Sequence[int], nbytes: int) -> bool:
    """Whether so many elements, of `nbytes` each, have more bytes than can be counted. No product grows large: 254
    factors of 63 bits take long to multiply."""
    if 0 in size:
        return False
    for factor in size:
        nbytes *= factor
        if nbytes >= _END:
            return True
    return False


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


def _build_bytes(fields: dict[str, Any], state: Any) -> None:
    _check_names(state, frozenset())


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
