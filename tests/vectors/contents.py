"""The raw contents of the golden files, from integers alone, and how they are cut and coded."""

from __future__ import annotations

import struct

from forge import Chunk

from dcpx.codecs import CODECS, Lanes

CHUNK = 4096


class Lcg:
    """Knuth's MMIX generator: the raw bytes can be made again in any language."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return self.state >> 33

    def bytes(self, count: int) -> bytes:
        return bytes(self.next() >> 7 & 0xFF for _ in range(count))

    def exponent(self, top: int) -> int:
        """`top`, or one less for each time a coin falls, as in weights around 0."""
        found = top
        while found > top - 12 and self.next() & 64:
            found -= 1
        return found


def bf16(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    values = [lcg.exponent(122) << 7 | lcg.next() >> 5 & 0x807F for _ in range(count)]
    return struct.pack(f"<{count}H", *values)


def f32(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    values = [lcg.exponent(122) << 23 | (lcg.next() << 1 & 0x807FFFFF) for _ in range(count)]
    return struct.pack(f"<{count}I", *values)


def f64(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    parts = [(lcg.exponent(1018) << 20 | lcg.next() & 0x800FFFFF, lcg.next() << 1 & 0xFFFFFFFF) for _ in range(count)]
    return b"".join(struct.pack("<II", low, high) for high, low in parts)


def cut(raw: bytes, codec: int, width: int = 1) -> list[Chunk]:
    """Chunks of CHUNK bytes, each raw where the codec doesn't pay."""
    chunks = []
    for start in range(0, len(raw), CHUNK):
        piece = raw[start : start + CHUNK]
        coded = CODECS[codec].encode(memoryview(piece), Lanes(width))
        chunks.append(Chunk(piece) if coded is None else Chunk(piece, bytes(coded.payload), codec, coded.parameter))
    return chunks
