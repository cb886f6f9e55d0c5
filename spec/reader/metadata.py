"""`.metadata` (metadata.md): which items there are, how tensors are cut, and where each part lies."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from .kinds import DTYPES, CorruptError, LimitError, UnsupportedError
from .pickles import METADATA, read_pickle

__all__ = ["Chunk", "Key", "Metadata", "Place", "Tensor", "read_metadata"]

DCP = "torch.distributed.checkpoint.metadata"
SHARDED = "torch.distributed._shard.sharded_tensor.metadata"
END = 1 << 63
FIELDS = {
    "Metadata": None,
    "MetadataIndex": {"fqn", "offset", "index"},
    "TensorStorageMetadata": {"properties", "size", "chunks"},
    "BytesStorageMetadata": set[str](),
    "ChunkStorageMetadata": {"offsets", "sizes"},
    "TensorProperties": None,
    "_StorageInfo": {"relative_path", "offset", "length", "transform_descriptors"},
    "StorageMeta": {"checkpoint_id", "save_id", "load_id", "modules"},
}
CLASSES = {(DCP, name): name for name in FIELDS if name != "_StorageInfo"} | {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): "_StorageInfo",
    (SHARDED, "TensorProperties"): "TensorProperties",
}
MEMORY_FORMATS = ("TORCH_CONTIGUOUS_FORMAT", "TORCH_CHANNELS_LAST", "TORCH_PRESERVE_FORMAT")
LAYOUTS = {f"torch.{name}" for name in ("strided", "jagged", "_mkldnn", "sparse_coo")} | {
    f"torch.sparse_{name}" for name in ("csr", "csc", "bsr", "bsc")
}
PATHS = {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"}
OF_METADATA = {"state_dict_metadata", "planner_data", "storage_data", "storage_meta", "version"}


class Key(NamedTuple):
    """Which stored part: its item's name, and where it begins in its tensor (None for an object)."""

    fqn: str
    offset: tuple[int, ...] | None


class Place(NamedTuple):
    """Where a part is stored, and through which transforms it went."""

    file: str
    offset: int
    length: int
    descriptors: tuple[str, ...]


class Chunk(NamedTuple):
    """A part of a tensor."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


class Tensor(NamedTuple):
    """A tensor: torch's name of its dtype, its shape, and what it is cut into."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


class Metadata(NamedTuple):
    """The pointer's content. `items` has None for an object."""

    items: dict[str, Tensor | None]
    places: dict[Key, Place]
    save_id: str | None


# --- the pickle's language --------------------------------------------------------------------------------------------


class Size(tuple[int, ...]):
    """A `torch.Size`."""


class Value(NamedTuple):
    """A dtype, a layout, a memory format or a path."""

    kind: str
    name: str


class Class(NamedTuple):
    """What objects are made of."""

    name: str


class Function(NamedTuple):
    """What may be called."""

    name: str


@dataclass(eq=False)
class Object:
    """An object of one of the classes; `state` is None until it got its fields."""

    cls: str
    state: dict[str, Any] | tuple[Any, ...] | None = None


@dataclass
class _Names:
    opcodes = METADATA
    protocols = range(2, 6)
    made: list[Object] = field(default_factory=list)
    paths: int = 0

    def name(self, module: str, name: str) -> object:
        if (module, name) in CLASSES:
            return Class(CLASSES[module, name])
        if module == "torch" and name in DTYPES:
            return Value("dtype", name)
        if (module, name) in ((DCP, "_MEM_FORMAT_ENCODING"), (SHARDED, "MEM_FORMAT_ENCODING")):
            return Function("memory format")
        functions = {("torch", "Size"), ("torch.serialization", "_get_layout")}
        if (module, name) in functions or (name == "getattr" and module in ("builtins", "__builtin__")):
            return Function(name)
        if module in ("pathlib", "pathlib._local") and name in PATHS:
            return Function("path")
        raise UnsupportedError(f"the metadata names {module[:100]!a}.{name[:100]!a}")

    def call(self, function: object, arguments: tuple[Any, ...]) -> object:
        match function, arguments:
            case Function("Size"), ([*numbers] | (*numbers,),):
                if len(numbers) > 254 or not all(map(is_count, numbers)):
                    raise CorruptError("a size or an offset")
                return Size(numbers)
            case Function("_get_layout"), (str(name),) if name in LAYOUTS:
                return Value("layout", name)
            case Function("memory format"), (int(number),) if 0 <= number < 3:
                return Value("memory format", MEMORY_FORMATS[number])
            case Function("_get_layout" | "memory format"), _:
                raise UnsupportedError("a layout or a memory format")
            case Function("getattr"), (Function("memory format"), str(name)) if name in MEMORY_FORMATS:
                return Value("memory format", name)
            case Function("path"), parts if all(type(part) is str and "\0" not in part for part in parts):
                self.paths += 1
                if self.paths > 16 or sum(map(len, parts)) > 32768:
                    raise LimitError("too many paths, or too long a one")
                return Value("path", "/".join(parts))
        raise CorruptError("a call of what isn't a function, or of other arguments")

    def new(self, cls: object) -> Object:
        if type(cls) is not Class:
            raise CorruptError("an object of what isn't a class")
        self.made.append(Object(cls.name))
        return self.made[-1]

    def build(self, made: object, state: Any) -> None:
        if not isinstance(made, Object) or made.state:
            raise CorruptError("fields for what is complete")
        if made.cls == "TensorProperties":
            check_properties(state)
        else:
            known = FIELDS[made.cls]
            if type(state) is not dict:
                raise CorruptError("fields that aren't a dictionary")
            if known is not None and not state.keys() <= known:
                raise UnsupportedError(f"a {made.cls} with other fields")
            if known is None and any(not name.isidentifier() or name[0] == "_" for name in state):
                raise CorruptError("a field whose name is none")
        made.state = state

    def key(self, key: object) -> Hashable:
        if type(key) is str:
            return key
        if isinstance(key, Object) and key.cls == "MetadataIndex" and type(key.state) is dict:
            fqn, offset, index = (key.state.get(name) for name in ("fqn", "offset", "index"))
            check(type(fqn) is str and (offset is None or type(offset) is Size), "an item's index")
            check(index is None or is_count(index), "an item's hint")
            return Key(str(fqn), None if offset is None else tuple(offset))
        raise CorruptError("a key that is neither a string nor a complete index")

    def persistent(self, reference: object) -> NoReturn:
        raise UnsupportedError("a persistent reference")


def check(holds: object, what: str) -> None:
    if not holds:
        raise CorruptError(f"the metadata: {what}")


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < END


def check_properties(state: Any) -> None:
    check(type(state) is tuple and len(state) >= 5, "a tensor's properties")
    if len(state) > 6:
        raise UnsupportedError(f"a tensor with {len(state)} properties")
    kinds = [value.kind if isinstance(value, Value) else type(value) for value in state[:5]]
    check(kinds == ["dtype", "layout", bool, "memory format", bool], "a tensor's properties")
    strides = state[5] if len(state) == 6 else None
    check(
        strides is None or (type(strides) is tuple and len(strides) <= 254 and all(map(is_count, strides))), "strides"
    )


# --- the records ------------------------------------------------------------------------------------------------------


def read_metadata(data: bytes) -> Metadata:
    """What a pointer says, after all of section 4 was checked."""
    names = _Names()
    root = read_pickle(data, names)
    for one in names.made:
        check(one.state or one.cls == "BytesStorageMetadata", f"a {one.cls} without fields")
    fields = fields_of(root, "Metadata")
    described, stored = fields.get("state_dict_metadata"), fields.get("storage_data")
    if type(described) is not dict or type(stored) is not dict:
        raise CorruptError("the metadata: no items, or no places")
    items: dict[str, Tensor | None] = {}
    room = len(data)
    for name, item in described.items():
        check(type(name) is str, "an item's name")
        is_object = isinstance(item, Object) and item.cls == "BytesStorageMetadata"
        items[name] = None if is_object else read_described(item)
        room -= len(items[name].chunks) if items[name] else 0  # type: ignore[union-attr]
        if room < 0:
            raise LimitError("the same chunks again and again")
    places = {}
    for key, place in stored.items():
        check(isinstance(key, Key) and key.fqn in items, "a place of no item")
        tensor = items[key.fqn]
        fits = tensor is None or (key.offset is not None and len(key.offset) == len(tensor.shape))
        check(fits, "a place of no part of its tensor")
        places[key] = read_place(fields_of(place, "_StorageInfo"))
    check_plain([fields.get("planner_data"), *(fields[name] for name in fields.keys() - OF_METADATA)], room)
    planned = fields.get("planner_data")
    paths = [path for path in planned.values() if type(path) is tuple] if isinstance(planned, dict) else []
    if any(type(part) is int and not 0 <= part <= len(data) for path in paths for part in path):
        raise LimitError("an item's place in a list is far behind the list's end")
    version = fields.get("version")
    check(version is None or type(version) is str, "the version")
    return Metadata(items, places, read_save(fields.get("storage_meta")))


def fields_of(value: object, cls: str) -> dict[str, Any]:
    if not isinstance(value, Object) or value.cls != cls or type(value.state) is not dict:
        raise CorruptError(f"the metadata: something in the place of a {cls}")
    return value.state


def read_described(item: object) -> Tensor:
    fields = fields_of(item, "TensorStorageMetadata")
    properties, size, listed = fields.get("properties"), fields.get("size"), fields.get("chunks")
    if not isinstance(properties, Object) or type(properties.state) is not tuple:
        raise CorruptError("the metadata: a tensor's properties")
    dtype = properties.state[0].name
    check(type(size) is Size and math.prod(size) * DTYPES[dtype] < END, "a tensor's size")
    check(type(listed) is list, "a tensor's chunks")
    chunks = []
    for one in listed or ():
        fields = fields_of(one, "ChunkStorageMetadata")
        offsets, sizes = fields.get("offsets"), fields.get("sizes")
        if not isinstance(offsets, Size) or not isinstance(sizes, Size):
            raise CorruptError("the metadata: a chunk")
        chunk = Chunk(tuple(offsets), tuple(sizes))
        check(len(offsets) == len(sizes) == len(size or ()), "a chunk of other dimensions")
        check(0 in sizes or all(map(lies_within, offsets, sizes, size or ())), "a chunk outside of its tensor")
        chunks.append(chunk)
    check_apart({chunk for chunk in chunks if 0 not in chunk.sizes})
    return Tensor(dtype, tuple(size or ()), tuple(chunks))


def lies_within(offset: int, size: int, limit: int) -> bool:
    return offset + size <= limit


def check_apart(chunks: set[Chunk]) -> None:
    """No two share elements. Of those that begin before another one, only such as don't end before it are looked at."""
    near: list[Chunk] = []
    for chunk in sorted(chunks):
        if chunk.offsets:
            near = [one for one in near if one.offsets[0] + one.sizes[0] > chunk.offsets[0]]
        for one in near:
            ends = zip(one.offsets, one.sizes, chunk.offsets, chunk.sizes, strict=True)
            check(not all(a < d + e and d < a + b for a, b, d, e in ends), "chunks that overlap")
        near.append(chunk)
        if len(near) > 1448:
            raise LimitError("chunks that lie too irregularly")


def read_place(fields: dict[str, Any]) -> Place:
    file, offset, length = fields.get("relative_path"), fields.get("offset"), fields.get("length")
    descriptors = fields.get("transform_descriptors")
    if type(file) is not str or not 1 <= len(file.encode("utf-8", "surrogatepass")) <= 255 or file in (".", ".."):
        raise CorruptError("the metadata: a file's name")
    check(not set(file) & set("/\\\0"), "a file outside of the checkpoint")
    check(not file.endswith((".metadata", ".metadata.tmp", ".manifest.json")), "a file that is no data file")
    if type(offset) is not int or type(length) is not int:
        raise CorruptError("the metadata: an offset or a length")
    check(is_count(offset) and is_count(length) and is_count(offset + length), "an offset or a length")
    check(descriptors is None or (type(descriptors) in (list, tuple) and len(descriptors) <= 64), "transforms")
    check(all(type(descriptor) is str for descriptor in descriptors or ()), "transforms")
    return Place(file, offset, length, tuple(descriptors or ()))


def read_save(meta: object) -> str | None:
    if meta is None:
        return None
    fields = fields_of(meta, "StorageMeta")
    path, save_id, load_id, modules = (fields.get(name) for name in ("checkpoint_id", "save_id", "load_id", "modules"))
    check(path is None or type(path) is str or (isinstance(path, Value) and path.kind == "path"), "the path")
    check(all(one is None or type(one) is str for one in (save_id, load_id)), "the save's id")
    check(modules is None or (type(modules) is list and all(type(name) is str for name in modules)), "modules")
    return save_id if type(save_id) is str else None


def check_plain(values: list[object], room: int) -> None:
    """Nothing but strings, numbers, sizes, dtypes and their lists, tuples and dictionaries, and not too much of it."""
    for _ in range(33):
        inner: list[object] = []
        for value in values:
            if isinstance(value, dict):
                check(all(type(key) is str for key in value), "a key in plain data")
                inner += value.values()
            elif type(value) is list or type(value) is tuple:
                inner += value
            else:
                is_dtype = isinstance(value, Value) and value.kind == "dtype"
                check(value is None or type(value) in (str, int, float, bool, Size) or is_dtype, "plain data")
            if len(inner) > room:
                raise LimitError("plain data that unfolds into too much")
        room -= len(inner)
        if not (values := inner):
            return
    raise LimitError("plain data that nests too deep")
