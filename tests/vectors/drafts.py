"""Whole checkpoints made by hand after spec/: a draft says what is stored, and anything of it may be wrong."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from forge import Chunk, frame, header, seed_of
from forge import field as header_field
from pickled import Call, Global, Made, Reference, dumps
from xxhash import xxh3_128_hexdigest

from dcpx.codecs.container import AFTER, BEFORE, WHOLE, container
from dcpx.codecs.dtypes import CODES
from dcpx.varint import pack_varint

__all__ = [
    "DCP",
    "PACK",
    "UUID",
    "Draft",
    "Part",
    "Tensor",
    "archive",
    "index",
    "made",
    "object_bytes",
    "packed_object",
    "packed_tensor",
    "size",
    "torch_tensor",
]

DCP = "torch.distributed.checkpoint.metadata"
UUID = "0b1e55ed-0000-4000-8000-00000000da7a"
PACK = "stream.pack@dcpx/1"


def made(name: str, state: Any, module: str = DCP) -> Made:
    return Made(Global(module, name), () if state is None else (state,))


def size(*numbers: int) -> Call:
    return Call(Global("torch", "Size"), (numbers,))


def properties(dtype: str, more: tuple[Any, ...] = ()) -> Made:
    layout = Call(Global("torch.serialization", "_get_layout"), ("torch.strided",))
    memory_format = Call(Global(DCP, "_MEM_FORMAT_ENCODING"), (0,))
    return made("TensorProperties", (Global("torch", dtype), layout, False, memory_format, False, *more))


def index(fqn: str, offset: tuple[int, ...] | None, hint: int | None = None) -> Made:
    return made("MetadataIndex", {"fqn": fqn, "offset": None if offset is None else size(*offset), "index": hint})


@dataclass
class Tensor:
    """A described tensor; `chunks` are offsets and sizes, None for one chunk of all of it."""

    dtype: str
    shape: tuple[int, ...]
    chunks: list[tuple[tuple[int, ...], tuple[int, ...]]] | None = None
    properties: Any = None

    def described(self) -> Made:
        chunks = [((0,) * len(self.shape), self.shape)] if self.chunks is None else self.chunks
        listed = [
            made("ChunkStorageMetadata", {"offsets": size(*begin), "sizes": size(*sizes)}) for begin, sizes in chunks
        ]
        of = properties(self.dtype) if self.properties is None else self.properties
        return made("TensorStorageMetadata", {"properties": of, "size": size(*self.shape), "chunks": listed})


@dataclass
class Part:
    """A stored part; `offset` None for an object. `seal` stands in the manifest in place of the right one."""

    fqn: str
    offset: tuple[int, ...] | None
    stored: bytes
    descriptors: list[str] | None = None
    file: int = 0
    seal: dict[str, Any] | None = None
    place: dict[str, Any] = field(default_factory=dict)


@dataclass
class Draft:
    """A checkpoint. The hooks change the metadata before it is pickled, its bytes, the manifest's members, its bytes,
    and at last all files."""

    items: dict[str, Tensor | None]
    parts: list[Part]
    uuid: str | None = UUID
    pointer: str = ".metadata"
    protocol: int = 4
    manifest: bool = True
    metadata: Callable[[dict[str, Any]], Any] = lambda fields: made("Metadata", fields)
    pickled: Callable[[bytes], bytes] = lambda data: data
    members: Callable[[dict[str, Any]], Any] = lambda members: None
    sealed: Callable[[bytes], bytes] = lambda body: body
    files: Callable[[dict[str, bytes]], Any] = lambda files: None

    def make(self) -> dict[str, bytes]:
        """The files by their names."""
        files: dict[str, bytes] = {}
        storage: dict[Any, Any] = {}
        for part in self.parts:
            name = f"{self.uuid if self.manifest else ''}__{part.file}_0.distcp"
            begin = len(files.get(name, b""))
            files[name] = files.get(name, b"") + part.stored
            place = {"relative_path": name, "offset": begin, "length": len(part.stored)}
            if part.descriptors is not None:
                place["transform_descriptors"] = part.descriptors
            storage[index(part.fqn, part.offset, 0)] = made(
                "_StorageInfo", place | part.place, "torch.distributed.checkpoint.filesystem"
            )
        fields = {
            "state_dict_metadata": {
                name: made("BytesStorageMetadata", None) if item is None else item.described()
                for name, item in self.items.items()
            },
            "planner_data": {name: (name,) for name in self.items},
            "storage_data": storage,
            "storage_meta": made(
                "StorageMeta", {"checkpoint_id": "checkpoint", "save_id": self.uuid, "load_id": None, "modules": []}
            ),
            "version": "1.0.0",
        }
        files[self.pointer] = self.pickled(dumps(self.metadata(fields), self.protocol))
        if self.manifest:
            members = self._members(files)
            self.members(members)
            body = self.sealed(json.dumps(members, separators=(",", ":")).encode()[:-1])
            files[f"{self.uuid}.manifest.json"] = body + b',"checksum":"%b"}\n' % xxh3_128_hexdigest(body).encode()
        self.files(files)
        return files

    def _members(self, files: dict[str, bytes]) -> dict[str, Any]:
        described = {
            name: {"name": name, "size": len(content), "xxh3_128": xxh3_128_hexdigest(content)}
            for name, content in files.items()
        }
        return {
            "manifest": 1,
            "checkpoint": self.uuid,
            "created": "2026-11-25T01:53:48Z",
            "dcpx": "0.1.0",
            "torch": "2.13.0",
            "world_size": 1,
            "metadata": described.pop(self.pointer),
            "files": list(described.values()),
            "items": [{"fqn": part.fqn, "offsets": part.offset, **_seal(part)} for part in self.parts],
            "bases": [],
            "user": {"step": 7},
        }


def copy_of(part: Part, fqn: str, begin: int = 0, **wrong: Any) -> Part:
    """An item at the place of `part`, which begins its file, or is at `begin` there."""
    place = {"offset": begin, "length": len(part.stored)} | wrong
    return replace(part, fqn=fqn, stored=b"", seal=part.seal or _seal(part), place=place)


def _seal(part: Part) -> dict[str, Any]:
    if part.seal is not None:
        return part.seal
    if part.descriptors != [PACK]:
        return {"stored": xxh3_128_hexdigest(part.stored)}
    return {"header": f"{seed_of(part.stored[: int.from_bytes(part.stored[12:16], 'little')]):016x}"}


# --- stored bytes -----------------------------------------------------------------------------------------------------


def packed_tensor(
    fqn: str,
    offsets: tuple[int, ...],
    dtype: str,
    shape: tuple[int, ...],
    elements: bytes,
    *,
    uuid: str = UUID,
    hint: tuple[str, tuple[int, ...]] | None = None,
) -> bytes:
    """A frame as dcpx writes it, with the elements as they are."""
    own = container(dtype, shape)
    numbers = bytes([len(offsets)]) + b"".join(map(pack_varint, offsets))
    said, sizes = (dtype, shape) if hint is None else hint
    hinted = bytes([CODES[said], len(sizes)]) + b"".join(map(pack_varint, (len(own.before), *sizes)))
    head = header(
        header_field(0x01, numbers + fqn.encode("utf-8", "surrogatepass"))
        + header_field(0x02, hinted)
        + header_field(0x03, bytes.fromhex(uuid.replace("-", "")))
        + header_field(0x81, bytes([0, 4]))
    )
    if len(elements) < 4096:
        return frame([Chunk(own.before + elements + own.after, own.arguments + elements, 4, WHOLE)], head)
    chunks = [Chunk(elements[start : start + 4096]) for start in range(0, len(elements), 4096)]
    parts = Chunk(own.before, own.arguments, 4, BEFORE), Chunk(own.after, own.arguments, 4, AFTER)
    return frame([parts[0], *chunks, parts[1]], head)


def packed_object(fqn: str, content: bytes) -> bytes:
    head = header(header_field(0x01, b"\xff" + fqn.encode()) + header_field(0x81, b"\0"))
    return frame([Chunk(content)], head)


def archive(entries: dict[str, bytes], root: str = "archive", crc: bool = True) -> bytes:
    """An archive as torch.save writes it, of entries at any offset."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as packed:
        for name, content in entries.items():
            packed.writestr(zipfile.ZipInfo(f"{root}/{name}"), content)
    data = stream.getvalue()
    if not crc:
        for entry in zipfile.ZipFile(io.BytesIO(data)).infolist():
            assert entry.CRC
            data = data.replace(entry.CRC.to_bytes(4, "little"), bytes(4))
    return data


def torch_tensor(
    dtype: str,
    storage: str | None,
    count: int,
    elements: bytes,
    view: tuple[Any, ...],
    marks: dict[str, bool] | None = None,
    root: str = "archive",
    crc: bool = True,
) -> bytes:
    """A container as torch's own: `storage` is its class's name, None for bytes; `view`: offset, sizes and strides."""
    cls = Global("torch.storage", "UntypedStorage") if storage is None else Global("torch", f"{storage}Storage")
    reference = Reference(("storage", cls, "0", "cpu", count))
    call = Global("torch._utils", f"_rebuild_tensor_v{3 if storage is None else 2}")
    named = (Global("torch", dtype),) if storage is None else ()
    hooks = Call(Global("collections", "OrderedDict"), ())
    given = (reference, *view, False, hooks, *named, *(() if marks is None else (marks,)))
    pickled = dumps(Call(call, given), 2)
    entries = {
        "data.pkl": pickled,
        ".format_version": b"1",
        "byteorder": b"little",
        "data/0": elements,
        "version": b"3\n",
    }
    return archive(entries, root, crc)


def object_bytes(value: object) -> bytes:
    return archive({"data.pkl": dumps(value, 2), "byteorder": b"little", "version": b"3\n"})
