"""Codec 0: the bytes as they are."""

from __future__ import annotations

from .contract import CodecError, Coded, Lanes

__all__ = ["Raw"]


class Raw:
    """Stores the chunk as it is; what every other codec falls back to."""

    id = 0
    name = "raw"

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded:
        return Coded(self.id, 0, raw)

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        if parameter != 0 or len(payload) != len(out):
            raise CodecError(f"{len(payload)} raw bytes with parameter {parameter} for a chunk of {len(out)}")
        out[:] = payload
