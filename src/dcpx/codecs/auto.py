"""No codecs but the choice between them, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import kernels
from .contract import Codec, Coded, Lanes
from .float import Float
from .planes import Planes
from .raw import Raw
from .zstd import Zstd

__all__ = ["Auto", "Smallest"]

_REPEATS = 24
"""Of 1024: so many sampled words seen before promise that matches may pay. Weights have none."""

_TINY = 64
"""Bytes: whether a chunk takes so many or fewer makes no difference."""


class Auto:
    """Float coding, in the form that a sample of the chunk promises most of; where words repeat, what makes a sample
    of the chunk smallest: that, or Zstandard on bytes or on planes."""

    writes = (Zstd.id, Planes.id, Float.id)

    def __init__(self, small: bool = False) -> None:
        self._small = small
        self._float, self._smaller, self._planes = Float(), Float(small=True), Planes()
        self._repeating: list[Codec] = [self._float, Zstd(), self._planes]
        if small:  # a higher level isn't always smaller
            self._repeating += [self._smaller, Zstd(9), Planes(9)]

    def encode(self, raw: memoryview, lanes: Lanes, still: bool) -> tuple[Coded, int]:
        raw, content, best, repeats = self._float.encode_sniffing(raw, lanes, still, _REPEATS)
        if repeats >= _REPEATS:
            best = self._by_sample(self._repeating, None, raw, lanes, repeats)
        elif self._small and len(raw) > _TINY:
            best = _smallest(best, [self._smaller], raw, lanes)
            best = self._by_sample([self._planes], best, raw, lanes, repeats)
        return best or Coded(Raw.id, 0, raw), content

    def _by_sample(
        self, codecs: Sequence[Codec], best: Coded | None, raw: memoryview, lanes: Lanes, repeats: int
    ) -> Coded | None:
        """The best of what the codecs make of `raw`, and of `best`. They are run in the order of what they make of a
        sample, until none promises more than what there is: where the sample misleads, the next one has its turn."""
        sample = memoryview(kernels.sample(raw))
        made: list[Coded | None] = []
        promised = [0.0] * len(codecs)
        for number, codec in enumerate(codecs):
            made.append(codec.encode(sample, lanes))
            worth = self._worth(made[number], sample)
            promised[number:] = [worth * len(raw) / len(sample)] * (len(codecs) - number)
            if worth == _least(sample):  # none of the others could promise more
                break
        if min(promised) > len(raw) / 2:
            # Strings of bytes so varied repeat because they are copies, of which the sample holds but few.
            for number, codec in enumerate(codecs):
                if codec.id != Float.id:
                    promised[number] *= (1024 - repeats) / 1024
        for number in sorted(range(len(codecs)), key=promised.__getitem__):
            if self._worth(best, raw) <= promised[number]:
                break
            coded = made[number] if len(sample) == len(raw) else codecs[number].encode(raw, lanes)
            if self._worth(coded, raw) < self._worth(best, raw):
                best = coded
        return best

    def _worth(self, coded: Coded | None, raw: memoryview) -> int:
        """Its size; but matches must save a quarter of what float coding takes, or a thirty-second of the chunk, or the
        search isn't worth its time."""
        size = len(raw) if coded is None else len(coded.payload)
        if (coded is None or coded.codec == Float.id) and not self._small:
            size = max(size * 3 // 4, size - len(raw) // 32)
        return max(size, _least(raw))


def _least(raw: memoryview) -> int:
    """What a chunk may come to: to what is smaller there is nothing left to win."""
    return min(_TINY, len(raw) // 2)


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
