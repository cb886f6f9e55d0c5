"""Codec 1: one Zstandard frame."""

from __future__ import annotations

from functools import cache

from ..errors import UnsupportedError
from ..zstd import BACKENDS, Backend, find_backend
from .contract import CodecError, Coded, Lanes

__all__ = ["Zstd", "compress", "decompress_into"]


class Zstd:
    """Matches and entropy in general-purpose form; for objects, containers and repeated data."""

    id = 1
    name = "zstd"

    def __init__(self, level: int = 1) -> None:
        self._level = level

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        payload = compress(raw, self._level)
        return Coded(self.id, 0, payload) if len(payload) < len(raw) else None

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        if parameter != 0:
            raise CodecError(f"unknown parameter {parameter}")
        decompress_into(payload, out)


@cache
def _backend() -> Backend:
    backend = find_backend()
    if backend is None:
        raise UnsupportedError(f"none of {', '.join(BACKENDS)} can be imported", None, "pip install zstandard")
    return backend


def compress(raw: memoryview, level: int = 1) -> bytes:
    """One Zstandard frame without a checksum: the chunk carries its own."""
    return _backend().compress(raw, level)


def decompress_into(payload: memoryview, out: memoryview) -> None:
    """Fill `out` from one Zstandard frame, or raise CodecError."""
    backend = _backend()
    try:
        count = backend.decompress_into(payload, out)
    except (backend.error, EOFError) as error:
        raise CodecError(f"damaged Zstandard data: {error}") from error
    if count != len(out):
        raise CodecError(f"Zstandard data of {count} bytes, not {len(out)}")
