"""What a codec is: it turns one chunk's raw bytes into fewer and back, knowing nothing of frames and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Codec", "CodecError", "Lanes"]


class CodecError(ValueError):
    """A chunk's payload can't be decoded. The frame's reader turns it into a CorruptError that says where."""


@dataclass(frozen=True)
class Lanes:
    """How a chunk's bytes are grouped: `width` bytes make an element (1, 2, 4 or 8)."""

    width: int = 1


class Codec(Protocol):
    """One way to store a chunk. Instances are shared by all threads and keep no state."""

    id: int
    name: str

    def encode(self, raw: memoryview, lanes: Lanes) -> tuple[int, bytes | bytearray | memoryview] | None:
        """(parameter, payload), or None where that wouldn't be smaller than `raw`. The parameter has 16 bits."""

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        """Fill `out`, whose length is the chunk's raw size, or raise CodecError. Trusts nothing in `payload`."""
