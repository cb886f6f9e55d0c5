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
"""Of 1024: so many sampled words seen before promise that matches may pay. Weights have none."""

_TRIED = 1 << 16
"""Bytes: the part of a chunk on which matches are tried before they are trusted with all of it."""

_TINY = 64
"""Bytes: nothing is left to win."""


class Auto:
    """Float coding, in the form that a sample of the chunk promises most of; Zstandard, on bytes or on planes, where
    words repeat and a part of the chunk gets smaller with it."""

    writes = (Zstd.id, Planes.id, Float.id)

    def __init__(self, small: bool = False) -> None:
        # A higher level isn't always smaller: "small" tries both.
        self._always: list[Codec] = [Float(small=True)] if small else []
        self._matching: list[Codec] = [Zstd(), Planes()]
        self._small: list[Codec] = [*self._matching, Zstd(9), Planes(9)] if small else []
        self._float = Float()

    def encode(self, raw: memoryview, lanes: Lanes, still: bool) -> tuple[Coded, int]:
        raw, content, best, repeats = self._float.encode_sniffing(raw, lanes, still)
        best = _smallest(best, self._always, raw, lanes)
        if repeats >= _REPEATS and (best is None or len(best.payload) >= _TINY):
            best = _smallest(best, self._small or self._promising(raw, lanes, best), raw, lanes)
        return best or Coded(Raw.id, 0, raw), content

    def _promising(self, raw: memoryview, lanes: Lanes, best: Coded | None) -> list[Codec]:
        """Of the codecs with matches the one that makes the middle of the chunk smallest, if that is smaller than
        what `best` makes of as much."""
        if len(raw) <= _TRIED:
            return self._matching
        start = (len(raw) - _TRIED) // 2 // 8 * 8
        part = raw[start : start + _TRIED]
        sizes = {codec: len(made.payload) for codec in self._matching if (made := codec.encode(part, lanes))}
        choice = min(sizes, key=sizes.__getitem__, default=None)
        if choice is None or (best is not None and sizes[choice] * len(raw) >= len(best.payload) * _TRIED):
            return []
        return [choice]


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
