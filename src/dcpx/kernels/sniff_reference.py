"""How the native kernels look at unknown bytes, in NumPy: the same decisions, made slowly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .float_reference import PLAIN, ROTATED, planes_of

__all__ = ["repeats", "sample", "sniff_lane"]

_SAMPLE, _MOST = 1024, 8
_PIECE = 8192


@cache
def _log_factorials() -> npt.NDArray[np.int64]:
    """log2(n!) in 1024ths of a bit."""
    table, total = np.zeros(_MOST * _SAMPLE + 256, np.int64), 0.0
    for number in range(1, len(table)):
        total += math.log2(number)
        table[number] = math.floor(total * 1024 + 0.5)
    return table


def _cost(samples: bytes, width: int, rotated: bool) -> int:
    """What an adaptive order-0 coder takes for the planes of the samples, in 1024ths of a bit."""
    table = _log_factorials()
    lanes = len(samples) // width
    bits = 0
    for plane in planes_of(samples, width, ROTATED if rotated else PLAIN):
        bits += int(table[lanes + 255] - table[255] - table[np.bincount(plane, minlength=256)].sum())
    return bits


def sniff_lane(data: bytes) -> tuple[int, bool]:
    """(width, rotated): how the bytes of `data` seem to group."""
    if len(data) < _SAMPLE:
        return 1, False
    count = min(max(len(data) >> 17, 1), _MOST)
    stride = (len(data) - _SAMPLE) // (count - 1) // 8 * 8 if count > 1 else 0
    samples = b"".join(data[start : start + _SAMPLE] for start in (number * stride for number in range(count)))
    # On a tie the narrower lanes win, and those that aren't rotated.
    least, width = min((_cost(samples, width, False), width) for width in (1, 2, 4, 8))
    return width, width > 1 and _cost(samples, width, True) < least


def _pieces(data: bytes) -> Iterator[bytes]:
    stretch = min(max(len(data) // 4 // 8 * 8, _PIECE), 8 * _PIECE)
    for number, start in enumerate(range(0, len(data), stretch)):
        start += number * 11 % (stretch // _PIECE) * _PIECE
        yield data[start : start + _PIECE]


def sample(data: bytes) -> bytes:
    """Pieces that stand for all of `data`, one of each stretch and each in another place there; of many every other."""
    pieces = list(_pieces(data))
    return b"".join(pieces[:: 2 if len(pieces) > 8 else 1])


def repeats(data: bytes) -> int:
    """Of 1024 strings of 16 bytes in pieces of `data`, how many stood there earlier."""
    seen: dict[int, int] = {}  # by slot, the tag of the last string there
    words = found = 0
    for piece in _pieces(data):
        values = np.frombuffer(piece[: len(piece) // 8 * 8], "<u8").tolist()
        for first, second in pairwise(values):
            hashed = (first * 0x9E3779B97F4A7C15 + second * 0xC2B2AE3D27D4EB4F) % 2**64
            slot, tag = hashed >> 52, hashed >> 20 & 0xFFFFFFFF | 1
            found += seen.get(slot, 0) == tag
            seen[slot] = tag
            words += 1
    return found * 1024 // words if words else 0
