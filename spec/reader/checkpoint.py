"""A whole checkpoint: its pointer, its manifest (manifest.md), its files, and tensors put together from their parts."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128, xxh3_128_hexdigest

from .containers import Tensor as Stored
from .containers import read_tensor
from .frames import FRAME, Hint, open_item
from .kinds import DTYPES, NUMPY, CorruptError, LimitError, TruncatedError, UnsupportedError
from .metadata import Chunk, Key, Metadata, Tensor, read_metadata

__all__ = ["Checkpoint", "Value", "pointers", "read_manifest"]

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
DATA_FILE = re.compile(rf"(?:({UUID}))?__\d+_\d+\.distcp")
POINTER = re.compile(r"(?:__\d+)?\.metadata")
MEMBERS = ["checkpoint", "created", "dcpx", "torch", "world_size", "metadata", "files", "items", "bases", "user"]
CONTAINER = 1 << 20  # bytes that a container may add to a tensor's elements
MOST = 1 << 32  # bytes of one tensor, one object or the pointer, unless the caller says otherwise


class Value(NamedTuple):
    """A whole tensor: torch's name of its dtype, its shape, and its elements in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def array(self) -> npt.NDArray[Any]:
        """As NumPy's array, read-only; UnsupportedError for a dtype that NumPy hasn't."""
        if self.dtype not in NUMPY:
            raise UnsupportedError(f"NumPy has no {self.dtype}")
        return np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)


def pointers(path: str | os.PathLike[str]) -> list[str]:
    """The pointers in a directory: `.metadata`, or else those of ranks that were saved by themselves."""
    names = sorted(name for name in os.listdir(path) if POINTER.fullmatch(name))
    return [".metadata"] if ".metadata" in names else names


class Checkpoint:
    """The checkpoint of one pointer. Nothing is read of an item before it is asked for, but all files are hashed.

    `tensors` has each tensor's description by its name, `objects` the names of what isn't a tensor. `limit` bounds the
    bytes of each of them.
    """

    def __init__(self, path: str | os.PathLike[str], pointer: str = ".metadata", limit: int = MOST) -> None:
        self._path, self._limit = Path(path), limit
        content = self._read(pointer, 0, None)
        self.metadata: Metadata = read_metadata(content)
        self.manifest = self._manifest(pointer, content)
        self.tensors = {name: item for name, item in self.metadata.items.items() if item is not None}
        self.objects = [name for name, item in self.metadata.items.items() if item is None]

    def tensor(self, name: str) -> Value:
        """The tensor of this name, put together from its parts."""
        tensor = self.tensors[name]
        width = DTYPES[tensor.dtype]
        parts = {chunk for chunk in tensor.chunks if 0 not in chunk.sizes}
        if sum(math.prod(chunk.sizes) for chunk in parts) != math.prod(tensor.shape):
            raise UnsupportedError(f"{name!r}: its chunks leave elements out, which other ranks may have")
        if math.prod(tensor.shape) * width > self._limit:
            raise LimitError(f"{name!r} has more than {self._limit} bytes")
        whole = np.empty(tensor.shape, f"V{width}")
        for chunk in parts:
            stored = self._part(name, tensor, chunk)
            where = tuple(slice(begin, begin + size) for begin, size in zip(*chunk, strict=True))
            whole[where] = np.frombuffer(stored.data, f"V{width}").reshape(chunk.sizes)
        for chunk in {one for one in tensor.chunks if one.offsets not in {part.offsets for part in parts}}:
            self._part(name, tensor, chunk)  # without elements, but what is stored of it must be right
        return Value(tensor.dtype, tensor.shape, whole.tobytes())

    def object(self, name: str) -> bytes:
        """An object's bytes, as `torch.save` wrote them: a pickle, which is not to be trusted."""
        key = Key(name, None)
        if key not in self.metadata.places:
            raise CorruptError(f"{name!r} isn't stored")
        return self._open(key, None, self._limit)

    def _part(self, name: str, tensor: Tensor, chunk: Chunk) -> Stored:
        key = Key(name, chunk.offsets)
        if key not in self.metadata.places:
            raise CorruptError(f"{name!r}: its chunk at {chunk.offsets} isn't stored")
        nbytes = math.prod(chunk.sizes) * DTYPES[tensor.dtype]
        try:
            found = read_tensor(self._open(key, (tensor.dtype, chunk.sizes), nbytes + CONTAINER))
        except LimitError as error:
            raise CorruptError(f"{name!r} unfolds into more than its shape needs: {error}") from None
        if (found.dtype, found.shape) != (tensor.dtype, chunk.sizes):
            raise CorruptError(f"{name!r}: a {found.dtype} {found.shape} is stored at {chunk.offsets}")
        return found

    def _open(self, key: Key, expected: tuple[str, tuple[int, ...]] | None, limit: int) -> bytes:
        """The raw item, held against the manifest and, as far as its frame says what it is, against the metadata."""
        place = self.metadata.places[key]
        stored = self._read(place.file, place.offset, place.length)
        seal = {} if self.manifest is None else self.manifest["seals"][key]
        if "stored" in seal and seal["stored"] != xxh3_128_hexdigest(stored):
            raise CorruptError(f"{key}: other bytes than the manifest's")
        headers, content = open_item(stored, place.descriptors, limit)
        save = (self.metadata.save_id or "").replace("-", "")
        together = {tuple(other) for other, there in self.metadata.places.items() if there[:3] == place[:3]}
        for header in headers:
            if header.key is not None and header.key not in together:
                raise CorruptError(f"{key}: the frame is that of {header.key}")
            if header.checkpoint is not None and save and header.checkpoint.hex() != save:
                raise CorruptError(f"{key}: the frame is that of another checkpoint")
            if "header" in seal and f"{header.hash:016x}" != seal["header"]:
                raise CorruptError(f"{key}: another frame than the manifest's")
            if expected and place.descriptors == (FRAME,) and header.hint is not None:
                check_hint(header.hint, expected, len(content))
        return content

    def _read(self, name: str, offset: int, length: int | None) -> bytes:
        try:
            with (self._path / name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                length = size if length is None else length
                if offset + length > size:
                    raise TruncatedError(f"{name} ends too early")
                if length > self._limit + CONTAINER:
                    raise LimitError(f"{name}: {length} bytes")
                file.seek(offset)
                return file.read(length)
        except FileNotFoundError:
            if POINTER.fullmatch(name):
                raise
            raise CorruptError(f"{name} is missing") from None

    def _hash(self, name: str, size: int) -> str:
        """The hash of a file, which must be so long; of any length, unlike what is read of it at once."""
        try:
            with (self._path / name).open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    error = TruncatedError if found < size else CorruptError
                    raise error(f"{name} has {found} bytes, not {size}")
                hasher = xxh3_128()
                while part := file.read(1 << 20):
                    hasher.update(part)
                return hasher.hexdigest()
        except FileNotFoundError:
            raise CorruptError(f"{name} is missing") from None

    # --- the manifest -------------------------------------------------------------------------------------------------

    def _manifest(self, pointer: str, content: bytes) -> dict[str, Any] | None:
        save, places = self.metadata.save_id, self.metadata.places
        by_dcpx = any((match := DATA_FILE.fullmatch(place.file)) and match[1] for place in places.values())
        if save is None or re.fullmatch(UUID, save) is None:
            if by_dcpx:
                raise CorruptError("the pointer doesn't name its manifest")
            return None
        if not by_dcpx and not (self._path / f"{save}.manifest.json").exists():
            return None
        manifest = read_manifest(self._read(f"{save}.manifest.json", 0, None))
        digest = {"name": pointer, "size": len(content), "xxh3_128": xxh3_128_hexdigest(content)}
        if manifest["checkpoint"] != save or {name: manifest["metadata"][name] for name in digest} != digest:
            raise CorruptError("the manifest is that of another checkpoint, or of another pointer")
        files = {file["name"]: file for file in manifest["files"]}
        seals = {Key(item["fqn"], as_offsets(item["offsets"])): item for item in manifest["items"]}
        if seals.keys() != places.keys() or len(seals) != len(manifest["items"]):
            raise CorruptError("the manifest lists other items than the pointer")
        for key, place in places.items():
            if place.offset + place.length > files.get(place.file, {"size": -1})["size"]:
                raise CorruptError(f"{key} lies outside of the manifest's files")
            if ("header" in seals[key]) != (place.descriptors == (FRAME,)):
                raise CorruptError(f"{key} is sealed as an item of another form")
        for name, file in files.items():
            if self._hash(name, file["size"]) != file["xxh3_128"]:
                raise CorruptError(f"{name} isn't what was written")
        return manifest | {"seals": seals}


def check_hint(hint: Hint, expected: tuple[str, tuple[int, ...]], size: int) -> None:
    """The hint of an item of `size` raw bytes must be that of the tensor that the metadata describes."""
    if hint[:2] != expected or hint.payload_offset + math.prod(hint.shape) * DTYPES[hint.dtype] > size:
        raise CorruptError(f"the frame is that of a tensor {hint}")


def as_offsets(value: list[int] | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(value)


def read_manifest(data: bytes) -> dict[str, Any]:
    """The members of a manifest, after all was checked that needs no other file."""
    tail = re.fullmatch(rb',"checksum":"([0-9a-f]{32})"\}\n', data[-48:])
    if tail is None:
        raise TruncatedError("the manifest doesn't end with its checksum")
    body = data[:-48]
    if xxh3_128_hexdigest(body).encode() != tail[1]:
        raise CorruptError("the manifest's checksum")
    try:
        members = json.loads(body.decode("ascii") + "}", object_pairs_hook=once, parse_constant=no_constant)
    except RecursionError:
        raise LimitError("the manifest nests too deep") from None
    except ValueError as error:
        raise CorruptError(f"the manifest isn't JSON: {error}") from None
    check(type(members) is dict and type(members.get("manifest")) is int, "no version")
    if members["manifest"] != 1:
        raise UnsupportedError(f"a manifest of version {members['manifest']}")
    check(members.keys() >= set(MEMBERS), "a member is missing")
    check(all(type(members[name]) is str for name in ("checkpoint", "created", "dcpx", "torch")), "a member's type")
    check(all(type(members[name]) is list for name in ("files", "items", "bases")), "a member's type")
    check(type(members["user"]) is dict and all(type(one) is dict for one in members["bases"]), "a member's type")
    check(is_count(members["world_size"]) and type(members.get("pointer")) in (str, type(None)), "a member's type")
    check(re.fullmatch(UUID, members["checkpoint"]), "the checkpoint's UUID")
    for file in [members["metadata"], *members["files"]]:
        check(type(file) is dict and type(file.get("name")) is str and is_count(file.get("size")), "a file")
        check(is_hash(file.get("xxh3_128"), 32), "a file's hash")
    names = [file["name"] for file in members["files"]]
    check(POINTER.fullmatch(members["metadata"]["name"]) and all(map(DATA_FILE.fullmatch, names)), "a file's name")
    check(len(set(names)) == len(names), "a file twice")
    for item in members["items"]:
        check(type(item) is dict and type(item.get("fqn")) is str, "an item")
        offsets, header, stored = (item.get(name) for name in ("offsets", "header", "stored"))
        check(offsets is None or (type(offsets) is list and all(map(is_count, offsets))), "an item's offsets")
        check((header is None) != (stored is None), "an item's hash")
        check(is_hash(header, 16) if stored is None else is_hash(stored, 32), "an item's hash")
    return dict(members)


def check(holds: object, what: str) -> None:
    if not holds:
        raise CorruptError(f"the manifest: {what}")


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def is_hash(value: object, digits: int) -> bool:
    return type(value) is str and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return dict(pairs)


def no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
