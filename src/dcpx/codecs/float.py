"""Codec 3: float-aware byte planes, each entropy-coded, constant or raw; `spec/float.md` describes its payload.

The parameter's low byte is the lane width (1, 2, 4 or 8), bit 8 says that the lanes were rotated.
"""

from __future__ import annotations

from .. import kernels
from .contract import CodecError, Coded, Lanes

__all__ = ["Float"]

_ROTATED = 1 << 8


class Float:
    """Prefix codes by default; with `small`, tANS, which takes less room and more time. Both decode the same way."""

    id = 3
    name = "float"

    def __init__(self, small: bool = False) -> None:
        self._small = small

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        payload = kernels.float_encode(raw, lanes.width, lanes.rotated, self._small)
        return None if payload is None else Coded(self.id, lanes.width | lanes.rotated * _ROTATED, payload)

    def encode_sniffing(
        self, raw: memoryview, lanes: Lanes, still: bool
    ) -> tuple[memoryview, int, Coded | None, int, int]:
        """`raw`, or a copy unless it holds `still`; of that its XXH3-64, what `encode` gives at the fast level, and
        what `kernels.repeats` and `kernels.runs` say."""
        taken, content, payload, repeats, runs = kernels.encode_chunk(raw, lanes.width, lanes.rotated, still)
        coded = None if payload is None else Coded(self.id, lanes.width | lanes.rotated * _ROTATED, payload)
        return taken, content, coded, repeats, runs

    def decode(self, payload: memoryview, parameter: int, out: memoryview) -> None:
        try:
            kernels.float_decode(payload, out, parameter & ~_ROTATED, bool(parameter & _ROTATED))
        except ValueError as error:
            raise CodecError(f"damaged float data: {error}") from error
