"""Codec 4: a `torch.save` container around a tensor's elements, stored as the few bytes from which it can be rebuilt.

The container is dcpx's own, byte for byte as `spec/format.md` describes it: a function of dtype and shape alone, which
`torch.load` reads like any other. The parameter says which part of it the chunk is:

    0  all of it: the payload is the arguments, then the elements as they are
    1  what comes before the elements: the payload is the arguments
    2  what comes after them: likewise

The arguments are `dtype u8, dimensions u8`, then the size of each dimension as a varint.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import NamedTuple

from ..varint import Cursor, pack_varint
from .contract import CodecError, Lanes
from .dtypes import CODES, ITEM_SIZES, NAMES

__all__ = ["AFTER", "BEFORE", "WHOLE", "Container", "Template", "container", "is_typed", "pickled"]

WHOLE, BEFORE, AFTER = 0, 1, 2

_ALIGNMENT = 64
"""Bytes: where the elements begin, so that a container that is mapped into memory needs no copy."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_MOST32 = 0xFFFFFFFF
_UTF8 = 1 << 11
_OVERFLOW = 1 << 63
"""No tensor has so many bytes, or so large a stride."""

# dtypes that torch pickles by the name of their storage's class; all others it pickles by their own.
_STORAGES = {
    "uint8": "Byte",
    "int8": "Char",
    "bool": "Bool",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "bfloat16": "BFloat16",
    "float16": "Half",
    "float32": "Float",
    "float64": "Double",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}


class Template(NamedTuple):
    """A container without its elements: the bytes before and after them, and the codec's arguments."""

    before: bytes
    after: bytes
    arguments: bytes
    nbytes: int

    @property
    def size(self) -> int:
        """Bytes of the whole container."""
        return len(self.before) + self.nbytes + len(self.after)


@lru_cache(4096)
def container(dtype: str, shape: tuple[int, ...]) -> Template:
    """The container of a C-contiguous tensor; `dtype` is torch's name, one of those in `dtypes.CODES`."""
    nbytes = math.prod(shape) * ITEM_SIZES[dtype]
    before = bytearray()
    entries = [
        _entry(before, b"archive/version", b"3\n"),
        _entry(before, b"archive/byteorder", b"little"),
        _entry(before, b"archive/data.pkl", pickled(dtype, shape)),
        _entry(before, b"archive/data/0", None, nbytes),
    ]
    directory = b"".join(entries)
    begins = len(before) + nbytes
    after = directory
    after += _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, len(entries), len(entries), len(directory), begins)
    after += _LOCATOR64.pack(b"PK\6\7", 0, begins + len(directory), 1)
    after += _END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), min(begins, _MOST32), 0)
    arguments = bytes([CODES[dtype], len(shape)]) + b"".join(map(pack_varint, shape))
    return Template(bytes(before), after, arguments, nbytes)


def _entry(before: bytearray, name: bytes, content: bytes | None, size: int = 0) -> bytes:
    """Append one stored entry of the archive to `before`, and return its record of the central directory.

    CRCs are 0, as torch writes them when it is told not to compute any: the frame has better ones.
    """
    size = size if content is None else len(content)
    start = len(before)
    large = size >= _MOST32
    wide = struct.pack("<2H2Q", 1, 16, size, size) if large else b""
    shown = _MOST32 if large else size
    padding = -(start + _LOCAL.size + len(name) + len(wide) + 4) % _ALIGNMENT
    extra = wide + b"FB" + struct.pack("<H", padding) + b"Z" * padding
    before += _LOCAL.pack(b"PK\3\4", 45, _UTF8, 0, 0, 0, 0, shown, shown, len(name), len(extra))
    before += name + extra + (content or b"")
    numbers = (b"PK\1\2", 45, 45, _UTF8, 0, 0, 0, 0, shown, shown, len(name), len(wide), 0, 0, 0, 0, start)
    return _CENTRAL.pack(*numbers) + name + wide


def is_typed(dtype: str) -> bool:
    """Whether torch pickles a dtype by the name of its storage's class."""
    return dtype in _STORAGES


def pickled(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What torch pickles for a tensor, in protocol 2: a call of the function that rebuilds it from its storage."""
    storage = _STORAGES.get(dtype)
    call = b"_rebuild_tensor_v2" if storage else b"_rebuild_tensor_v3"
    elements = math.prod(shape)
    count = elements if storage else elements * ITEM_SIZES[dtype]  # an untyped storage counts bytes
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    parts = [
        b"\x80\x02ctorch._utils\n" + call + b"\n((",
        _text("storage") + b"ctorch\n" + f"{storage}Storage".encode() + b"\n"
        if storage
        else _text("storage") + b"ctorch.storage\nUntypedStorage\n",
        _text("0") + _text("cpu") + _integer(count) + b"tQ",
        _integer(0) + _tuple(shape) + _tuple(strides[::-1]) + b"\x89",  # offset, size, stride, requires_grad
        b"ccollections\nOrderedDict\n)R",  # hooks
        b"" if storage else b"ctorch\n" + dtype.encode() + b"\n",
        b"tR.",
    ]
    return b"".join(parts)


def _first_stride(shape: tuple[int, ...]) -> int:
    """The largest of a tensor's strides, which can overflow though there are no elements."""
    return math.prod(max(size, 1) for size in shape[1:])


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _tuple(values: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t" if values else b")"


def _integer(value: int) -> bytes:
    if value < 1 << 8:
        return b"K" + struct.pack("<B", value)
    if value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little")
    return b"\x8a" + bytes([len(digits)]) + digits


class Container:
    """Rebuilds containers. Whoever makes one knows its arguments and stores these."""

    id = 4
    name = "container"
    writes = (id,)

    def encode(self, raw: memoryview, lanes: Lanes) -> None:
        """None: bytes alone don't say which tensor they are the container of."""

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        template, elements = _parse(payload)
        parts = {
            WHOLE: (template.before, elements, template.after),
            BEFORE: (template.before,),
            AFTER: (template.after,),
        }.get(parameter)
        if parts is None:
            raise CodecError(f"a container's part {parameter}")
        size = sum(map(len, parts))
        if size != len(out) or len(elements) != (template.nbytes if parameter == WHOLE else 0):
            raise CodecError(f"a container's part {parameter} of {size} bytes for a chunk of {len(out)}")
        out[:] = b"".join(parts)


def _parse(payload: memoryview) -> tuple[Template, memoryview]:
    """The template that the arguments ask for, and the payload's rest."""
    cursor = Cursor(payload)
    try:
        code, dimensions = cursor.byte(), cursor.byte()
        shape = cursor.varints(dimensions)
    except ValueError as error:
        raise CodecError(f"the container's arguments can't be read: {error}") from error
    dtype = NAMES.get(code)
    if dtype is None or math.prod(shape) * ITEM_SIZES[dtype] >= _OVERFLOW or _first_stride(shape) >= _OVERFLOW:
        raise CodecError(f"a container of dtype {code} and shape {shape}")
    return container(dtype, shape), payload[cursor.position :]
