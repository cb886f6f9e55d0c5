"""Not a codec but the choice between them, chunk by chunk."""

from __future__ import annotations

from .. import kernels
from .contract import Coded, Lanes
from .float import Float
from .planes import Planes
from .zstd import Zstd

__all__ = ["Auto"]

_WORTH_A_TRY = 24
"""Of 1024: so many sampled words seen before promise that matches pay. Weights have none."""

_ZSTD, _PLANES = Zstd(), Planes()


class Auto:
    """Float coding, unless the chunk repeats itself: then also Zstandard, on bytes and on planes; the smallest wins."""

    writes = (Zstd.id, Planes.id, Float.id)

    def __init__(self, small: bool = False) -> None:
        self._float = Float(small)

    def encode(self, raw: memoryview, lanes: Lanes) -> Coded | None:
        best = self._float.encode(raw, lanes)
        if kernels.repeats(raw) < _WORTH_A_TRY or _is_tiny(best):
            return best
        tries = [best, _ZSTD.encode(raw, lanes), _PLANES.encode(raw, lanes)]
        return min((coded for coded in tries if coded is not None), key=lambda coded: len(coded.payload), default=None)


def _is_tiny(coded: Coded | None) -> bool:
    return coded is not None and len(coded.payload) < 64
