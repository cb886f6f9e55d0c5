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
"""Bytes: the part of a chunk on which a codec is tried before it is trusted with all of it."""

_TINY = 64
"""Bytes: nothing is left to win."""


class Auto:
    """Float coding, in the form that a sample of the chunk promises most of; where words repeat, what makes a part of
    the chunk smallest: that, or Zstandard on bytes or on planes."""

    writes = (Zstd.id, Planes.id, Float.id)

    def __init__(self, small: bool = False) -> None:
        # A higher level isn't always smaller: "small" tries both.
        self._always: list[Codec] = [Float(small=True)] if small else []
        self._matching: list[Codec] = [Zstd(), Planes()]
        self._small: list[Codec] = [*self._matching, Zstd(9), Planes(9)] if small else []
        self._float = Float()

    def encode(self, raw: memoryview, lanes: Lanes, still: bool) -> tuple[Coded, int]:
        raw, content, best, repeats = self._float.encode_sniffing(raw, lanes, still, _REPEATS)
        if repeats >= _REPEATS:
            best = self._float.encode(raw, lanes) if self._small else self._chosen(raw, lanes)
        best = _smallest(best, self._always, raw, lanes)
        if repeats >= _REPEATS and (best is None or len(best.payload) >= _TINY):
            best = _smallest(best, self._small, raw, lanes)
        return best or Coded(Raw.id, 0, raw), content

    def _chosen(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        """What the codec makes of `raw` that does best with its middle, and where that misled the smaller of two."""
        tried = min(len(raw), _TRIED)
        start = (len(raw) - tried) // 2 // 8 * 8
        part = raw[start : start + tried]
        made: dict[Codec, Coded | None] = {self._float: self._float.encode(part, lanes)}

        def of_all(codec: Codec) -> Coded | None:
            return made[codec] if tried == len(raw) else codec.encode(raw, lanes)

        planes = _size(made[self._float], part)
        if planes < _TINY:
            return of_all(self._float)
        made |= {codec: codec.encode(part, lanes) for codec in self._matching}
        choice = min(self._matching, key=lambda codec: _size(made[codec], part))
        least = _size(made[choice], part)
        promised = least * len(raw) // tried
        if not _pays(least, planes, tried):
            best = of_all(self._float)
            other = choice if _pays(promised, _size(best, raw), len(raw)) else None
        else:
            best = of_all(choice)
            other = self._float if _size(best, raw) > 2 * promised else None
        return best if other is None else _smallest(best, [other], raw, lanes)


def _pays(size: int, planes: int, raw: int) -> bool:
    """Whether `size` bytes with matches are so much less than those of `planes` that the search is worth its time."""
    return size < max(planes * 3 // 4, planes - raw // 32)


def _size(coded: Coded | None, raw: memoryview) -> int:
    return len(raw) if coded is None else len(coded.payload)


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
