"""The float codec's two entropy codes in plain Python, integers only: tables from histograms, and their bit streams.

A stream is handled as text, one "0" or "1" for each bit in the order in which a decoder reads them.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter

import numpy as np
import numpy.typing as npt

__all__ = [
    "PREFIX_BITS",
    "STREAMS",
    "TANS_BITS",
    "TANS_SIZE",
    "blocks_of",
    "code_prefix",
    "code_tans",
    "log2_q12",
    "prefix_lengths",
    "read_prefix",
    "read_tans",
    "refuse_unless",
    "tans_frequencies",
]

Bytes = npt.NDArray[np.uint8]

STREAMS, MAX_BLOCK = 8, 1024
PREFIX_BITS = 11
TANS_BITS = 12
TANS_SIZE = 1 << TANS_BITS
_SPREAD = (TANS_SIZE >> 1) + (TANS_SIZE >> 3) + 3


def refuse_unless(condition: bool, what: str) -> None:
    """ValueError where the coded bytes break a rule."""
    if not condition:
        raise ValueError(what)


def blocks_of(stream: int, lanes: int) -> list[tuple[int, int]]:
    """The blocks of one stream, as (first lane, last lane + 1)."""
    block = min(MAX_BLOCK, (-(-lanes // STREAMS) + 31) // 32 * 32)
    return [(start, min(start + block, lanes)) for start in range(stream * block, lanes, STREAMS * block)]


def log2_q12(x: int) -> int:
    """4096 * log2(x) from the first 9 bits of x, by repeated squaring: the same on every machine."""
    exponent = x.bit_length() - 1
    mantissa = (x >> (exponent - 8) if exponent >= 8 else x << (8 - exponent)) & 255
    y, bits = (256 + mantissa) << 22, 0
    for _ in range(12):
        y = y * y >> 30
        bits <<= 1
        if y >> 31:
            y >>= 1
            bits |= 1
    return exponent * 4096 + bits


# --- prefix code ----------------------------------------------------------------------------------------------------


def prefix_lengths(histogram: list[int]) -> list[int]:
    """Code lengths by symbol, 0 for the absent; at least two symbols are present.

    The best of at most 11 bits, by package-merge (Larmore and Hirschberg 1990); on a tie a symbol is taken before a
    package.
    """
    coins = sorted((count, symbol) for symbol, count in enumerate(histogram) if count)
    packages: list[tuple[int, list[int]]] = []
    for _ in range(PREFIX_BITS):
        merged = sorted([(count, [symbol]) for count, symbol in coins] + packages, key=itemgetter(0))
        packages = [(a + b, first + second) for (a, first), (b, second) in zip(merged[::2], merged[1::2], strict=False)]
    lengths = [0] * 256
    for _, symbols in merged[: 2 * len(coins) - 2]:
        for symbol in symbols:
            lengths[symbol] += 1
    return lengths


@lru_cache(maxsize=16)
def _prefix_codes(lengths: tuple[int, ...]) -> dict[int, str]:
    codes, code = {}, 0
    for length in range(1, PREFIX_BITS + 1):
        for symbol in range(256):
            if lengths[symbol] == length:
                codes[symbol] = f"{code:0{length}b}"
                code += 1
        code <<= 1
    return codes


def code_prefix(plane: Bytes, stream: int, lengths: list[int]) -> bytes:
    """One stream of the plane; every symbol has a code."""
    codes, bits = _prefix_codes(tuple(lengths)), []
    for start, stop in blocks_of(stream, len(plane)):
        bits += [codes[symbol] for symbol in plane[start:stop][::-1].tolist()]  # a block's last lane comes first
    text = "".join(bits)
    return _packed(text + "0" * (-len(text) % 8))


def read_prefix(data: bytes, plane: Bytes, stream: int, lengths: list[int]) -> None:
    """Fill the stream's lanes of the plane."""
    symbols = {code: symbol for symbol, code in _prefix_codes(tuple(lengths)).items()}
    text, at = _unpacked(data), 0
    for start, stop in blocks_of(stream, len(plane)):
        for lane in range(stop - 1, start - 1, -1):
            end = at + 1
            while text[at:end] not in symbols:
                refuse_unless(end < len(text), "stream too short")
                end += 1
            plane[lane], at = symbols[text[at:end]], end
    refuse_unless((at + 7) // 8 == len(data) and "1" not in text[at:], "stream too long")


# --- tANS -----------------------------------------------------------------------------------------------------------


def tans_frequencies(histogram: list[int]) -> list[int]:
    """Each symbol's share of the states: the nearest, at least 1, then one at a time where it costs least."""
    total = sum(histogram)
    shares = [max(1, (count * TANS_SIZE * 2 + total) // (2 * total)) if count else 0 for count in histogram]
    while sum(shares) != TANS_SIZE:
        give = sum(shares) < TANS_SIZE
        best, best_count, best_share = -1, 0, 1
        for symbol, (count, share) in enumerate(zip(histogram, shares, strict=True)):
            if count == 0 or (not give and share == 1):
                continue
            doubled = 2 * share + (1 if give else -1)
            here, there = count * best_share, best_count * doubled
            if best < 0 or (here > there if give else here < there):
                best, best_count, best_share = symbol, count, doubled
        shares[best] += 1 if give else -1
    return shares


@lru_cache(maxsize=16)
def _tans_symbols(shares: tuple[int, ...]) -> list[int]:
    """The symbol of each state."""
    at, symbols = 0, [0] * TANS_SIZE
    for symbol, share in enumerate(shares):
        for _ in range(share):
            symbols[at] = symbol
            at = (at + _SPREAD) % TANS_SIZE
    return symbols


def code_tans(plane: Bytes, stream: int, shares: list[int]) -> bytes:
    """One stream of the plane, from its last lane to its first, as the decoder's steps taken backwards."""
    blocks = blocks_of(stream, len(plane))
    if not blocks:
        return b""
    states: list[list[int]] = [[] for _ in range(256)]  # of each symbol, ascending
    for state, symbol in enumerate(_tans_symbols(tuple(shares))):
        states[symbol].append(state)
    state, parts = 0, []
    for start, stop in reversed(blocks):
        for symbol in plane[start:stop][::-1].tolist():
            full, bits = state + TANS_SIZE, 0
            while full >> bits >= 2 * shares[symbol]:
                bits += 1
            parts.append(_number(full & ((1 << bits) - 1), bits))
            state = states[symbol][(full >> bits) - shares[symbol]]
    text = "1" + _number(state, TANS_BITS) + "".join(reversed(parts))
    return _packed("0" * (-len(text) % 8) + text)


def read_tans(data: bytes, plane: Bytes, stream: int, shares: list[int]) -> None:
    """Fill the stream's lanes of the plane."""
    blocks = blocks_of(stream, len(plane))
    refuse_unless(bool(blocks) == bool(data), "a stream's size")
    if not blocks:
        return
    refuse_unless(len(data) >= 2 and data[0] != 0, "no start of a stream")
    seen, steps = list(shares), []
    for symbol in _tans_symbols(tuple(shares)):
        bits = TANS_BITS + 1 - seen[symbol].bit_length()
        steps.append((symbol, bits, (seen[symbol] << bits) - TANS_SIZE))
        seen[symbol] += 1
    text = _unpacked(data)
    at = text.index("1") + 1
    refuse_unless(at + TANS_BITS <= len(text), "stream too short")
    state, at = int(text[at : at + TANS_BITS][::-1], 2), at + TANS_BITS
    for start, stop in blocks:
        for lane in range(start, stop):
            plane[lane], bits, base = steps[state]
            refuse_unless(at + bits <= len(text), "stream too short")
            state = base + int("0" + text[at : at + bits][::-1], 2)
            at += bits
    refuse_unless(at == len(text) and state == 0, "stream too long")


# --- bits -----------------------------------------------------------------------------------------------------------


def _number(value: int, bits: int) -> str:
    """A number in a stream: its lowest bit first."""
    return f"{value:0{bits}b}"[::-1] if bits else ""


def _packed(text: str) -> bytes:
    return int(text[::-1], 2).to_bytes(len(text) // 8, "little") if text else b""


def _unpacked(data: bytes) -> str:
    return _number(int.from_bytes(data, "little"), 8 * len(data))
