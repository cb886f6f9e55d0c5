"""Codec 2: byte planes, each constant, raw or a Zstandard frame.

The parameter is the lane width w (2, 4 or 8). The payload is w plane headers (u8 method, u32 stored size), the planes'
stored bytes in the same order, then the raw tail of `size % w` bytes.
"""

from __future__ import annotations

import struct

from .. import kernels
from .contract import CodecError, Coded, Lanes
from .zstd import compress, decompress_into

__all__ = ["Planes"]

_PLANE = struct.Struct("<BI")
RAW, ZSTD, CONSTANT = 0, 1, 2


class Planes:
    """Puts like bytes beside like: an element's exponent compresses once its noisy mantissa is out of the way."""

    id = 2
    name = "planes"

    def __init__(self, level: int = 1) -> None:
        self._level = level

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        width = lanes.width
        count = len(raw) // width
        if width not in (2, 4, 8) or count == 0:
            return None
        body = count * width
        planes = memoryview(bytearray(body))
        kernels.split_planes(raw[:body], planes, width)
        coded = [_encode_plane(planes[start : start + count], self._level) for start in range(0, body, count)]
        headers = [_PLANE.pack(method, len(stored)) for method, stored in coded]
        payload = b"".join([*headers, *(stored for _, stored in coded), raw[body:]])
        return Coded(self.id, width, payload) if len(payload) < len(raw) else None

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        width = parameter
        if width not in (2, 4, 8):
            raise CodecError(f"unknown lane width {width}")
        count, tail = divmod(len(out), width)
        position = width * _PLANE.size
        if len(payload) < position:
            raise CodecError("the plane headers are cut short")
        planes = memoryview(bytearray(count * width))
        for number in range(width):
            method, stored = _PLANE.unpack_from(payload, number * _PLANE.size)
            if stored > len(payload) - position:
                raise CodecError(f"plane {number} is longer than the chunk")
            _decode_plane(method, payload[position : position + stored], planes[number * count : (number + 1) * count])
            position += stored
        if len(payload) - position != tail:
            raise CodecError(f"{len(payload) - position} bytes after the planes, not {tail}")
        kernels.merge_planes(planes, out[: count * width], width)
        out[count * width :] = payload[position:]


def _encode_plane(plane: memoryview, level: int) -> tuple[int, bytes | memoryview]:
    if plane[:1].tobytes() * len(plane) == plane.tobytes():  # a memoryview would be compared item by item
        return CONSTANT, plane[:1]
    stored = compress(plane, level)
    return (ZSTD, stored) if len(stored) < len(plane) else (RAW, plane)


def _decode_plane(method: int, stored: memoryview, plane: memoryview) -> None:
    if method == CONSTANT and len(stored) == 1:
        plane[:] = stored.tobytes() * len(plane)
    elif method == RAW and len(stored) == len(plane):
        plane[:] = stored
    elif method == ZSTD:
        decompress_into(stored, plane)
    else:
        raise CodecError(f"a plane with method {method} and {len(stored)} bytes for {len(plane)}")
