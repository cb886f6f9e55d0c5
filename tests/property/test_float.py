"""The native float codec against its oracle: the same bytes on every instruction path, and every bit back.

A damaged payload is tried with 40 damages and cut at every third length by default, with 80 and at every length by
`make soak`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx import kernels
from dcpx.kernels import float_reference as reference
from dcpx.kernels import sniff_reference

GUARD = 0xA5
ROOM = 64
LANES = [(1, False), (2, False), (2, True), (4, False), (4, True), (8, False), (8, True)]
PARAMETERS = [1, 2, 4, 8, *(form << 8 | width for form in (1, 2, 4, 5) for width in (2, 4, 8)), 0x308]
LARGEST = 3 * 4096
LONG = "DCPX_STRESS" in os.environ


@contextmanager
def instructions(path: str) -> Iterator[bool]:
    try:
        yield kernels.use_instructions(path)
    finally:
        assert kernels.use_instructions("best")


def usable(path: str) -> bool:
    with instructions(path) as found:
        return found


PATHS = [path for path in ("portable", "avx2", "avx512") if usable(path)]

every_lane = pytest.mark.parametrize(("width", "rotated"), LANES, ids=[f"{w}{'r' * r}" for w, r in LANES])
every_parameter = pytest.mark.parametrize("parameter", PARAMETERS, ids=hex)
every_level = pytest.mark.parametrize("small", [False, True], ids=["fast", "small"])


# --- contents -------------------------------------------------------------------------------------------------------

Random = np.random.Generator


def weights(dtype: str) -> Callable[[Random, int], bytes]:
    return lambda rng, size: rng.normal(0, 0.02, size // np.dtype(dtype).itemsize + 1).astype(dtype).tobytes()


def bf16(rng: Random, size: int) -> bytes:
    return (rng.normal(0, 0.02, size // 2 + 1).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


def nans(rng: Random, size: int) -> bytes:
    """Quiet and signalling NaNs with every kind of payload, of both signs."""
    return (rng.integers(0, 1 << 32, size // 4 + 1).astype("<u4") & 0x803FFFFF | 0x7F800000 | 1).tobytes()


def zeros_and_denormals(rng: Random, size: int) -> bytes:
    few = np.array([0, 0x80000000, 1, 0x80000001, 0x007FFFFF], "<u4")
    return rng.choice(few, size // 4 + 1).tobytes()


def fibonacci(rng: Random, size: int) -> bytes:
    """Counts that Huffman's code answers with one bit more for each symbol, far beyond the longest allowed."""
    counts = [1, 1]
    while sum(counts) < 4000:
        counts.append(counts[-1] + counts[-2])
    symbols = np.repeat(np.arange(len(counts), dtype=np.uint8) * 7, counts)
    return np.tile(rng.permutation(symbols), size // len(symbols) + 1).tobytes()


def misleading(rng: Random, size: int) -> bytes:
    """Nothing but zeros where a sample of bytes looks, and something else in between."""
    data = rng.integers(0, 256, size, np.uint8)
    if size > 4096:
        step = (size - 32) // 127
        data[(np.arange(128)[:, None] * step + np.arange(32)).reshape(-1)] = 0
    return data.tobytes()


def sparse(rng: Random, size: int) -> bytes:
    """One value, and so few others that they become patches."""
    data = np.full(size, 0x3C, np.uint8)
    rare = rng.random(size) < 0.003
    data[rare] = rng.integers(0, 256, int(rare.sum()), np.uint8)
    return data.tobytes()


def moments(rng: Random, size: int) -> bytes:
    """Positive, and each near its neighbours, as second moments are."""
    return (np.exp2(rng.normal(0, 0.3, size // 4 + 1).cumsum() % 40 - 50)).astype("<f4").tobytes()


def few(rng: Random, size: int, dtype: str, values: int) -> bytes:
    """Lanes of so many different values, the middle ones often."""
    item = np.dtype(dtype).itemsize
    palette = np.frombuffer(rng.bytes(values * item), dtype)
    return palette[rng.binomial(values - 1, 0.5, size // item + 1)].tobytes()


CONTENTS: dict[str, Callable[[Random, int], bytes]] = {
    "zeros": lambda rng, size: bytes(size),
    "one byte": lambda rng, size: bytes([rng.integers(256)]) * size,
    "noise": lambda rng, size: rng.bytes(size),
    "bf16": bf16,
    "f16": weights("<f2"),
    "f32": weights("<f4"),
    "f64 of f32": lambda rng, size: rng.normal(0, 1, size // 8 + 1).astype("<f4").astype("<f8").tobytes(),
    "NaNs": nans,
    "zeros and denormals": zeros_and_denormals,
    "sorted": lambda rng, size: np.sort(rng.integers(0, 1 << 20, size // 8 + 1)).astype("<i8").tobytes(),
    "two symbols": lambda rng, size: rng.choice(np.array([7, 200], np.uint8), size, p=[0.9, 0.1]).tobytes(),
    "fibonacci": fibonacci,
    "geometric": lambda rng, size: (rng.geometric(0.3, size) * 5 % 256).astype(np.uint8).tobytes(),
    "misleading": misleading,
    "sparse": sparse,
    "half zeros": lambda rng, size: bytes(size - size // 2) + rng.bytes(size // 2),
    "counting": lambda rng, size: np.arange(size // 4 + 1, dtype="<i4").tobytes(),
    "sorted int32": lambda rng, size: np.sort(rng.integers(-9999, 9999, size // 4 + 1)).astype("<i4").tobytes(),
    "falling int16": lambda rng, size: (-np.arange(size // 2 + 1) * 3 // 2).astype("<i2").tobytes(),
    "a walk": lambda rng, size: rng.normal(0, 1, size // 4 + 1).cumsum().astype("<f4").tobytes(),
    "moments": moments,
    "mask": lambda rng, size: (rng.random(size) < 0.1).astype(np.uint8).tobytes(),
    "int4 in bf16": lambda rng, size: few(rng, size, "<u2", 15),
    "int8 in f32": lambda rng, size: few(rng, size, "<u4", 255),
    "a mask in f64": lambda rng, size: few(rng, size, "<u8", 2),
    "257 values": lambda rng, size: few(rng, size, "<u2", 257),
    "a late value": lambda rng, size: few(rng, size, "<u4", 256)[: max(size - 4, 0)] + b"late",
    "small bytes": lambda rng, size: np.minimum(rng.geometric(0.4, size), 15).astype(np.uint8).tobytes(),
}

# Around the blocks of 32 to 1,024 lanes and the windows of eight, where loops have their seams.
SIZES = st.integers(0, 700) | st.integers(0, LARGEST) | st.sampled_from([2047, 4096, 4100, 8191, 8192, 8193, LARGEST])


def made(name: str, seed: int, size: int) -> bytes:
    return CONTENTS[name](np.random.default_rng(seed), size)[:size]


# --- running the codec ----------------------------------------------------------------------------------------------


def encoded(source: memoryview, width: int, rotated: bool, small: bool) -> tuple[int, bytes] | None:
    """The native encoder's parameter and bytes, which are the same on every path."""
    found = []
    for path in PATHS:
        with instructions(path):
            found.append(kernels.float_encode(source, width, rotated, small))
    assert all(one == found[0] for one in found), "the paths differ"
    return None if found[0] is None else (found[0][0], bytes(found[0][1]))


def decoded(payload: bytes, parameter: int, size: int, offset: int = 0) -> bytes | None:
    """What every path decodes, None where all refuse; none touches a byte outside its target."""
    found = []
    for path in PATHS:
        buffer = bytearray([GUARD]) * (size + 2 * ROOM)
        start = ROOM + offset
        with instructions(path):
            try:
                kernels.float_decode(payload, memoryview(buffer)[start : start + size], parameter)
                found.append(bytes(buffer[start : start + size]))
            except ValueError:
                found.append(None)
        assert set(buffer[:start]) | set(buffer[start + size :]) == {GUARD}, "bytes were written outside the target"
    assert all(one == found[0] for one in found), "the paths differ"
    return found[0]


def expected(payload: bytes, parameter: int, size: int) -> bytes | None:
    try:
        return reference.decode(payload, parameter, size)
    except ValueError:
        return None


# --- round trips ----------------------------------------------------------------------------------------------------


def test_streams_that_end_in_padding_like_a_short_code():
    """A stream's last byte is padded with zeros, which are a symbol's code: a look-up must not run into them."""
    data = made("sorted", 28, 8186)
    made_of_it = encoded(memoryview(data), 1, False, False)
    assert made_of_it is not None
    assert decoded(made_of_it[1], made_of_it[0], len(data)) == data
    rng = np.random.default_rng(5)
    for _ in range(3000):
        symbols = np.minimum(rng.geometric(rng.uniform(0.3, 0.9), int(rng.integers(300, 3000))), 255)
        data = symbols.astype(np.uint8).tobytes()
        coded = kernels.float_encode(data, 1, False, False)
        out = bytearray(len(data))
        if coded is not None:
            kernels.float_decode(coded[1], out, coded[0])
            assert out == data


@every_lane
@every_level
@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(CONTENTS)), seed=st.integers(0, 99), size=SIZES, at=st.integers(0, 15))
def test_matches_its_oracle(width: int, rotated: bool, small: bool, name: str, seed: int, size: int, at: int):
    data = made(name, seed, size)
    coded = encoded(memoryview(bytes(at) + data)[at:], width, rotated, small)
    assert coded == reference.encode(data, width, rotated, small)
    if coded is not None:
        parameter, payload = coded
        assert len(payload) < len(data)
        assert decoded(payload, parameter, size, 15 - at) == data
        assert reference.decode(payload, parameter, size) == data


@pytest.mark.parametrize("span", [2, 16, 17, 32, 33, 64, 65, 256])
@pytest.mark.parametrize("first", [0, 1, 100, 255])
def test_codes_of_any_span(span: int, first: int):
    """Vectors look up as many entries as the codes lie apart, and join eight codes where these aren't too long."""
    rng = np.random.default_rng(span)
    chances = np.maximum(0.7 ** np.arange(span), 1e-4)
    symbols = min(first, 256 - span) + rng.choice(span, 9000, p=chances / chances.sum())
    for data in (symbols, np.sort(symbols)):  # sorted, the longest codes are neighbours
        raw = data.astype(np.uint8).tobytes()
        coded = encoded(memoryview(raw), 1, False, False)
        assert coded is not None
        assert coded == reference.encode(raw, 1, False, False)
        assert decoded(coded[1], coded[0], len(raw)) == raw


@every_lane
@every_level
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=LARGEST), times=st.integers(1, 200), at=st.integers(0, 15))
def test_any_bytes(width: int, rotated: bool, small: bool, data: bytes, times: int, at: int):
    data = (data * times)[:LARGEST]
    coded = encoded(memoryview(bytes(at) + data)[at:], width, rotated, small)
    if coded is not None:
        parameter, payload = coded
        assert len(payload) < len(data)
        assert decoded(payload, parameter, len(data), at) == data


@every_lane
@every_level
@pytest.mark.parametrize("size", [1 << 20, (3 << 20) + 5])
def test_large_chunks(width: int, rotated: bool, small: bool, size: int):
    for number, name in enumerate(["bf16", "f32", "f64 of f32", "sparse", "fibonacci", "half zeros", "noise"]):
        data = made(name, number, size)
        coded = encoded(memoryview(bytes(number) + data)[number:], width, rotated, small)
        assert coded is not None or name not in ("sparse", "fibonacci")
        if coded is not None:
            parameter, payload = coded
            assert len(payload) < size
            assert decoded(payload, parameter, size, number) == data


@every_lane
@every_level
@pytest.mark.parametrize("name", ["zeros", "one byte", "two symbols", "fibonacci", "sparse"])
def test_what_pays_is_coded(width: int, rotated: bool, small: bool, name: str):
    data = made(name, 1, LARGEST)
    coded = encoded(memoryview(data), width, rotated, small)
    assert coded is not None
    assert len(coded[1]) < len(data) // 2


@every_lane
@every_level
@pytest.mark.parametrize("size", [0, 1, 50, LARGEST, 1 << 20])
def test_noise_is_left_alone(width: int, rotated: bool, small: bool, size: int):
    assert encoded(memoryview(made("noise", 2, size)), width, rotated, small) is None


@pytest.mark.parametrize(
    ("name", "width", "rotated", "parameter", "most"),
    [
        ("counting", 4, False, 0x204, 0.01),
        ("sorted", 8, False, 0x208, 0.2),
        ("sorted int32", 4, False, 0x204, 0.1),
        ("falling int16", 2, False, 0x202, 0.1),
        ("moments", 4, True, 0x204, 0.87),
        ("a walk", 4, True, 0x204, 0.75),
        ("mask", 1, False, 0x308, 0.07),
        ("f32", 4, True, 0x104, 0.84),
        ("bf16", 2, True, 0x102, 0.68),
        ("two symbols", 1, False, 0x001, 0.13),
    ],
)
def test_the_form_is_the_one_that_pays(name: str, width: int, rotated: bool, parameter: int, most: float):
    for size in (1 << 16, 1 << 20):
        data = made(name, 9, size)
        coded = kernels.float_encode(data, width, rotated, False)
        assert coded is not None
        assert coded[0] == parameter
        assert len(coded[1]) < size * most


@every_level
def test_a_form_that_only_the_sample_likes_is_given_up(small: bool):
    """It counts where the sample looks; elsewhere a byte has seven bits of noise, and so differences nearly eight."""
    lanes = 1 << 20
    runs = (1 << 14 if small else 1 << 12) // 32
    step = (lanes - 33) // (runs - 1)
    values = np.random.default_rng(1).integers(0, 1 << 31, lanes).astype("<u4")
    shown = (np.arange(runs)[:, None] * step + np.arange(33)).reshape(-1)
    values[shown] = shown
    data = values.tobytes()
    coded = encoded(memoryview(data), 4, False, small)
    assert coded == reference.encode(data, 4, False, small)
    assert coded is not None
    assert coded[0] == (0x204 if small else 4)
    assert len(coded[1]) < 0.995 * len(data)
    assert decoded(coded[1], coded[0], len(data)) == data


def test_differences_count_from_nought_and_wrap_round():
    extremes = np.tile(np.array([-(1 << 31), (1 << 31) - 1], "<i4"), 500).tobytes()
    for data in (extremes, extremes[4:], extremes + b"end"):
        coded = encoded(memoryview(data), 4, False, False)
        assert coded is not None
        assert decoded(coded[1], coded[0], len(data)) == data


# A little above what was measured.
@pytest.mark.parametrize(
    ("name", "lanes", "fast", "small"),
    [("bf16", (2, True), 0.675, 0.67), ("f16", (2, True), 0.87, 0.86), ("f32", (4, True), 0.84, 0.835)],
)
def test_ratio(name: str, lanes: tuple[int, bool], fast: float, small: float):
    data = made(name, 5, 1 << 20)
    coded = [kernels.float_encode(data, *lanes, level) for level in (False, True)]
    sizes = [len(one[1] if one else data) / len(data) for one in coded]
    assert sizes[0] < fast
    assert sizes[1] < small
    assert sizes[1] <= sizes[0]


# --- damage ---------------------------------------------------------------------------------------------------------


def damages(payload: bytes, chance: random.Random) -> Iterator[bytes]:
    for _ in range(60 if LONG else 30):
        flipped = bytearray(payload)
        # Heads lie at the front: half of the flips go there.
        at = chance.randrange(min(64, len(payload)) if chance.random() < 0.5 else len(payload))
        flipped[at] ^= 1 << chance.randrange(8)
        yield bytes(flipped)
    for _ in range(20 if LONG else 10):
        at = chance.randrange(len(payload))
        yield payload[:at] + chance.randbytes(chance.randrange(1, 9)) + payload[at + chance.randrange(9) :]


@every_lane
@every_level
def test_damaged_payloads(width: int, rotated: bool, small: bool):
    size = 200 * width + width - 1
    tried = 0
    for name in ("bf16", "sparse", "fibonacci", "f64 of f32", "zeros", "two symbols"):
        coded = encoded(memoryview(made(name, 3, size)), width, rotated, small)
        if coded is None:
            continue
        tried += 1
        parameter, payload = coded
        for damaged in damages(payload, random.Random(4)):
            assert decoded(damaged, parameter, size) == expected(damaged, parameter, size)
        for cut in [*range(0, len(payload), 1 if LONG else 3), len(payload) - 1]:
            assert decoded(payload[:cut], parameter, size) is None
        for extra in (b"\0", b"\xff", payload):
            assert decoded(payload + extra, parameter, size) is None
    assert tried >= 2


@every_parameter
@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=100), size=st.integers(0, 200))
def test_any_payload_is_refused_or_fills_the_target(parameter: int, payload: bytes, size: int):
    assert decoded(payload, parameter, size) == expected(payload, parameter, size)


@settings(max_examples=200, deadline=None)
@given(parameter=st.integers(0, (1 << 16) - 1), size=st.integers(0, 50))
def test_only_lanes_of_the_format_are_decoded(parameter: int, size: int):
    payload = bytes([1]) * 8 + bytes(5) * 8
    assert decoded(payload, parameter, size) == expected(payload, parameter, size)
    if parameter not in PARAMETERS:
        assert decoded(payload, parameter, size) is None


@every_lane
@every_level
def test_damage_far_inside_a_large_chunk(width: int, rotated: bool, small: bool):
    # The decoders' fast loops run here, which small chunks never enter.
    size, chance = 1 << 18, random.Random(6)
    data = made("fibonacci", 6, size)
    coded = encoded(memoryview(data), width, rotated, small)
    assert coded is not None
    parameter, payload = coded
    for _ in range(30):
        flipped = bytearray(payload)
        flipped[chance.randrange(len(payload) // 4, len(payload))] ^= 1 << chance.randrange(8)
        assert decoded(bytes(flipped), parameter, size) != data


# --- the other kernels ----------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(CONTENTS)), seed=st.integers(0, 99), size=SIZES, at=st.integers(0, 15))
def test_sniffing_matches_its_oracle(name: str, seed: int, size: int, at: int):
    data = made(name, seed, size + at)[at:]
    assert kernels.sniff_lane(memoryview(data)) == sniff_reference.sniff_lane(data)
    assert kernels.repeats(memoryview(data)) == sniff_reference.repeats(data)
    assert kernels.sample(memoryview(data)) == sniff_reference.sample(data)


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("size", [(1 << 16) + 9, 180_001, (1 << 20) - 1, 1 << 20, (5 << 20) + 3])
def test_sniffing_large_data_matches_its_oracle(name: str, size: int):
    data = made(name, 7, size)
    assert kernels.sniff_lane(data) == sniff_reference.sniff_lane(data)
    assert kernels.repeats(data) == sniff_reference.repeats(data)
    assert kernels.sample(data) == sniff_reference.sample(data)


@pytest.mark.parametrize(
    ("name", "lanes"),
    [("bf16", (2, True)), ("f32", (4, True)), ("two symbols", (1, False)), ("zeros", (1, False))],
)
def test_sniffing_finds_the_lanes(name: str, lanes: tuple[int, bool]):
    for size in (1 << 14, 1 << 20, 9 << 20):
        assert kernels.sniff_lane(made(name, 8, size)) == lanes


@pytest.mark.parametrize("width", [0, 3, 5, 16, 1 << 20])
def test_refuses_other_widths(width: int):
    for rotated in (False, True):
        with pytest.raises(ValueError):
            kernels.float_encode(bytes(100), width, rotated, False)
        with pytest.raises(ValueError):
            kernels.float_decode(bytes(100), bytearray(100), width | rotated << 8)


def test_refuses_rotated_bytes_and_overlap_and_chunks_too_long():
    with pytest.raises(ValueError):
        kernels.float_encode(bytes(100), 1, True, False)
    buffer = memoryview(bytearray(300))
    with pytest.raises(ValueError):
        kernels.float_decode(buffer[:200], buffer[199:], 0x102)
    assert kernels.float_encode(bytes(16 << 20), 2, True, False) is not None
    with pytest.raises(ValueError):
        kernels.float_encode(bytes((16 << 20) + 1), 2, True, False)


def test_instructions_by_name():
    assert PATHS[0] == "portable"
    with pytest.raises(ValueError):
        kernels.use_instructions("sse")
