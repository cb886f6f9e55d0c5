"""Codec 3, as float.md describes it: byte planes, each raw, constant, or with a prefix or a tANS code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .kinds import CorruptError

__all__ = ["decode_float"]

RAW, CONSTANT, PREFIX, TANS = range(4)
PLAIN, ROTATED, DIFFERENCES, BITS, JOINED, PALETTE = range(6)
WIDTHS = {PLAIN: (1, 2, 4, 8), BITS: (8,)} | dict.fromkeys((ROTATED, DIFFERENCES, JOINED, PALETTE), (2, 4, 8))
STREAMS = 8
LONGEST = 11  # bits of a prefix code
STATES = 4096


class Head(NamedTuple):
    """What the payload says of one plane before its streams. `table`: code lengths or frequencies by symbol."""

    method: int
    value: int = 0
    table: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    patches: int = 0


class Payload:
    """The payload's bytes, taken one part after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        check(count <= len(self.data) - self.at, "the payload ends within a part")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")


def check(holds: bool, what: str) -> None:
    if not holds:
        raise CorruptError(f"codec 3: {what}")


def decode_float(data: bytes, parameter: int, size: int) -> bytes:
    """The `size` raw bytes of a chunk with this payload."""
    width, form = parameter & 0xFF, parameter >> 8
    check(width in WIDTHS.get(form, ()), f"parameter {parameter:#06x}")
    lanes, tail = divmod(size, width)
    check(lanes > 0, "no lane")
    payload = Payload(data)
    palette = [payload.take(width) for _ in range(payload.number(1) + 1)] if form == PALETTE else []
    heads = [read_head(method, payload, lanes) for method in payload.take(1 if palette else width)]
    planes = [bytearray(payload.take(lanes)) if head.method == RAW else bytearray(lanes) for head in heads]
    for plane, head in zip(planes, heads, strict=True):
        if head.method == CONSTANT:
            plane[:] = bytes([head.value]) * lanes
        elif head.method in (PREFIX, TANS):
            read = read_prefix if head.method == PREFIX else read_tans
            for number, stream_size in enumerate(head.sizes):
                positions = list(blocks(number, lanes))
                check(bool(positions) == bool(stream_size), "bytes without lanes, or lanes without bytes")
                if positions:
                    read(payload.take(stream_size), plane, positions, head.table)
    for plane, head in zip(planes, heads, strict=True):
        last = -1
        for _ in range(head.patches):
            lane, value = payload.number(3), payload.number(1)
            check(last < lane < lanes, "patches that don't ascend, or lie outside")
            plane[lane], last = value, lane
    end = payload.take(tail)
    check(payload.at == len(data), "bytes behind the payload")
    if palette:
        check(max(planes[0]) < len(palette), "a number beyond the palette")
        return b"".join(palette[number] for number in planes[0]) + end
    return join(planes, form) + end


def read_head(method: int, payload: Payload, lanes: int) -> Head:
    check(method <= TANS, f"method {method}")
    if method == RAW:
        return Head(method)
    value = payload.number(1) if method == CONSTANT else 0
    table = read_lengths(payload) if method == PREFIX else read_frequencies(payload) if method == TANS else ()
    sizes = () if method == CONSTANT else tuple(payload.number(3) for _ in range(STREAMS))
    patches = payload.number(4)
    check(patches <= lanes, "more patches than lanes")
    return Head(method, value, table, sizes, patches)


def read_lengths(payload: Payload) -> tuple[int, ...]:
    first, count = payload.number(1), payload.number(1) + 1
    halves = [half for byte in payload.take((count + 1) // 2) for half in (byte & 15, byte >> 4)]
    lengths, spare = halves[:count], halves[count:]
    check(first + count <= 256, "a symbol above 255")
    check(max(lengths) <= LONGEST and lengths[0] > 0 and lengths[-1] > 0 and not any(spare), "lengths of codes")
    check(sum(1 << LONGEST - length for length in lengths if length) == 1 << LONGEST, "lengths that make no code")
    return (0,) * first + tuple(lengths) + (0,) * (256 - first - count)


def read_frequencies(payload: Payload) -> tuple[int, ...]:
    first, count = payload.number(1), payload.number(1) + 1
    check(first + count <= 256, "a symbol above 255")
    found = []
    for _ in range(count):
        frequency = payload.number(1)
        if frequency >= 128:
            high = payload.number(1)
            check(1 <= high <= 32, "a frequency's second byte")
            frequency = frequency & 127 | high << 7
        found.append(frequency)
    check(sum(found) == STATES and found[0] > 0 and found[-1] > 0, "frequencies")
    return (0,) * first + tuple(found) + (0,) * (256 - first - count)


def blocks(stream: int, lanes: int) -> Iterator[range]:
    """The lanes of each block of a stream."""
    size = min(1024, (lanes + STREAMS * 32 - 1) // (STREAMS * 32) * 32)
    for start in range(stream * size, lanes, STREAMS * size):
        yield range(start, min(start + size, lanes))


def bits_at(data: bytes, at: int) -> int:
    """The stream's bits from number `at` on, the next one lowest: at least 17, zeros behind the stream's end."""
    return int.from_bytes(data[at >> 3 : (at >> 3) + 3], "little") >> (at & 7)


def read_prefix(data: bytes, plane: bytearray, positions: list[range], lengths: tuple[int, ...]) -> None:
    # By the next 11 bits: the symbol and its length. A code's highest bit comes first, a stream's lowest.
    table = [(0, 0)] * (1 << LONGEST)
    code = 0
    for length in range(1, LONGEST + 1):
        for symbol in (symbol for symbol in range(256) if lengths[symbol] == length):
            turned = int(f"{code:0{length}b}"[::-1], 2)
            table[turned :: 1 << length] = [(symbol, length)] * (1 << LONGEST - length)
            code += 1
        code <<= 1
    at = 0
    for block in positions:
        for lane in reversed(block):
            plane[lane], length = table[bits_at(data, at) & (1 << LONGEST) - 1]
            at += length
    check(at <= 8 * len(data), "a stream that ends before its last lane")
    check(8 * len(data) - at < 8 and bits_at(data, at) == 0, "a stream that doesn't end with its last lane")


def read_tans(data: bytes, plane: bytearray, positions: list[range], frequencies: tuple[int, ...]) -> None:
    symbols, at = [0] * STATES, 0
    for symbol, frequency in enumerate(frequencies):
        for _ in range(frequency):
            symbols[at] = symbol
            at = (at + 2563) % STATES
    seen = list(frequencies)
    steps = []
    for symbol in symbols:
        bits = 13 - seen[symbol].bit_length()
        steps.append((symbol, bits, (seen[symbol] << bits) - STATES))
        seen[symbol] += 1
    check(len(data) >= 2 and data[0] != 0, "no start of a stream")
    at = (data[0] & -data[0]).bit_length()  # behind the first 1
    state, at = bits_at(data, at) & STATES - 1, at + 12
    for block in positions:
        for lane in block:
            plane[lane], bits, base = steps[state]
            state = base + (bits_at(data, at) & (1 << bits) - 1)
            at += bits
    check(at <= 8 * len(data), "a stream that ends before its last lane")
    check(at == 8 * len(data) and state == 0, "a stream that doesn't end with its last lane")


def join(planes: list[bytearray], form: int) -> bytes:
    """Lanes of which plane p has byte p, brought back from their form."""
    width = len(planes)
    lanes: npt.NDArray[np.uint64] = np.zeros(len(planes[0]), np.uint64)
    for number, plane in enumerate(planes):
        lanes |= np.frombuffer(plane, np.uint8).astype(np.uint64) << np.uint64(8 * number)
    half, odd = lanes >> np.uint64(1), lanes & np.uint64(1)
    if form == ROTATED:
        lanes = half | odd << np.uint64(8 * width - 1)
    elif form == JOINED:
        lanes = lanes >> np.uint64(4) | lanes << np.uint64(8 * width - 4)
    elif form == DIFFERENCES:
        lanes = np.cumsum(np.where(odd == 1, ~half, half), dtype=np.uint64)  # -(z + 1) / 2 is ~(z / 2)
    elif form == BITS:
        squares = np.unpackbits(lanes.astype("<u8").view(np.uint8), bitorder="little").reshape(-1, 8, 8)
        lanes = np.packbits(squares.transpose(0, 2, 1), bitorder="little").view("<u8").astype(np.uint64)
    return lanes.astype(f"<u{width}").tobytes()
