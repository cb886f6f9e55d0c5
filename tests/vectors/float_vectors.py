"""The golden files of codec 3: chunks as dcpx's encoder makes them, and chunks laid out here with one thing wrong."""

from __future__ import annotations

import struct
from typing import Any

from contents import CHUNK, Lcg, bf16, f32, f64
from forge import Chunk, field, frame, header

from dcpx.codecs import Lanes
from dcpx.codecs.float import Float
from dcpx.errors import CorruptError, DcpxError

LISTED = field(0x81, bytes([0, 3]))
WIDE = 32768
"""A chunk size that holds more than one window of lanes of two bytes."""


def coded(raw: bytes, lanes: Lanes, small: bool = False, size: int = CHUNK) -> bytes:
    """A frame of this content, all of whose chunks are worth coding."""
    chunks = []
    for start in range(0, len(raw), size):
        piece = raw[start : start + size]
        made = Float(small).encode(memoryview(piece), lanes)
        assert made is not None, "the content doesn't pay"
        chunks.append(Chunk(piece, bytes(made.payload), made.codec, made.parameter))
    return frame(chunks, header(LISTED, chunk_size=size))


def f16(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    values = [lcg.exponent(13) << 10 | lcg.next() >> 5 & 0x83FF for _ in range(count)]
    return struct.pack(f"<{count}H", *values)


def sorted_int32(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    return struct.pack(f"<{count}i", *sorted((lcg.next() >> 4) % 100_000 - 50_000 for _ in range(count)))


def sorted_int64(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    return struct.pack(f"<{count}q", *sorted((lcg.next() >> 4) % 100_000 - 50_000 for _ in range(count)))


def moments(count: int, seed: int) -> bytes:
    """Positive float32, each near the one before it."""
    lcg, at, values = Lcg(seed), 0x2B800000, []
    for _ in range(count):
        at += (lcg.next() >> 7 & 0x3FFFFF) - 0x200000
        values.append(at)
    return struct.pack(f"<{count}I", *values)


def falling_int16(count: int, seed: int) -> bytes:
    """Down by 1 to 4, from the highest beyond the lowest."""
    lcg, at, values = Lcg(seed), 32767, []
    for _ in range(count):
        at -= 1 + (lcg.next() >> 9 & 3)
        values.append(at & 0xFFFF)
    return struct.pack(f"<{count}H", *values)


def uneven(count: int, seed: int, exponent_bits: int = 8, noise_bits: int = 0) -> bytes:
    """Floats of an exponent of eight bits or more, seven bits of a mantissa that is mostly small, and noise."""
    lcg, values = Lcg(seed), bytearray()
    width = (1 + exponent_bits + 7 + noise_bits) // 8
    for _ in range(count):
        sign, exponent = lcg.next() >> 9 & 1, lcg.exponent(120) + (1 << exponent_bits - 1) - 128
        mantissa = min(lcg.next() >> 9 & 127, lcg.next() >> 9 & 127)
        value = (sign << exponent_bits | exponent) << 7 | mantissa
        for _ in range(noise_bits):
            value = value << 1 | lcg.next() >> 9 & 1
        values += value.to_bytes(width, "little")
    return bytes(values)


def few(count: int, seed: int, values: int, width: int, even: bool = False) -> bytes:
    """Lanes of so many values, the first ones often, or all alike."""
    lcg = Lcg(seed)
    palette = [bytes(lcg.next() >> 9 & 255 for _ in range(width)) for _ in range(values)]

    def drawn() -> int:
        return lcg.next() >> 9 & 0xFFFF

    return b"".join(palette[(drawn() if even else min(drawn(), drawn(), drawn())) * values >> 16] for _ in range(count))


def mask(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    return bytes(lcg.next() >> 9 & 15 == 0 for _ in range(count))


def stretches(count: int, seed: int) -> bytes:
    """A mask whose values change now and then."""
    lcg, value, values = Lcg(seed), 0, []
    for _ in range(count):
        value ^= lcg.next() >> 9 & 15 == 0
        values.append(value)
    return bytes(values)


def with_patches(count: int, seed: int) -> bytes:
    """Lanes of two bytes whose upper one is now and then far from the rest."""
    lcg = Lcg(seed)
    values = [0x7F00 if lcg.next() >> 8 & 511 == 0 else 0x3C00 | lcg.next() >> 7 & 0x3FF for _ in range(count)]
    return struct.pack(f"<{count}H", *values)


ROUNDED = b"".join(b"\0\0" + value for (value,) in struct.iter_unpack("2s", bf16(3001, 15)))
FIELDS: dict[str, Any] = {"codecs": [0, 3]}

GOOD_FLOAT: dict[str, tuple[bytes, dict[str, Any]]] = {
    "float_bf16_fast.frame": (coded(bf16(12001, 11), Lanes(2, True), size=WIDE), FIELDS),
    "float_bf16_small.frame": (coded(bf16(12001, 11), Lanes(2, True), small=True, size=WIDE), FIELDS),
    "float_f16.frame": (coded(f16(3001, 12), Lanes(2, True)), FIELDS),
    "float_f32_fast.frame": (coded(f32(2500, 13) + b"end", Lanes(4, True)), FIELDS),
    "float_f32_small_zero_planes.frame": (coded(ROUNDED, Lanes(4, True), small=True), FIELDS),
    "float_f64.frame": (coded(f64(1200, 14), Lanes(8, True)), FIELDS),
    "float_fp8.frame": (coded(bf16(6000, 16)[1::2], Lanes(1)), FIELDS),
    "float_fp8_small.frame": (coded(bf16(6000, 16)[1::2], Lanes(1), small=True), FIELDS),
    "float_sorted_int32.frame": (coded(sorted_int32(2400, 17), Lanes(4)), FIELDS),
    "float_constant.frame": (coded(b"\x80\x3f" * 3000 + b"\x80", Lanes(2, True)), FIELDS),
    "float_patches_fast.frame": (coded(with_patches(12000, 18), Lanes(2), size=WIDE), FIELDS),
    "float_patches_small.frame": (coded(with_patches(12000, 18), Lanes(2), small=True, size=WIDE), FIELDS),
    "float_specials.frame": (
        coded(
            struct.pack("<8I", 0, 1 << 31, 1, 0x7F800001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x7FFFFF) * 120,
            Lanes(4, True),
        ),
        FIELDS,
    ),
}

# By their form: differences of every width, and a mask's bits; each with bytes behind its last lane.
GOOD_FLOAT |= {
    "float_differences_int16.frame": (coded(falling_int16(20001, 20) + b"!", Lanes(2), size=WIDE), FIELDS),
    "float_differences_int32.frame": (coded(sorted_int32(2401, 21) + b"end", Lanes(4)), FIELDS),
    "float_differences_int64.frame": (coded(sorted_int64(2401, 22) + b"the end", Lanes(8), size=WIDE), FIELDS),
    "float_differences_f32.frame": (coded(moments(9001, 23), Lanes(4, True), size=WIDE), FIELDS),
    "float_differences_f32_small.frame": (coded(moments(9001, 23), Lanes(4, True), small=True, size=WIDE), FIELDS),
    "float_bits.frame": (coded(mask(40005, 24), Lanes(1), size=WIDE), FIELDS),
    "float_bits_small.frame": (coded(stretches(40005, 25), Lanes(1), small=True, size=WIDE), FIELDS),
}

# Joined, and by the palette: of every width, each with bytes behind its last lane; more than a window, and raw numbers.
GOOD_FLOAT |= {
    "float_joined_bf16.frame": (coded(uneven(12001, 31) + b"!", Lanes(2, True), small=True, size=WIDE), FIELDS),
    "float_joined_f32.frame": (
        coded(uneven(9001, 32, 8, 16) + b"end", Lanes(4, True), small=True, size=WIDE),
        FIELDS,
    ),
    "float_joined_f64.frame": (
        coded(uneven(5001, 33, 11, 45) + b"the end", Lanes(8, True), small=True, size=WIDE),
        FIELDS,
    ),
    "float_palette_bf16.frame": (coded(few(20001, 34, 15, 2) + b"!", Lanes(2, True), size=WIDE), FIELDS),
    "float_palette_f32_small.frame": (coded(few(9001, 35, 200, 4) + b"end", Lanes(4, True), small=True), FIELDS),
    "float_palette_int64.frame": (coded(few(4001, 36, 3, 8) + b"the end", Lanes(8), size=WIDE), FIELDS),
    "float_palette_raw.frame": (coded(few(16384, 37, 256, 4, even=True), Lanes(4), size=WIDE), FIELDS),
}

# One plane of 64 lanes, all of them "A": two streams of 32 lanes, six without. Its codes: A is 0, B is 10, C is 11.
RAW = b"A" * 64
TABLE = bytes([65, 2, 0x21, 0x02])
PREFIX, TANS, CONSTANT = 2, 3, 1
ZEROS = (bytes(4), bytes(4), *[b""] * 6)


def forged(
    method: int = PREFIX,
    table: bytes = TABLE,
    streams: tuple[bytes, ...] = ZEROS,
    patches: tuple[tuple[int, int], ...] = (),
    after: bytes = b"",
    parameter: int = 1,
    listed: bytes = LISTED,
    raw: bytes = RAW,
) -> bytes:
    sizes = b"".join(len(stream).to_bytes(3, "little") for stream in streams)
    payload = bytes([method]) + table + sizes + struct.pack("<I", len(patches)) + b"".join(streams)
    payload += b"".join(lane.to_bytes(3, "little") + bytes([value]) for lane, value in patches) + after
    return frame([Chunk(raw, payload, 3, parameter)], header(listed))


def tans(frequencies: tuple[int, ...], symbols: list[int]) -> bytes:
    """A stream of these symbols, each a number of a frequency, after section 5 of spec/float.md."""
    symbol_of, at = [0] * 4096, 0
    for symbol, frequency in enumerate(frequencies):
        for _ in range(frequency):
            symbol_of[at] = symbol
            at = (at + 2563) % 4096
    states = [[state for state in range(4096) if symbol_of[state] == symbol] for symbol in range(len(frequencies))]
    state, written, size = 0, 0, 0
    for symbol in reversed(symbols):
        full = state + 4096
        bits = next(bits for bits in range(13) if full >> bits < 2 * frequencies[symbol])
        written, size = written << bits | full & ((1 << bits) - 1), size + bits
        state = states[symbol][(full >> bits) - frequencies[symbol]]
    written, size = (written << 12 | state) << 1 | 1, size + 13
    padding = -size % 8
    return (written << padding).to_bytes((size + padding) // 8, "little")


def shares(*values: int) -> bytes:
    return bytes([65, len(values) - 1]) + b"".join(bytes([value & 127 | 128, value >> 7]) for value in values)


# Eight constant planes of 64 lanes, the first of them with 65 patches.
TOO_MANY_PATCHES = bytes([CONSTANT] * 8) + b"A\x41\0\0\0" + b"A\0\0\0\0" * 7
TOO_MANY_PATCHES += b"".join(bytes([lane, 0, 0, 65]) for lane in range(65))

# A table of two symbols of which only the first occurs, with 4,095 of the states.
RARE = (4095, 1)
RARELY = (tans(RARE, [0] * 32), tans(RARE, [0] * 32), *[b""] * 6)

# One symbol in all states: three zero bits, the 1, and state 0.
STATES = (b"\x08\0", b"\x08\0", *[b""] * 6)

GOOD_FLOAT |= {
    "float_forged_prefix.frame": (forged(), FIELDS),
    "float_forged_tans.frame": (forged(TANS, shares(4096), STATES), FIELDS),
    "float_forged_prefix_padding.frame": (
        forged(streams=(bytes([1, 0, 0, 0, 0]), bytes(4), *[b""] * 6), raw=b"A" * 31 + b"B" + b"A" * 32),
        FIELDS,
    ),
    "float_forged_tans_rare.frame": (forged(TANS, bytes([65, 1, 0xFF, 0x1F, 0x01]), RARELY), FIELDS),
    "float_sorted_int64.frame": (coded(sorted_int64(1200, 19), Lanes(8)), FIELDS),
    "float_forged_constant.frame": (forged(CONSTANT, b"A", (), ((0, 65), (63, 65))), FIELDS),
    # 32 lanes of two bytes, 0 but for two patches: a step to 127 at lane 3, and one down by 32,768 at lane 30.
    "float_forged_differences.frame": (
        frame(
            [
                Chunk(
                    struct.pack("<32H", *[0] * 3, *[127] * 27, *[(127 - 32768) & 0xFFFF] * 2),
                    bytes([CONSTANT] * 2) + bytes.fromhex("0002000000 0001000000 030000fe 1e0000ff 1e0000ff"),
                    3,
                    0x202,
                )
            ],
            header(LISTED),
        ),
        FIELDS,
    ),
}

BAD_FLOAT: dict[str, tuple[bytes, type[DcpxError], str]] = {
    "bad_float_table_over_full.frame": (forged(table=bytes([65, 2, 0x11, 0x02])), CorruptError, "lengths 1, 1, 2"),
    "bad_float_table_under_full.frame": (forged(table=bytes([65, 2, 0x21, 0x03])), CorruptError, "lengths 1, 2, 3"),
    "bad_float_table_first_absent.frame": (
        forged(table=bytes([64, 3, 0x10, 0x22])),
        CorruptError,
        "a table whose first length is 0",
    ),
    "bad_float_table_spare_half.frame": (forged(table=bytes([65, 2, 0x21, 0x12])), CorruptError, "a spare half of 1"),
    "bad_float_table_beyond_255.frame": (forged(table=bytes([254, 2, 0x21, 0x02])), CorruptError, "symbol 256"),
    "bad_float_frequencies_sum.frame": (forged(TANS, shares(4095), STATES), CorruptError, "frequencies of sum 4,095"),
    "bad_float_frequency_form.frame": (
        forged(TANS, bytes([65, 1, 0xFF, 0x1F, 0x81, 0x00]), RARELY),
        CorruptError,
        "a frequency of 1 in two bytes",
    ),
    "bad_float_method.frame": (forged(4), CorruptError, "method 4"),
    "bad_float_stream_short.frame": (
        forged(streams=(bytes(4), bytes(3), *[b""] * 6)),
        CorruptError,
        "a stream of 24 bits for 32 lanes",
    ),
    "bad_float_stream_long.frame": (
        forged(streams=(bytes(4), bytes(5), *[b""] * 6)),
        CorruptError,
        "a stream with a byte behind its last code",
    ),
    "bad_float_stream_without_lanes.frame": (
        forged(streams=(bytes(4), bytes(4), b"\0", *[b""] * 5)),
        CorruptError,
        "a byte in a stream without lanes",
    ),
    "bad_float_stream_padding.frame": (
        forged(streams=(bytes([1, 0, 0, 0, 2]), bytes(4), *[b""] * 6), raw=b"A" * 31 + b"B" + b"A" * 32),
        CorruptError,
        "a bit that is set in the padding",
    ),
    "bad_float_last_state.frame": (
        forged(TANS, shares(4096), (b"\x18\0", b"\x08\0", *[b""] * 6)),
        CorruptError,
        "a last state of 1",
    ),
    "bad_float_tans_symbol_above_255.frame": (
        forged(TANS, bytes([255, 1, 0xFF, 0x1F, 0x01]), RARELY, raw=b"\xff" * 64),
        CorruptError,
        "frequencies of the symbols 255 and 256",
    ),
    "bad_float_frequency_33.frame": (
        forged(TANS, bytes([65, 0, 0x80, 33]), STATES),
        CorruptError,
        "a frequency whose second byte is 33",
    ),
    "bad_float_tans_first_byte_zero.frame": (
        forged(TANS, shares(4096), (b"\0\x08\0", b"\x08\0", *[b""] * 6)),
        CorruptError,
        "a first byte of 0",
    ),
    "bad_float_tans_one_byte.frame": (
        forged(TANS, shares(4096), (b"\x08", b"\x08\0", *[b""] * 6)),
        CorruptError,
        "a stream of one byte",
    ),
    "bad_float_tans_bits_left.frame": (
        forged(TANS, shares(4096), (b"\x08\0\0", b"\x08\0", *[b""] * 6)),
        CorruptError,
        "eight bits behind the last lane",
    ),
    "bad_float_tans_bit_left.frame": (
        forged(TANS, shares(4096), (b"\x04\0", b"\x08\0", *[b""] * 6)),
        CorruptError,
        "a bit behind the last lane",
    ),
    "bad_float_patch_count.frame": (
        frame([Chunk(b"A" * 512, TOO_MANY_PATCHES, 3, 8)], header(LISTED)),
        CorruptError,
        "65 patches of 64 lanes",
    ),
    "bad_float_patch_outside.frame": (forged(patches=((64, 65),)), CorruptError, "a patch of lane 64 of 64"),
    "bad_float_patch_order.frame": (forged(patches=((5, 65), (5, 65))), CorruptError, "lane 5 patched twice"),
    "bad_float_cut.frame": (forged(streams=(bytes(4), bytes(4)), table=TABLE), CorruptError, "six sizes missing"),
    "bad_float_trailing_byte.frame": (forged(after=b"\0"), CorruptError, "a byte behind the payload's last part"),
    "bad_float_width.frame": (forged(parameter=3), CorruptError, "lanes of 3 bytes"),
    "bad_float_rotated_bytes.frame": (forged(parameter=0x101), CorruptError, "rotated lanes of one byte"),
    "bad_float_codec_not_listed.frame": (
        forged(listed=field(0x81, bytes([0, 1, 2]))),
        CorruptError,
        "codec 3, which the header doesn't list",
    ),
    "bad_float_form_6.frame": (
        frame([Chunk(bytes(512), bytes([CONSTANT] * 8) + bytes(5 * 8), 3, 0x608)], header(LISTED)),
        CorruptError,
        "lanes of form 6",
    ),
    "bad_float_joined_bytes.frame": (
        forged(CONSTANT, b"A", (), parameter=0x401),
        CorruptError,
        "joined lanes of a byte",
    ),
    "bad_float_palette_of_bytes.frame": (
        frame([Chunk(RAW, b"\0A" + bytes([CONSTANT]) + bytes(5), 3, 0x501)], header(LISTED)),
        CorruptError,
        "a palette of lanes of one byte",
    ),
    "bad_float_palette_number.frame": (
        frame([Chunk(RAW, b"\0AA\0" + bytes(31) + b"\1", 3, 0x502)], header(LISTED)),
        CorruptError,
        "a lane of the second value, of one",
    ),
    "bad_float_palette_patch.frame": (
        frame(
            [Chunk(RAW, b"\0AA" + bytes([CONSTANT]) + bytes.fromhex("00 01000000 1f000001"), 3, 0x502)], header(LISTED)
        ),
        CorruptError,
        "a patch by the second value, of one",
    ),
    "bad_float_palette_cut.frame": (
        frame([Chunk(RAW, b"\xffAA" + bytes([CONSTANT]) + bytes(5), 3, 0x502)], header(LISTED)),
        CorruptError,
        "a palette of 256 values that ends in the second",
    ),
    "bad_float_form_high_bit.frame": (
        frame([Chunk(bytes(512), bytes([CONSTANT] * 8) + bytes(5 * 8), 3, 0x8208)], header(LISTED)),
        CorruptError,
        "lanes of form 130",
    ),
    "bad_float_bits_of_four_bytes.frame": (
        frame([Chunk(bytes(512), bytes([CONSTANT] * 4) + bytes(5 * 4), 3, 0x304)], header(LISTED)),
        CorruptError,
        "the bits of lanes of four bytes",
    ),
    "bad_float_differences_of_bytes.frame": (
        forged(CONSTANT, b"A", (), parameter=0x201),
        CorruptError,
        "differences of lanes of one byte",
    ),
    "bad_float_differences_patch_order.frame": (
        frame(
            [
                Chunk(
                    bytes(64),
                    bytes([CONSTANT] * 2) + bytes.fromhex("0002000000 0000000000 05000000 05000000"),
                    3,
                    0x202,
                )
            ],
            header(LISTED),
        ),
        CorruptError,
        "lane 5 patched twice",
    ),
    "bad_float_parameter_bit.frame": (forged(parameter=0x201), CorruptError, "bit 9 in the parameter"),
}
