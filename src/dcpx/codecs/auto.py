"""Not a codec but the choice between them, chunk by chunk."""

from __future__ import annotations

from .. import kernels
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
        self._float: Encoder = Smallest(Float(), Float(small=True)) if small else Float()
        more: list[Encoder] = [Zstd(9), Planes(9)] if small else []
        self._matching = Smallest(Zstd(), Planes(), *more)

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        best = self._float.encode(raw, lanes)
        if (best is not None and len(best.payload) < _TINY) or not _may_match(raw, lanes):
            return best
        return _smallest([best, self._matching.encode(raw, lanes)])


class Smallest:
    """Tries several codecs; the smallest result wins, the first one on a tie."""

    def __init__(self, *codecs: Encoder) -> None:
        self._codecs = codecs
        self.writes = tuple(sorted({id for codec in codecs for id in codec.writes}))

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        return _smallest([codec.encode(raw, lanes) for codec in self._codecs])


def _smallest(tries: list[Coded | None]) -> Coded | None:
    return min((coded for coded in tries if coded is not None), key=lambda coded: len(coded.payload), default=None)


def _may_match(raw: memoryview, lanes: Lanes) -> bool:
    """Whether Zstandard is worth a try: it takes several times as long as float coding."""
    if lanes.width > 1 and not lanes.rotated:
        return True  # integers, whose order no sample of words shows
    return kernels.repeats(raw) >= _REPEATS or kernels.runs(raw, lanes.width, lanes.rotated) >= _RUNS
