"""The float codec in plain Python and NumPy, integers only: slow, obvious, and what the native one is tested against.

It follows `spec/float.md`: `encode` gives exactly the native encoder's bytes, `decode` refuses what it must refuse.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .float_codes_reference import (
    PREFIX_BITS,
    STREAMS,
    TANS_BITS,
    TANS_SIZE,
    code_prefix,
    code_tans,
    log2_q12,
    prefix_lengths,
    read_prefix,
    read_tans,
    refuse_unless,
    tans_frequencies,
)

__all__ = [
    "BITS",
    "DIFFERENCES",
    "JOINED",
    "PALETTE",
    "PLAIN",
    "ROTATED",
    "decode",
    "encode",
    "join_planes",
    "planes_of",
]

Planes = npt.NDArray[np.uint8]
"""Shape [lane width, lanes]: byte p of every lane, in the form of the lanes."""

Lanes = npt.NDArray[np.uint64]

RAW, CONSTANT, PREFIX, TANS = range(4)
PLAIN, ROTATED, DIFFERENCES, BITS, JOINED, PALETTE = range(6)
TURNS = {ROTATED: 1, JOINED: 4}
"""By how many bits a form turns its lanes to the left."""
MAX_CHUNK = 16 << 20
LEAST_FORMED, FEW_VALUES, PALETTE_SAMPLE, MOST_VALUES = 64, 16, 4096, 256


def planes_of(data: bytes, width: int, form: int) -> Planes:
    """The planes of the whole lanes of `data`."""
    lanes = np.frombuffer(data, f"<u{width}", len(data) // width).astype(np.uint64)
    if form in TURNS:
        turn = TURNS[form]
        lanes = (lanes << np.uint64(turn)) | (lanes >> np.uint64(8 * width - turn))
    if form == DIFFERENCES:
        top = np.uint64(8 * width - 1)
        steps = np.diff(lanes, prepend=np.uint64(0))
        lanes = (steps << np.uint64(1)) ^ (np.uint64(0) - (steps >> top & np.uint64(1)))
    if form == BITS:
        lanes = _turned(lanes)
    return np.stack([(lanes >> np.uint64(8 * p)).astype(np.uint8) for p in range(width)])


def join_planes(planes: Planes, form: int) -> bytes:
    """The inverse of `planes_of`."""
    width = len(planes)
    lanes = np.zeros(planes.shape[1], np.uint64)
    for p in range(width):
        lanes |= planes[p].astype(np.uint64) << np.uint64(8 * p)
    if form in TURNS:
        turn = TURNS[form]
        lanes = (lanes >> np.uint64(turn)) | (lanes << np.uint64(8 * width - turn))
    if form == DIFFERENCES:
        odd = lanes & np.uint64(1)
        lanes = np.cumsum((lanes >> np.uint64(1)) ^ (np.uint64(0) - odd), dtype=np.uint64)
    if form == BITS:
        lanes = _turned(lanes)
    return lanes.astype(f"<u{width}").tobytes()


def _turned(lanes: Lanes) -> Lanes:
    """Bit i of byte j of every lane becomes bit j of byte i."""
    bits = np.unpackbits(lanes.astype("<u8").view(np.uint8), bitorder="little").reshape(-1, 8, 8)
    turned = np.packbits(bits.transpose(0, 2, 1).reshape(-1), bitorder="little")
    return turned.view("<u8").astype(np.uint64)


# --- what to do with each plane -------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """How a plane that isn't raw is coded; symbols whose count is 0 are left to patches."""

    method: int
    value: int
    counts: list[int]


class _Chunk(NamedTuple):
    """A chunk's planes in one form, with what the first sample shows of them."""

    form: int
    planes: Planes
    histograms: npt.NDArray[np.int64]
    counted: int

    def total(self, size: int, small: bool) -> int:
        """What it would take, judged by the sample."""
        width, lanes = self.planes.shape
        total: int = size % width
        for histogram in self.histograms:
            total += _estimate(histogram, self.counted, lanes, small)
        return total


def _sample(planes: Planes, form: int, target: int) -> tuple[npt.NDArray[np.int64], int]:
    """Each plane's histogram of about `target` lanes, in runs of 32 evenly spread, and the count of lanes."""
    if form == DIFFERENCES:  # the first is like no other
        planes = planes[:, 1:]
    index = _sampled(planes.shape[1], target)
    return np.stack([np.bincount(plane[index], minlength=256) for plane in planes]), len(index)


def _sampled(lanes: int, target: int) -> npt.NDArray[np.int64]:
    if lanes <= target:
        return np.arange(lanes)
    runs = target // 32
    step = (lanes - 32) // (runs - 1)
    return (np.arange(runs)[:, None] * step + np.arange(32)).reshape(-1)


def _nearly_constant(most: int, counted: int) -> bool:
    return (counted - most) * 128 <= counted


def _estimate(histogram: npt.NDArray[np.int64], counted: int, lanes: int, small: bool) -> int:
    """The bytes that a plane would take; `lanes` where coding it isn't worth its time."""
    counts = [int(count) for count in histogram if count]
    bits = sum(count * (log2_q12(counted) - log2_q12(count)) for count in counts) + 2954 * len(counts)
    if not small and len(counts) > 1:
        most = max(counts)
        bits = (counted - most) * 32 * 4096 if _nearly_constant(most, counted) else max(bits, counted * 4096)
    size = bits // counted * lanes // (8 * 4096) + 48 + len(counts)
    return size if size < (lanes - lanes // 128 if small else lanes - lanes // 16) else lanes


def _first_sample(small: bool) -> int:
    return 1 << (14 if small else 12)


def _formed(data: bytes, width: int, form: int, small: bool) -> _Chunk:
    planes = planes_of(data, width, form)
    return _Chunk(form, planes, *_sample(planes, form, _first_sample(small)))


def _choose_form(data: bytes, width: int, rotated: bool, small: bool) -> tuple[_Chunk, _Chunk]:
    """The chunk in its dtype's form, and in the one that promises most."""
    given = _formed(data, width, ROTATED if rotated else PLAIN, small)
    if len(data) < LEAST_FORMED or (width == 1 and given.histograms[0][FEW_VALUES:].any()):
        return given, given
    other = _formed(data, width, DIFFERENCES, small) if width > 1 else _formed(data, 8, BITS, small)
    chosen = other if other.total(len(data), small) + len(data) // 256 < given.total(len(data), small) else given
    if not small or not rotated:
        return given, chosen
    joined = _formed(data, width, JOINED, small)
    pays = joined.total(len(data), small) + len(data) // 1024 < chosen.total(len(data), small)
    return given, joined if pays else chosen


def _decide(chunk: _Chunk, small: bool, exact: bool, forced_raw: set[int]) -> dict[int, _Plan]:
    form, planes, histograms, counted = chunk
    width, lanes = planes.shape
    if exact:
        histograms, counted = _sample(planes, form, lanes)
    coded = [p for p in range(width) if p not in forced_raw and _estimate(histograms[p], counted, lanes, small) < lanes]
    if not exact and lanes > _first_sample(small):
        histograms, counted = _sample(planes, form, 1 << (17 if small else 14))
    plans = {}
    for p in coded:
        most = int(histograms[p].max())
        alone = not small and _nearly_constant(most, counted)
        least = most if alone else max(-(-counted >> 16), 1)
        kept = [int(count) if count >= least else 0 for count in histograms[p]]
        method = CONSTANT if sum(map(bool, kept)) == 1 else _code(kept) if small else PREFIX
        plans[p] = _Plan(method, kept.index(max(kept)), kept)
    return plans


def _code(counts: list[int]) -> int:
    """A prefix code where tANS, which is slower, takes no less."""
    lengths, shares = prefix_lengths(counts), tans_frequencies(counts)
    prefix = sum(count * length * 4096 for count, length in zip(counts, lengths, strict=True))
    used = [(count, share) for count, share in zip(counts, shares, strict=True) if count]
    tans = sum(count * (TANS_BITS * 4096 - log2_q12(share)) for count, share in used)
    return TANS if prefix > tans + tans // 1024 else PREFIX


# --- encoding -------------------------------------------------------------------------------------------------------


def encode(data: bytes, width: int, rotated: bool, small: bool) -> tuple[int, bytes] | None:
    """The chunk's parameter and payload, or None where that isn't smaller."""
    if len(data) < width:
        return None
    given, chosen = _choose_form(data, width, rotated, small)
    if width > 1 and len(data) >= LEAST_FORMED:
        numbered = _encode_palette(data, width, small, chosen.total(len(data), small))
        if numbered is not None:
            return width | PALETTE << 8, numbered
    coded = _encode(data, chosen, small)
    return coded if coded is not None or chosen is given else _encode(data, given, small)  # the sample misled


def _encode_palette(data: bytes, width: int, small: bool, promised: int) -> bytes | None:
    """The payload of lanes of few different values, if their numbers promise less than `promised` bytes."""
    lanes = np.frombuffer(data, f"<u{width}", len(data) // width)
    shown, counts = np.unique(lanes[_sampled(len(lanes), PALETTE_SAMPLE)], return_counts=True)
    if len(shown) > MOST_VALUES:
        return None
    estimated = _estimate(counts, int(counts.sum()), len(lanes), small) + len(shown) * width
    if estimated + len(data) // 256 >= promised:
        return None
    ascending, first, inverse = np.unique(lanes, return_index=True, return_inverse=True)
    if len(ascending) > MOST_VALUES:
        return None
    order = np.argsort(first)
    values, plane = ascending[order], np.argsort(order)[inverse].astype(np.uint8).tobytes()
    coded = _encode(plane, _formed(plane, 1, PLAIN, small), small)
    body = bytes([RAW]) + plane if coded is None else coded[1]
    whole = bytes([len(values) - 1]) + values.astype(f"<u{width}").tobytes() + body + data[len(lanes) * width :]
    return whole if len(whole) < len(data) else None


def _encode(data: bytes, chunk: _Chunk, small: bool) -> tuple[int, bytes] | None:
    width, lanes = chunk.planes.shape
    exact, forced_raw = False, set[int]()
    for _ in range(10):
        coded, failed = _attempt(chunk.planes, _decide(chunk, small, exact, forced_raw), len(data))
        if not failed:
            whole = coded + data[lanes * width :]
            return (width | chunk.form << 8, whole) if coded and len(whole) < len(data) else None
        if exact:
            forced_raw |= failed
        exact = True  # the sample misled
    return None


def _attempt(planes: Planes, plans: dict[int, _Plan], size: int) -> tuple[bytes, set[int]]:
    """The chunk up to its tail, nothing where it can't get smaller, and the planes that turned out not to pay."""
    width, lanes = planes.shape
    if not plans:
        return b"", set()
    methods, heads, raws, streams, patches = bytearray(), b"", b"", b"", b""
    failed = set()
    for p in range(width):
        if p not in plans:
            methods.append(RAW)
            raws += planes[p].tobytes()
            continue
        method, value, counts = plans[p]
        methods.append(method)
        plane = planes[p].copy()
        rare = np.flatnonzero(~np.array(counts, bool)[plane])
        patch = ((plane[rare].astype(np.uint32) << np.uint32(24)) | rare.astype(np.uint32)).astype("<u4").tobytes()
        plane[rare] = value
        head, coded = _code_plane(plane, method, value, counts)
        if len(rare) > lanes // 64 + 16 or len(coded) + len(patch) >= lanes:
            failed.add(p)
        heads += head + len(rare).to_bytes(4, "little")
        streams += coded
        patches += patch
    if width + len(heads) + len(raws) > size:
        return b"", set()
    return bytes(methods) + heads + raws + streams + patches, failed


def _code_plane(plane: npt.NDArray[np.uint8], method: int, value: int, counts: list[int]) -> tuple[bytes, bytes]:
    """The plane's head but for the patch count, and its streams."""
    if method == CONSTANT:
        return bytes([value]), b""
    table = prefix_lengths(counts) if method == PREFIX else tans_frequencies(counts)
    code = code_prefix if method == PREFIX else code_tans
    streams = [code(plane, stream, table) for stream in range(STREAMS)]
    sizes = b"".join(len(stream).to_bytes(3, "little") for stream in streams)
    return _table_bytes(table, method) + sizes, b"".join(streams)


def _table_bytes(table: list[int], method: int) -> bytes:
    used = [symbol for symbol in range(256) if table[symbol]]
    low, high = used[0], used[-1]
    values = table[low : high + 1]
    if method == PREFIX:
        values += [0] * (len(values) % 2)
        body = bytes(values[i] | values[i + 1] << 4 for i in range(0, len(values), 2))
    else:
        body = b"".join(bytes([v]) if v < 128 else bytes([v & 127 | 128, v >> 7]) for v in values)
    return bytes([low, high - low]) + body


# --- decoding -------------------------------------------------------------------------------------------------------


class _Head(NamedTuple):
    method: int
    value: int = 0
    table: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    patches: int = 0


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        refuse_unless(count <= len(self._data) - self._at, "the chunk is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def ended(self) -> bool:
        return self._at == len(self._data)


_WIDTHS = {PLAIN: (1, 2, 4, 8), ROTATED: (2, 4, 8), DIFFERENCES: (2, 4, 8), BITS: (8,)}
_WIDTHS |= {JOINED: (2, 4, 8), PALETTE: (2, 4, 8)}


def decode(chunk: bytes, parameter: int, size: int) -> bytes:
    """The `size` raw bytes of a coded chunk; ValueError where it is none."""
    form, width = divmod(parameter, 256)
    refuse_unless(width in _WIDTHS.get(form, ()), "no such lanes")
    lanes, tail = divmod(size, width)
    refuse_unless(lanes > 0 and size <= MAX_CHUNK, "no such size")
    cursor = _Cursor(chunk)
    values = _read_palette(cursor, width) if form == PALETTE else np.zeros(0, np.uint64)
    count = 1 if form == PALETTE else width
    methods = cursor.take(count)
    refuse_unless(max(methods) <= TANS, "unknown method")
    heads = [_read_head(cursor, method, lanes) for method in methods]
    planes = np.zeros((count, lanes), np.uint8)
    for plane, head in zip(planes, heads, strict=True):
        if head.method == RAW:
            plane[:] = np.frombuffer(cursor.take(lanes), np.uint8)
    for plane, head in zip(planes, heads, strict=True):
        if head.method == CONSTANT:
            plane[:] = head.value
        read = read_prefix if head.method == PREFIX else read_tans
        for stream, stored in enumerate(head.sizes):
            read(cursor.take(stored), plane, stream, list(head.table))
    for plane, head in zip(planes, heads, strict=True):
        last = -1
        for _ in range(head.patches):
            lane, value = cursor.number(3), cursor.number(1)
            refuse_unless(last < lane < lanes, "a patch out of order or outside")
            plane[lane], last = value, lane
    rest = cursor.take(tail)
    refuse_unless(cursor.ended(), "trailing bytes")
    if form == PALETTE:
        refuse_unless(int(planes.max()) < len(values), "a value that the palette lacks")
        named: Lanes = values[planes[0]]
        return named.astype(f"<u{width}").tobytes() + rest
    return join_planes(planes, form) + rest


def _read_palette(cursor: _Cursor, width: int) -> Lanes:
    return np.array([cursor.number(width) for _ in range(cursor.number(1) + 1)], np.uint64)


def _read_head(cursor: _Cursor, method: int, lanes: int) -> _Head:
    if method == RAW:
        return _Head(RAW)
    if method == CONSTANT:
        head = _Head(method, cursor.number(1))
    else:
        table = _read_table(cursor, method)
        head = _Head(method, 0, table, tuple(cursor.number(3) for _ in range(STREAMS)))
    patches = cursor.number(4)
    refuse_unless(patches <= lanes, "more patches than lanes")
    return head._replace(patches=patches)


def _read_table(cursor: _Cursor, method: int) -> tuple[int, ...]:
    low, count = cursor.number(1), cursor.number(1) + 1
    refuse_unless(low + count <= 256, "a table beyond the last symbol")
    if method == PREFIX:
        halves = [half for byte in cursor.take((count + 1) // 2) for half in (byte & 15, byte >> 4)]
        refuse_unless(not any(halves[count:]), "a spare half byte")
        values = halves[:count]
        shares = sum(2**PREFIX_BITS >> length for length in values if length)
        refuse_unless(max(values) <= PREFIX_BITS and shares == 2**PREFIX_BITS, "not a full code")
    else:
        values = [_read_frequency(cursor) for _ in range(count)]
        refuse_unless(sum(values) == TANS_SIZE, "frequencies of another sum")
    refuse_unless(values[0] > 0 and values[-1] > 0, "an absent symbol at an end of the table")
    return (*[0] * low, *values, *[0] * (256 - low - count))


def _read_frequency(cursor: _Cursor) -> int:
    value = cursor.number(1)
    if value < 128:
        return value
    high = cursor.number(1)
    refuse_unless(0 < high <= TANS_SIZE >> 7, "a frequency not in its shortest form")
    return value & 127 | high << 7
