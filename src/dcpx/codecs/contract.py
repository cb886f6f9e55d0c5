"""What a codec is: it turns one chunk's raw bytes into fewer and back, knowing nothing of frames and files."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Codec", "CodecError", "Coded", "Encoder", "Lanes"]


class CodecError(ValueError):
    """A chunk's payload can't be decoded. The frame's reader turns it into a CorruptError that says where."""


class Lanes(NamedTuple):
    """How a chunk's bytes are grouped: `width` bytes make an element (1, 2, 4 or 8).

    `rotated` for floats of several bytes: their sign belongs at the lowest bit, so that the top byte is all exponent.
    """

    width: int = 1
    rotated: bool = False


class Coded(NamedTuple):
    """A coded chunk: what a frame stores of it. The parameter has 16 bits."""

    codec: int
    parameter: int
    payload: bytes | memoryview


class Encoder(Protocol):
    """Chooses how a chunk is stored. Instances are shared by all threads and keep no state."""

    @property
    def writes(self) -> tuple[int, ...]:
        """The ids of the codecs it may choose, beside raw."""

    def encode(self, raw: memoryview, lanes: Lanes, still: bool) -> tuple[Coded, int]:
        """The chunk as it is stored, raw where no codec makes it smaller, and XXH3-64 of its raw bytes.

        Unless `raw` holds `still`, others may write to it meanwhile: it is copied once, and the copy is hashed, coded,
        and stored where it stays raw, so that all of these agree.
        """


class Codec(Protocol):
    """One way to store a chunk, and to read it back. Instances are shared by all threads and keep no state."""

    id: int
    name: str

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        """The coded chunk, or None where it wouldn't be smaller than `raw`, which must hold still."""

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        """Fill `out`, whose length is the chunk's raw size, or raise CodecError. Trusts nothing in `payload`."""
