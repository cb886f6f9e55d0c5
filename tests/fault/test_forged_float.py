"""Chunks of the float codec made by hand after spec/float.md, each with one lie: natively and by the oracle refused."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dcpx import kernels
from dcpx.kernels import float_reference

GUARD = 0xA5
RAW, CONSTANT, PREFIX, TANS = range(4)
ROTATED, DIFFERENCES, BITS, JOINED, PALETTE = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Forged:
    """One plane's chunk of byte lanes, field by field."""

    lanes: int
    method: int
    table: bytes = b""
    streams: tuple[bytes, ...] = ()
    sizes: tuple[int, ...] | None = None
    patches: tuple[tuple[int, int], ...] = ()
    patch_count: int | None = None
    after: bytes = b""

    def payload(self) -> bytes:
        parts = [bytes([self.method]), self.table]
        if self.method in (PREFIX, TANS):
            sizes = tuple(map(len, self.streams)) if self.sizes is None else self.sizes
            parts += [size.to_bytes(3, "little") for size in sizes]
        count = len(self.patches) if self.patch_count is None else self.patch_count
        parts += [struct.pack("<I", count), *self.streams]
        parts += [lane.to_bytes(3, "little") + bytes([value]) for lane, value in self.patches]
        return b"".join(parts) + self.after


def outcome(payload: bytes, lanes: int, width: int = 1, form: int = 0) -> bytes | None:
    """What it decodes to, None where it is refused; on every path, and by the oracle, it is the same."""
    found: list[bytes | None] = []
    try:
        for path in ("portable", "avx2", "avx512"):
            if not kernels.use_instructions(path):
                continue
            buffer = bytearray([GUARD]) * (lanes + 128)
            try:
                kernels.float_decode(payload, memoryview(buffer)[64:-64], width | form << 8)
                found.append(bytes(buffer[64:-64]))
            except ValueError:
                found.append(None)
            assert set(buffer[:64]) | set(buffer[-64:]) == {GUARD}
    finally:
        kernels.use_instructions("best")
    try:
        found.append(float_reference.decode(payload, width | form << 8, lanes))
    except ValueError:
        found.append(None)
    assert all(one == found[0] for one in found), found
    return found[0]


def lengths(low: int, *values: int) -> bytes:
    """A lengths table, whatever it says."""
    halves = [*values, 0][: len(values) + len(values) % 2]
    pairs = zip(halves[::2], halves[1::2], strict=True)
    return bytes([low, len(values) - 1, *(first | second << 4 for first, second in pairs)])


def frequencies(low: int, *values: int) -> bytes:
    coded = b"".join(bytes([v]) if v < 128 else bytes([v & 127 | 128, v >> 7]) for v in values)
    return bytes([low, len(values) - 1]) + coded


# 40 lanes make blocks of 32: two streams have lanes, six have none. Codes: 65 is "0", 66 is "10", 67 is "11".
NONE = (b"",) * 6
PREFIXED = Forged(40, PREFIX, lengths(65, 1, 2, 2), (bytes.fromhex("00000000"), b"\0", *NONE))
# One symbol in all states reads no bits: three zeros, the 1, and state 0.
SINGLE = Forged(40, TANS, frequencies(65, 4096), (b"\x08\0", b"\x08\0", *NONE))
# Halves: each lane reads one bit, zeros lead from state 0 back to it. 4 + 12 + 32 and 4 + 12 + 8 bits.
HALVES = Forged(40, TANS, frequencies(65, 2048, 2048), (b"\x08" + bytes(5), b"\x08" + bytes(2), *NONE))
CONSTANTS = Forged(40, CONSTANT, b"A")


@pytest.mark.parametrize("honest", [PREFIXED, SINGLE, HALVES, CONSTANTS])
def test_honest_chunks_are_read(honest: Forged):
    # Without these, everything below could be refused for another reason.
    assert outcome(honest.payload(), 40) == b"A" * 40
    patched = replace(honest, patches=((0, 1), (31, 2), (39, 3)))
    assert outcome(patched.payload(), 40) == b"\1" + b"A" * 30 + b"\2" + b"A" * 7 + b"\3"


TABLES: dict[str, tuple[Forged, bytes]] = {
    "over-full": (PREFIXED, lengths(65, 1, 1, 2)),
    "over-full by the least": (PREFIXED, lengths(65, 1, 2, 2, 11)),
    "under-full": (PREFIXED, lengths(65, 1, 2, 3)),
    "under-full by the least": (PREFIXED, lengths(65, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)),
    "one symbol alone": (PREFIXED, lengths(65, 1)),
    "no symbol": (PREFIXED, lengths(65, 0)),
    "all absent": (PREFIXED, lengths(65, 0, 0, 0)),
    "absent first": (PREFIXED, lengths(64, 0, 1, 2, 2)),
    "absent last": (PREFIXED, lengths(65, 1, 2, 2, 0)),
    "a spare half that isn't 0": (PREFIXED, lengths(65, 1, 2, 2)[:-1] + b"\x12"),
    "beyond the last symbol": (PREFIXED, lengths(254, 1, 2, 2)),
    "beyond the last symbol by far": (PREFIXED, bytes([255, 255]) + bytes(128)),
    "sum too large": (HALVES, frequencies(65, 2048, 2049)),
    "sum too small": (HALVES, frequencies(65, 2048, 2047)),
    "one state too many": (SINGLE, frequencies(65, 4097)),
    "sum too large by 4096": (HALVES, frequencies(65, 4096, 4096)),
    "first without a share": (HALVES, frequencies(64, 0, 2048, 2048)),
    "last without a share": (HALVES, frequencies(65, 2048, 2048, 0)),
    "shares beyond the last symbol": (HALVES, frequencies(255, 2048, 2048)),
    "a share of two bytes where one does": (HALVES, bytes([65, 2, 0x80, 0x10, 0xFF, 0x0F, 0x81, 0x00])),
    "a share whose second byte is 0": (HALVES, bytes([65, 1, 0x80, 0x00, 0x80, 0x20])),
    "a share whose second byte is 33": (HALVES, bytes([65, 1, 0x80, 0x21, 0x80, 0x20])),
    "a share that goes on": (HALVES, bytes([65, 1, 0x80, 0x90, 0x80, 0x10])),
    **{
        f"a length of {length}": (PREFIXED, lengths(65, 1, 2, 2, length, length, length, length))
        for length in range(11, 16)
    },
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str):
    honest, table = TABLES[name]
    assert outcome(replace(honest, table=table).payload(), 40) is None


@pytest.mark.parametrize("length", [12, 13, 14, 15])
def test_codes_longer_than_allowed(length: int):
    # Full codes otherwise: 1, 2, 3, ... and the longest twice.
    table = lengths(65, *range(1, length + 1), length)
    assert outcome(replace(PREFIXED, table=table).payload(), 40) is None
    assert outcome(replace(PREFIXED, table=lengths(65, *range(1, 12), 11)).payload(), 40) == b"A" * 40


STREAMS: dict[str, Forged] = {
    "a byte missing": replace(PREFIXED, streams=(bytes(3), b"\0", *NONE)),
    "a byte too many": replace(PREFIXED, streams=(bytes(5), b"\0", *NONE)),
    "many bytes too many": replace(PREFIXED, streams=(bytes(4000), b"\0", *NONE)),
    "empty, but with lanes": replace(PREFIXED, streams=(bytes(4), b"", *NONE)),
    "not empty, but without lanes": replace(PREFIXED, streams=(bytes(4), b"\0", b"\0", *NONE[1:])),
    "bits cut within a code": replace(PREFIXED, streams=(bytes(4), b"\x80", *NONE)),
    "longer codes than bits": replace(PREFIXED, streams=(b"\xff" * 4, b"\0", *NONE)),
    "a bit set in the padding": replace(PREFIXED, streams=(b"\1" + bytes(3) + b"\2", b"\0", *NONE)),
    "sizes that move the border": replace(PREFIXED, sizes=(3, 2, 0, 0, 0, 0, 0, 0)),
    "a size beyond the chunk": replace(PREFIXED, sizes=(4, 0xFFFFFF, 0, 0, 0, 0, 0, 0)),
    "sizes that take all": replace(PREFIXED, sizes=(0xFFFFFF,) * 8),
    "sizes of nothing": replace(PREFIXED, sizes=(0,) * 8),
    "no mark in the first byte": replace(SINGLE, streams=(b"\0\x08", b"\x08\0", *NONE)),
    "one byte": replace(SINGLE, streams=(b"\x08", b"\x08\0", *NONE)),
    "the mark too early": replace(SINGLE, streams=(b"\x04\0", b"\x08\0", *NONE)),
    "the mark too late": replace(SINGLE, streams=(b"\x10\0", b"\x08\0", *NONE)),
    "another last state": replace(SINGLE, streams=(b"\x18\0", b"\x08\0", *NONE)),
    "no bytes, but with lanes": replace(SINGLE, streams=(b"\x08\0", b"", *NONE)),
    "bytes, but without lanes": replace(SINGLE, streams=(b"\x08\0", b"\x08\0", b"\x08\0", *NONE[1:])),
    "a byte of tANS missing": replace(HALVES, streams=(b"\x08" + bytes(4), b"\x08" + bytes(2), *NONE)),
    "a byte of tANS too many": replace(HALVES, streams=(b"\x08" + bytes(6), b"\x08" + bytes(2), *NONE)),
    "a last state that isn't 0": replace(HALVES, streams=(b"\x08" + bytes(4) + b"\x80", b"\x08" + bytes(2), *NONE)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name: str):
    assert outcome(STREAMS[name].payload(), 40) is None


def test_padding_within_the_last_byte_is_allowed():
    # 33 bits: one code of two bits among 32 lanes, seven bits of padding.
    padded = replace(PREFIXED, streams=(b"\1" + bytes(4), b"\0", *NONE))
    assert outcome(padded.payload(), 40) == b"A" * 31 + b"B" + b"A" * 8


PATCHES: dict[str, Callable[[Forged], Forged]] = {
    "outside": lambda chunk: replace(chunk, patches=((40, 1),)),
    "far outside": lambda chunk: replace(chunk, patches=((0xFFFFFF, 1),)),
    "the same lane twice": lambda chunk: replace(chunk, patches=((7, 1), (7, 1))),
    "lane 0 twice": lambda chunk: replace(chunk, patches=((0, 1), (0, 2))),
    "out of order": lambda chunk: replace(chunk, patches=((8, 1), (7, 2))),
    "the last one outside": lambda chunk: replace(chunk, patches=((0, 1), (39, 2), (40, 3))),
    "fewer than counted": lambda chunk: replace(chunk, patches=((7, 1),), patch_count=2),
    "more than counted": lambda chunk: replace(chunk, patches=((7, 1), (8, 1)), patch_count=1),
    "more than lanes": lambda chunk: replace(chunk, patches=tuple((lane, 1) for lane in range(41))),
    "the largest count": lambda chunk: replace(chunk, patch_count=0xFFFFFFFF),
    "a count whose bytes wrap around": lambda chunk: replace(chunk, patch_count=1 << 30),
    "a byte behind": lambda chunk: replace(chunk, after=b"\0"),
}


@pytest.mark.parametrize("honest", [PREFIXED, HALVES, CONSTANTS])
@pytest.mark.parametrize("name", PATCHES)
def test_patches(name: str, honest: Forged):
    assert outcome(PATCHES[name](honest).payload(), 40) is None


@pytest.mark.parametrize("method", [4, 5, 127, 128, 255])
def test_methods(method: int):
    assert outcome(replace(CONSTANTS, method=method).payload(), 40) is None
    assert outcome(bytes([RAW, method]) + bytes(200), 40, 2, True) is None


def test_raw_planes_and_tails():
    planes = bytes(range(40))
    assert outcome(bytes([RAW]) + planes, 40) == planes
    for length in (39, 41):
        assert outcome(bytes([RAW]) + bytes(length), 40) is None
    assert outcome(bytes([RAW, RAW]) + b"ac" + b"bd" + b"t", 5, 2) == b"abcdt"
    for wrong in (b"ac" + b"bd", b"ac" + b"bd" + b"tt"):
        assert outcome(bytes([RAW, RAW]) + wrong, 5, 2) is None
    assert outcome(b"", 40) is None
    assert outcome(bytes([RAW]), 0) is None


def test_a_chunk_shorter_than_a_lane_has_no_coded_form():
    for size in range(8):
        assert outcome(bytes(8) + bytes(size), size, 8) is None


# --- the forms of lanes ---------------------------------------------------------------------------------------------


def constants(width: int, patches: dict[int, list[tuple[int, int]]]) -> bytes:
    """A chunk all of whose planes are constant 0, with these patches by plane."""
    lists = [patches.get(plane, []) for plane in range(width)]
    counts = b"".join(b"\0" + struct.pack("<I", len(one)) for one in lists)
    listed = b"".join(struct.pack("<I", lane | value << 24) for one in lists for lane, value in one)
    return bytes([CONSTANT]) * width + counts + listed


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("lanes", [1, 31, 33, 300, 9000])
def test_a_patched_difference_changes_all_lanes_behind_it(width: int, lanes: int):
    at = lanes // 2
    made = constants(width, {0: [(at, 3)], width - 1: [(0, 0xFE)] if at else [], **({1: []} if width > 2 else {})})
    found = outcome(made, lanes * width, width, DIFFERENCES)
    assert found is not None
    first = 0x7F << 8 * (width - 1) if at else 0  # FE.. is even: half of it, upwards
    values = [first % (1 << 8 * width)] * at + [(first - 2) % (1 << 8 * width)] * (lanes - at)
    assert found == b"".join(value.to_bytes(width, "little") for value in values)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_patches_of_every_block_and_window(width: int):
    lanes = 20_000
    patches = [(lane, 2) for lane in range(0, lanes, 7)]
    found = outcome(constants(width, {0: patches}), lanes * width, width, DIFFERENCES)
    assert found == b"".join((lane // 7 + 1).to_bytes(width, "little") for lane in range(lanes))
    for spoilt in ([*patches, (lanes, 2)], [*patches, patches[-1]], [*patches[:50], (3, 2), *patches[50:]]):
        assert outcome(constants(width, {0: spoilt}), lanes * width, width, DIFFERENCES) is None


def palette(values: list[bytes], numbers: bytes) -> bytes:
    return bytes([len(values) - 1]) + b"".join(values) + numbers


@pytest.mark.parametrize("width", [2, 4, 8])
def test_a_palette_and_what_it_lacks(width: int):
    values = [bytes([number]) * width for number in range(200)]
    lanes = 20_000
    few = [(lane, lane % 199) for lane in range(0, lanes, 199) if lane % 199] + [(lanes - 1, 199)]
    wanted = [values[dict(few).get(lane, 0)] for lane in range(lanes)]
    assert outcome(palette(values, constants(1, {0: few})), lanes * width, width, PALETTE) == b"".join(wanted)
    raw = bytes(lane % 200 for lane in range(lanes))
    made = palette(values, b"\0" + raw) + b"t" * (width - 1)
    end = b"t" * (width - 1)
    assert outcome(made, len(raw) * width + width - 1, width, PALETTE) == b"".join(values[n] for n in raw) + end
    assert outcome(palette(values, b"\0" + raw), lanes * width, width, PALETTE) is not None
    for lane in (0, 1, 31, 1023, 1024, 8191, 8192, lanes - 1):  # a number too high, wherever it stands
        beyond = raw[:lane] + b"\xc8" + raw[lane + 1 :]
        assert outcome(palette(values, b"\0" + beyond), lanes * width, width, PALETTE) is None
        assert outcome(palette(values, constants(1, {0: [(lane, 200)]})), lanes * width, width, PALETTE) is None
    for cut in range(1 + width * 200 + 1 + lanes):
        if cut < 1 + width * 200 + 2 or cut % 997 == 0:
            assert outcome(palette(values, b"\0" + raw)[:cut], lanes * width, width, PALETTE) is None


def test_forms_that_a_width_has_not():
    for form in range(256):
        for width in (0, 1, 2, 3, 4, 8, 16):
            known = {0: (1, 2, 4, 8), 1: (2, 4, 8), 2: (2, 4, 8), 3: (8,), 4: (2, 4, 8), 5: (2, 4, 8)}.get(form, ())
            made = palette([b"v" * width], constants(1, {})) if form == PALETTE else constants(width, {})
            assert (outcome(made, 16 * width, width, form) is not None) == (width in known)


# --- the examples of spec/float.md ----------------------------------------------------------------------------------

PREFIX_EXAMPLE = bytes.fromhex(
    "0002 7d02 2201 020000 000000 000000 000000 000000 000000 000000 000000 01000000 00010080000001 c700 04000080 aa"
)
DIFFERENCES_EXAMPLE = bytes.fromhex("0001 0000000000 c8060003")
BITS_EXAMPLE = bytes.fromhex("0001010101010101" + "0000000000" * 7 + "59")
JOINED_EXAMPLE = bytes.fromhex("0000 030b f8fc")
PALETTE_EXAMPLE = bytes.fromhex("01 0000003f 000080bf 00 000100")
TANS_EXAMPLE = bytes.fromhex(
    "03 0001 8018 8008 030000 000000 000000 000000 000000 000000 000000 000000 00000000 408719"
)


def test_the_examples_of_the_specification():
    decoded = outcome(PREFIX_EXAMPLE, 15, 2, ROTATED)
    assert decoded is not None
    assert struct.unpack("<7H", decoded[:14]) == (0x3F80, 0xBF80, 0x3F00, 0x3FC0, 0x4000, 0x3E80, 0xBF00)
    assert decoded[14:] == b"\xaa"
    assert outcome(DIFFERENCES_EXAMPLE, 8, 2, DIFFERENCES) == struct.pack("<4h", 100, 103, 103, 101)
    assert outcome(BITS_EXAMPLE, 8, 8, BITS) == bytes([1, 0, 0, 1, 1, 0, 1, 0])
    assert outcome(JOINED_EXAMPLE, 4, 2, JOINED) == struct.pack("<2H", 0x3F80, 0xBFC0)
    assert outcome(PALETTE_EXAMPLE, 12, 4, PALETTE) == struct.pack("<3f", 0.5, -1, 0.5)
    assert outcome(TANS_EXAMPLE, 5) == bytes([0, 1, 0, 0, 1])
    page = (Path(__file__).resolve().parents[2] / "spec" / "float.md").read_text("utf-8")
    shown = re.findall(r"^    ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?$", page, re.MULTILINE)
    examples = PREFIX_EXAMPLE + DIFFERENCES_EXAMPLE + BITS_EXAMPLE + JOINED_EXAMPLE + PALETTE_EXAMPLE + TANS_EXAMPLE
    assert bytes.fromhex("".join(shown)) == examples, "the page shows other examples"
