"""The golden files of codec 4: containers whole and in parts, and chunks laid out here with one thing wrong."""

from __future__ import annotations

from typing import Any

from contents import Lcg, bf16
from forge import Chunk, field, frame, header

from dcpx.codecs.container import AFTER, BEFORE, WHOLE, container
from dcpx.errors import CorruptError, DcpxError

LISTED = field(0x81, bytes([0, 4]))
HEAD = header(LISTED)


def whole(dtype: str, shape: tuple[int, ...], elements: bytes) -> Chunk:
    made = container(dtype, shape)
    return Chunk(made.before + elements + made.after, made.arguments + elements, 4, WHOLE)


def parts(dtype: str, shape: tuple[int, ...], elements: bytes) -> list[Chunk]:
    made = container(dtype, shape)
    return [
        Chunk(made.before, made.arguments, 4, BEFORE),
        *(Chunk(elements[start : start + 4096]) for start in range(0, len(elements), 4096)),
        Chunk(made.after, made.arguments, 4, AFTER),
    ]


GOOD_CONTAINER: dict[str, tuple[bytes, dict[str, Any]]] = {
    "container_scalar.frame": (frame([whole("float32", (), b"\0\0\x60\x40")], HEAD), {"codecs": [0, 4]}),
    "container_empty.frame": (frame([whole("int64", (3, 0), b"")], HEAD), {"codecs": [0, 4]}),
    "container_untyped_storage.frame": (
        frame([whole("float8_e4m3fn", (7, 30), Lcg(6).bytes(210))], HEAD),
        {"codecs": [0, 4]},
    ),
    "container_parts.frame": (frame(parts("bfloat16", (50, 100), bf16(5000, 7)), HEAD), {"codecs": [0, 4]}),
    "container_empty_large_strides.frame": (
        frame([whole("float16", (1 << 40, 0, 1 << 20, 3), b"")], HEAD),
        {"codecs": [0, 4]},
    ),
    "container_large_sizes.frame": (
        frame(parts("uint8", (5, 1 << 30), b"cut, not all of it"), HEAD),
        {"codecs": [0, 4]},
    ),
}

SCALAR = whole("float32", (), b"\0\0\x60\x40")


def changed(payload: bytes, parameter: int = WHOLE, raw: bytes = SCALAR.raw) -> bytes:
    return frame([Chunk(raw, payload, 4, parameter)], HEAD)


BAD_CONTAINER: dict[str, tuple[bytes, type[DcpxError], str]] = {
    "bad_container_parameter.frame": (changed(b"\x12\x00", 3), CorruptError, "parameter 3"),
    "bad_container_dtype.frame": (changed(b"\xee\x00\0\0\x60\x40"), CorruptError, "an unknown dtype code"),
    "bad_container_arguments_cut.frame": (changed(b"\x12\x02\x05"), CorruptError, "one of two dimensions"),
    "bad_container_dimension_form.frame": (
        changed(b"\x12\x01\x81\x00" + bytes(4), raw=whole("float32", (1,), bytes(4)).raw),
        CorruptError,
        "a dimension of 1 as 81 00",
    ),
    "bad_container_elements_short.frame": (changed(b"\x12\x00\0\0\x60"), CorruptError, "three bytes for a float32"),
    "bad_container_elements_long.frame": (changed(b"\x12\x00\0\0\x60\x40\0"), CorruptError, "five bytes for a float32"),
    "bad_container_trailing_byte.frame": (
        frame([Chunk(container("float32", ()).before, b"\x12\x00\0", 4, BEFORE)], HEAD),
        CorruptError,
        "a byte behind the arguments",
    ),
    "bad_container_other_size.frame": (
        frame([Chunk(b"x" * 100, b"\x12\x00", 4, AFTER)], HEAD),
        CorruptError,
        "a chunk that isn't as long as the container's part",
    ),
    "bad_container_huge_shape.frame": (
        changed(b"\x13\x02" + (b"\xff" * 8 + b"\x7f") * 2),
        CorruptError,
        "a shape of more than 2^63 bytes",
    ),
    "bad_container_huge_stride.frame": (
        frame([whole("float32", (0, 1 << 62, 2, 3), b"")], HEAD),
        CorruptError,
        "a stride of more than 2^63, of a tensor without elements",
    ),
}
