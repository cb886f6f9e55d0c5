"""No codecs but the choice between them, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable

from .. import kernels
from .contract import Codec, Coded, Lanes
from .float import Float
from .planes import Planes
from .raw import Raw
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
        self._always: list[Codec] = [Float(small=True)] if small else []
        self._matching: list[Codec] = [Zstd(), Planes(), *((Zstd(9), Planes(9)) if small else ())]
        self._float = Float()

    def encode(self, raw: memoryview, lanes: Lanes, still: bool) -> tuple[Coded, int]:
        raw, content, best, repeats, runs = self._float.encode_sniffing(raw, lanes, still)
        if self._always:
            best = _smallest(best, self._always, raw, lanes)
        # Integers: no sample of words shows their order.
        if (best is None or len(best.payload) >= _TINY) and (
            (lanes.width > 1 and not lanes.rotated) or repeats >= _REPEATS or runs >= _RUNS
        ):
            best = _smallest(best, self._matching, raw, lanes)
        return best or Coded(Raw.id, 0, raw), content


class Smallest:
    """Tries some codecs, or none, and stores the smallest result, the first one on a tie."""

    def __init__(self, *codecs: Codec) -> None:
        self._codecs = codecs
        self.writes = tuple(sorted({codec.id for codec in codecs}))

    def encode(self, raw: memoryview, lanes: Lanes, still: bool) -> tuple[Coded, int]:
        raw, content = (raw, kernels.xxh3(raw, 0)) if still else kernels.take_chunk(raw)
        return _smallest(None, self._codecs, raw, lanes) or Coded(Raw.id, 0, raw), content


def _smallest(best: Coded | None, codecs: Iterable[Codec], raw: memoryview, lanes: Lanes) -> Coded | None:
    """The smallest of `best` and what the codecs make of `raw`, if any makes it smaller."""
    for codec in codecs:
        coded = codec.encode(raw, lanes)
        if coded is not None and (best is None or len(coded.payload) < len(best.payload)):
            best = coded
    return best
