"""Codec 3: float-aware byte planes, each entropy-coded, constant or raw; `spec/float.md` describes its payload.

The parameter's low byte is the lane width (1, 2, 4 or 8), the high byte the form of the lanes, which a sample of the
chunk chooses: as they are, rotated, their differences, or their bits.
"""

from __future__ import annotations

from .. import kernels
from .contract import CodecError, Coded, Lanes

__all__ = ["Float"]


class Float:
    """Prefix codes by default; with `small`, tANS, which takes less room and more time. Both decode the same way."""

    id = 3
    name = "float"

    def __init__(self, small: bool = False) -> None:
        self._small = small

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        return _coded(kernels.float_encode(raw, lanes.width, lanes.rotated, self._small))

    def encode_sniffing(
        self, raw: memoryview, lanes: Lanes, still: bool, most: int
    ) -> tuple[memoryview, int, Coded | None, int]:
        """`raw`, or a copy unless it holds `still`; of that its XXH3-64, what `encode` gives at the fast level, and
        what `kernels.repeats` says: from `most` on nothing is encoded."""
        taken, content, made, repeats = kernels.encode_chunk(raw, lanes.width, lanes.rotated, still, most)
        return taken, content, _coded(made), repeats

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        try:
            kernels.float_decode(payload, out, parameter)
        except ValueError as error:
            raise CodecError(f"damaged float data: {error}") from error


def _coded(made: tuple[int, memoryview] | None) -> Coded | None:
    return None if made is None else Coded(Float.id, *made)
