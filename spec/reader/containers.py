"""A tensor's container (container.md): dcpx's own is built, any of torch's is read."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from .kinds import DTYPES, CorruptError, TruncatedError, UnsupportedError
from .pickles import TORCH_SAVE, read_pickle

__all__ = ["container", "read_archive", "read_tensor"]

STORAGES = {
    "Byte": "uint8",
    "Char": "int8",
    "Bool": "bool",
    "Short": "int16",
    "Int": "int32",
    "Long": "int64",
    "BFloat16": "bfloat16",
    "Half": "float16",
    "Float": "float32",
    "Double": "float64",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
MOST16, MOST32 = 0xFFFF, 0xFFFFFFFF
NAME = re.compile(r"[^/\x00-\x1f\x7f]+/([^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f])")


# --- dcpx's own -------------------------------------------------------------------------------------------------------


def container(dtype: str, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """The bytes before and after the elements of a tensor in C order."""
    nbytes = math.prod(shape) * DTYPES[dtype]
    pickled = own_pickle(dtype, shape)
    before, directory = b"", b""
    for name, content, size in (
        (b"archive/version", b"3\n", 2),
        (b"archive/byteorder", b"little", 6),
        (b"archive/data.pkl", pickled, len(pickled)),
        (b"archive/data/0", b"", nbytes),
    ):
        wide = struct.pack("<HHQQ", 1, 16, size, size) if size >= MOST32 else b""
        padding = -(len(before) + 30 + len(name) + len(wide) + 4) % 64
        extra = wide + b"FB" + struct.pack("<H", padding) + b"Z" * padding
        shown = min(size, MOST32)
        common = struct.pack("<HHHHHIIIH", 45, 0x800, 0, 0, 0, 0, shown, shown, len(name))
        directory += (
            b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<HHHHII", len(wide), 0, 0, 0, 0, len(before))
        )
        directory += name + wide
        before += b"PK\3\4" + common + struct.pack("<H", len(extra)) + name + extra + content
    begins = len(before) + nbytes
    end = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 4, 4, len(directory), begins)
    end += b"PK\6\7" + struct.pack("<IQI", 0, begins + len(directory), 1)
    end += b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 4, 4, len(directory), min(begins, MOST32), 0)
    return before, directory + end


def own_pickle(dtype: str, shape: tuple[int, ...]) -> bytes:
    own = next((name for name, other in STORAGES.items() if other == dtype), None)
    storage = "torch.storage\nUntypedStorage" if own is None else f"torch\n{own}Storage"
    count = math.prod(shape) * (DTYPES[dtype] if own is None else 1)
    strides = tuple(math.prod(max(size, 1) for size in shape[number + 1 :]) for number in range(len(shape)))
    return (
        f"\x80\x02ctorch._utils\n_rebuild_tensor_v{3 if own is None else 2}\n((".encode("latin-1")
        + text("storage")
        + f"c{storage}\n".encode()
        + text("0")
        + text("cpu")
        + integer(count)
        + b"tQK\0"
        + integers(shape)
        + integers(strides)
        + b"\x89ccollections\nOrderedDict\n)R"
        + (f"ctorch\n{dtype}\n".encode() if own is None else b"")
        + b"tR."
    )


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t" if values else b")"


def integer(value: int) -> bytes:
    if value < 1 << 31:
        form = "<cB" if value < 1 << 8 else "<cH" if value < 1 << 16 else "<ci"
        return struct.pack(form, {"B": b"K", "H": b"M", "i": b"J"}[form[-1]], value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little")


# --- torch's ----------------------------------------------------------------------------------------------------------


def read_archive(data: bytes) -> dict[str, bytes]:
    """The contents of a zip archive's entries, by their names without the folder that all lie in."""
    end = len(data) - 22
    if end < 0 or data[end : end + 4] != b"PK\5\6":
        raise TruncatedError("the archive has no end")
    *disks, here, count, size, begins, comment = struct.unpack_from("<HHHHIIH", data, end + 4)
    if any(disks) or here != count or comment:
        raise TruncatedError("the archive has no end, or a comment behind it")
    if end >= 76 and data[end - 20 : end - 16] == b"PK\6\7":
        end -= 76
        magic, *wide_disks, wide_here, wide_count, wide_size, wide_begins = struct.unpack_from("<4s12xII4Q", data, end)
        check(magic == b"PK\6\6" and struct.unpack_from("<IQI", data, end + 60) == (0, end, 1), "its wide end")
        check(not any(wide_disks) and wide_here == wide_count and count in (wide_count, MOST16), "its two ends")
        check(size in (wide_size, MOST32) and begins in (wide_begins, MOST32), "its two ends")
        count, size, begins = wide_count, wide_size, wide_begins
    check(begins + size == end and 0 < 46 * count <= size, "its directory isn't where its end says")
    entries, at = [], begins
    for _ in range(count):
        check(data[at : at + 4] == b"PK\1\2" and at + 46 <= end, "its directory")
        flags, method, crc, stored, nbytes, *sizes, disk, attributes, offset = struct.unpack_from(
            "<8xHH4xIIIHHHH2xII", data, at
        )
        name, extra = data[at + 46 : at + 46 + sizes[0]], data[at + 46 + sizes[0] :][: sizes[1]]
        at += 46 + sum(sizes)
        wides = wide_numbers(extra)
        nbytes, stored, offset = (
            next(wides, -1) if number == MOST32 else number for number in (nbytes, stored, offset)
        )
        check(disk == 0 and not attributes & 16, "an entry that is a folder, or on another disk")
        check(method == 0 and flags & ~0x808 == 0 and stored == nbytes, "an entry is compressed or encrypted")
        entries.append((offset, name, nbytes, crc))
    check(at == end, "its directory")
    return contents(data, sorted(entries), begins)


def check(holds: bool, what: str) -> None:
    if not holds:
        raise CorruptError(f"the archive: {what}")


def wide_numbers(extra: bytes) -> Any:
    """The numbers of an extra field 1, in place of those that are FFFFFFFF, in this order."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1:
            return iter(struct.unpack_from(f"<{size // 8}Q", extra.ljust(4 + size, b"\0"), 4))
        extra = extra[4 + size :]
    return iter(())


def contents(data: bytes, entries: list[tuple[int, bytes, int, int]], end: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    at = 0
    computed = any(crc for *_, crc in entries)  # all are 0 where the writer was told to compute none
    folder = entries[0][1].partition(b"/")[0]
    for offset, name, nbytes, crc in entries:
        check(offset >= at and (at > 0 or offset == 0) and offset + 30 <= end, "entries that overlap, or lie outside")
        flags, method, name_size, extra_size = struct.unpack_from("<6xHH16xHH", data, offset)
        check(data[offset : offset + 4] == b"PK\3\4" and method == 0 and flags & ~0x808 == 0, "a local header")
        check(data[offset + 30 : offset + 30 + name_size] == name, "a local header of another name")
        at = offset + 30 + name_size + extra_size + nbytes
        check(at <= end, "an entry that reaches into the directory")
        content = data[at - nbytes : at]
        check(not computed or zlib.crc32(content) == crc, f"the CRC-32 of {name!r}")
        match = NAME.fullmatch(name.decode("utf-8", "replace"))
        check(match is not None and name.partition(b"/")[0] == folder, "an entry's name")
        found[match[1] if match else ""] = content
    check(len({name.lower() for name in found}) == len(entries), "two entries of one name")
    return found


class Name(NamedTuple):
    """A class, a function or a dtype: its module and its name."""

    full: str


class Storage(NamedTuple):
    """`dtype` is None where the storage is one of bytes."""

    data: bytes
    dtype: str | None


class Tensor(NamedTuple):
    """A tensor's dtype and shape, and its elements in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class _Container:
    """What a tensor's pickle may say."""

    opcodes = TORCH_SAVE
    protocols = range(2, 3)

    def __init__(self, entries: dict[str, bytes]) -> None:
        self._entries = entries

    def name(self, module: str, name: str) -> Name:
        return Name(f"{module}.{name}")

    def key(self, key: object) -> Hashable:
        if type(key) is not str:
            raise UnsupportedError("a key that isn't a string")
        return key

    def new(self, cls: object) -> object:
        raise UnsupportedError("an object")

    def build(self, made: object, state: object) -> None:
        raise UnsupportedError("an object's state")

    def persistent(self, reference: object) -> Storage:
        match reference:
            case ("storage", Name(full), str(key), str(), int(count)):
                dtype = STORAGES.get(full.removeprefix("torch.").removesuffix("Storage"))
                if dtype is None and full != "torch.storage.UntypedStorage":
                    raise UnsupportedError(f"storage {full}")
                width = 1 if dtype is None else DTYPES[dtype]
                data = self._entries.get(f"data/{key}", b"")
                # The entry may end in a part of an element, which isn't counted.
                if not 0 <= len(data) - count * width < width:
                    raise CorruptError("a storage isn't as long as its pickle says")
                return Storage(data[: count * width], dtype)
        raise CorruptError("no storage")

    def call(self, function: object, arguments: tuple[Any, ...]) -> object:
        match function, arguments:
            case Name("collections.OrderedDict"), ():
                return {}
            case Name("torch._utils._rebuild_parameter"), (Tensor() as made, bool(), dict()):
                return made
            case Name("torch._utils._rebuild_tensor_v2"), (Storage(_, str(dtype)) as storage, *rest):
                return view(storage, dtype, *rest)
            case Name("torch._utils._rebuild_tensor_v3"), (Storage(_, None) as storage, *rest) if len(rest) in (6, 7):
                dtype = rest.pop(5).full.removeprefix("torch.") if isinstance(rest[5], Name) else ""
                if dtype not in DTYPES:
                    raise UnsupportedError(f"dtype {dtype!r}")
                return view(storage, dtype, *rest)
        raise UnsupportedError(f"{function} in a tensor's pickle")


def view(storage: Storage, dtype: str, *arguments: Any) -> Tensor:
    """What `_rebuild_tensor_v2` makes of an offset, sizes, strides, a flag, hooks, and marks where there are any."""
    match arguments:
        case (int(offset), tuple(shape), tuple(strides), bool(), dict() | None, *marks) if len(shape) == len(strides):
            pass
        case _:
            raise CorruptError("a tensor of what can't be one")
    numbers = (offset, *shape, *strides)
    if any(type(number) is not int or not 0 <= number < 1 << 62 for number in numbers):
        raise CorruptError("a tensor of what can't be one")
    width, count = DTYPES[dtype], math.prod(shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if count and (last + 1) * width > len(storage.data):
        raise CorruptError("a tensor reaches beyond its storage")
    if count * width > len(storage.data):
        raise UnsupportedError("a tensor whose elements share their bytes")
    data = b""
    if count:
        steps = [stride * width for stride in strides]
        data = np.ndarray(shape, f"V{width}", storage.data, offset * width, steps).tobytes()
    for mark in marks:
        if type(mark) is not dict or not mark.keys() <= {"conj", "neg"} or set(map(type, mark.values())) - {bool}:
            raise UnsupportedError("a tensor with unknown marks")
        data = marked(data, dtype, mark.get("conj", False), mark.get("neg", False))
    return Tensor(dtype, shape, data)


def marked(data: bytes, dtype: str, conjugated: bool, negated: bool) -> bytes:
    """The elements with the marks carried out: imaginary parts, or all parts, with their sign changed."""
    if not (conjugated or negated) or (conjugated and not negated and not dtype.startswith("complex")):
        return data
    if not dtype.startswith(("complex", "bfloat")) and dtype not in ("float16", "float32", "float64"):
        raise UnsupportedError(f"a negated {dtype}")
    width = DTYPES[dtype] // 2 if dtype.startswith("complex") else DTYPES[dtype]
    parts = np.frombuffer(data, f"<u{width}").copy()
    sign = parts.dtype.type(1 << 8 * width - 1)
    if negated:
        parts ^= sign
    if conjugated and dtype.startswith("complex"):
        parts[1::2] ^= sign
    return bytes(parts.tobytes())


def read_tensor(data: bytes) -> Tensor:
    """The tensor in a container."""
    entries = read_archive(data)
    if "data.pkl" not in entries:
        raise CorruptError("the container has no pickle")
    if entries.get("byteorder", b"little") != b"little":
        raise UnsupportedError("a container of another byte order")
    try:
        made = read_pickle(entries["data.pkl"], _Container(entries))
    except RecursionError:
        raise UnsupportedError("a pickle that nests too deep") from None
    if not isinstance(made, Tensor):
        raise UnsupportedError("what is stored is no tensor")
    return made
