"""Not a codec but the choice between them, chunk by chunk."""

from __future__ import annotations

from .contract import Coded, Encoder, Lanes
from .float import Float
from .planes import Planes
from .zstd import Zstd

__all__ = ["Auto", "Smallest"]

_REPEATS = 24
"""Of 1024: so many sampled words seen before promise that matches pay. Weights have none."""

_RUNS = 150
"""Of 1024: so much likeness between neighbours does the same. Weights have under 30, second moments 150 and more."""

_TINY = 64
"""Bytes: nothing is left to win."""


class Auto:
    """Float coding, and where matches may pay also Zstandard, on bytes and on planes; the smallest wins."""

    writes = (Zstd.id, Planes.id, Float.id)

    def __init__(self, small: bool = False) -> None:
        # A higher level isn't always smaller: "small" tries both.
        more: list[Encoder] = [Float(small=True), Zstd(9), Planes(9)] if small else []
        self._always = Smallest(*more[:1])
        self._matching = Smallest(Zstd(), Planes(), *more[1:])
        self._float = Float()

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        fast, repeats, runs = self._float.encode_sniffing(raw, lanes)
        best = _smallest([fast, self._always.encode(raw, lanes)])
        if best is not None and len(best.payload) < _TINY:
            return best
        # Integers: no sample of words shows their order.
        if (lanes.width > 1 and not lanes.rotated) or repeats >= _REPEATS or runs >= _RUNS:
            best = _smallest([best, self._matching.encode(raw, lanes)])
        return best


class Smallest:
    """Tries several codecs; the smallest result wins, the first one on a tie."""

    def __init__(self, *codecs: Encoder) -> None:
        self._codecs = codecs
        self.writes = tuple(sorted({id for codec in codecs for id in codec.writes}))

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        return _smallest([codec.encode(raw, lanes) for codec in self._codecs])


def _smallest(tries: list[Coded | None]) -> Coded | None:
    return min((coded for coded in tries if coded is not None), key=lambda coded: len(coded.payload), default=None)
