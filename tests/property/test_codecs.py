"""Every codec at every lane width: what it accepts comes back, and no payload makes it misbehave."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx.codecs import CODECS, Codec, CodecError, Lanes

GUARD = 0x5A
ROOM = 32
WIDTHS = (1, 2, 4, 8)
# The container codec encodes no bytes that it is merely given: tests/unit/codecs/test_container.py.
CODING = [codec for codec in CODECS.values() if codec.name != "container"]
PAIRS = [pytest.param(codec, width, id=f"{codec.name}-{width}") for codec in CODING for width in WIDTHS]

# Whatever the contract says otherwise, raw keeps the bytes as they are: it is what the others fall back to.
RAW = 0


def bf16_like(count: int, seed: int) -> bytes:
    """Weights in bfloat16: a few exponents, noisy mantissas."""
    weights = np.random.default_rng(seed).normal(0, 0.02, count).astype(np.float32)
    return (weights.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def f64_like(count: int, seed: int) -> bytes:
    return np.random.default_rng(seed).normal(0, 1, count).tobytes()


def sorted_ints(count: int, seed: int) -> bytes:
    return np.sort(np.random.default_rng(seed).integers(0, 1 << 40, count)).tobytes()


def noise(count: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(count)


COUNTS = st.integers(0, 40) | st.integers(0, 3000)
SEEDS = st.integers(0, 2**32)
DATA = st.one_of(
    st.binary(max_size=300),
    st.builds(bytes, COUNTS),
    st.builds(lambda byte, count: bytes([byte]) * count, st.integers(0, 255), COUNTS),
    st.builds(noise, COUNTS, SEEDS),
    st.builds(bf16_like, COUNTS, SEEDS),
    st.builds(f64_like, COUNTS, SEEDS),
    st.builds(sorted_ints, COUNTS, SEEDS),
    st.builds(lambda data, cut: data[cut:], st.builds(bf16_like, COUNTS, SEEDS), st.integers(0, 7)),
)


def decode_guarded(codec: Codec, payload: bytes, parameter: int, size: int) -> bytes | None:
    """What the codec makes of `payload`, None where it refuses; it must leave the bytes around the target alone."""
    buffer = bytearray([GUARD]) * (size + 2 * ROOM)
    try:
        codec.decode(memoryview(payload), parameter, memoryview(buffer)[ROOM : ROOM + size])
        decoded = bytes(buffer[ROOM : ROOM + size])
    except CodecError:
        decoded = None
    assert set(buffer[:ROOM]) | set(buffer[ROOM + size :]) == {GUARD}, "bytes were written outside the target"
    return decoded


@pytest.mark.parametrize(("codec", "width"), PAIRS)
@settings(max_examples=60, deadline=None)
@given(data=DATA, offset=st.integers(0, 15))
def test_round_trip(codec: Codec, width: int, data: bytes, offset: int):
    raw = memoryview(bytes(offset) + data)[offset:]
    coded = codec.encode(raw, Lanes(width))
    if coded is None:
        assert codec.id != RAW, "nothing is left to fall back to"
        return
    assert coded.codec == codec.id
    parameter, payload = coded.parameter, coded.payload
    assert 0 <= parameter < 1 << 16
    assert len(payload) == len(data) if codec.id == RAW else len(payload) < len(data)
    assert decode_guarded(codec, bytes(payload), parameter, len(data)) == data


@pytest.mark.parametrize(("codec", "width"), PAIRS)
def test_data_that_pays_is_accepted(codec: Codec, width: int):
    coded = codec.encode(memoryview(bytes(4096)), Lanes(width))
    if codec.name == "planes" and width == 1:
        assert coded is None  # nothing to take apart
    else:
        assert coded is not None
        assert codec.id == RAW or len(coded.payload) < 100


SAMPLES = [bf16_like(1500, 1), bytes(999), b"a text, and again a text " * 90, bytes(range(256)) * 5 + b"tail"]


def payloads(codec: Codec, width: int) -> list[tuple[int, bytes, bytes]]:
    """(parameter, payload, raw) of every sample that the codec accepts."""
    coded = [(codec.encode(memoryview(raw), Lanes(width)), raw) for raw in SAMPLES]
    return [(accepted.parameter, bytes(accepted.payload), raw) for accepted, raw in coded if accepted is not None]


def damages(payload: bytes, chance: random.Random) -> list[bytes]:
    """Some prefixes, extensions, flips and mixtures of a payload."""
    cuts = {0, 1, 2, 5, 10, 20, len(payload) - 1, *(chance.randrange(len(payload)) for _ in range(20))}
    found = [payload[:cut] for cut in cuts if cut < len(payload)]
    found += [payload + extra for extra in (b"\0", b"\xff" * 9, payload, payload[:7])]
    for _ in range(150):
        flipped = bytearray(payload)
        # Headers lie at the front: half of the flips go there.
        at = chance.randrange(min(48, len(payload)) if chance.random() < 0.5 else len(payload))
        flipped[at] ^= 1 << chance.randrange(8)
        found.append(bytes(flipped))
    for _ in range(30):
        at = chance.randrange(len(payload))
        found.append(payload[:at] + chance.randbytes(chance.randrange(1, 9)) + payload[at + chance.randrange(9) :])
    return found


@pytest.mark.parametrize(("codec", "width"), PAIRS)
def test_damaged_payloads_are_refused_or_fill_the_target(codec: Codec, width: int):
    chance = random.Random(codec.id * 10 + width)
    refused = 0
    for parameter, payload, raw in payloads(codec, width):
        for damaged in damages(payload, chance):
            refused += decode_guarded(codec, damaged, parameter, len(raw)) is None
    assert refused or not payloads(codec, width)


@pytest.mark.parametrize(("codec", "width"), PAIRS)
def test_a_payload_ends_with_its_chunk(codec: Codec, width: int):
    # What follows the last byte that counts would be a hiding place, and another decoder might refuse it.
    for parameter, payload, raw in payloads(codec, width):
        for extra in (b"\0", b"\xff" * 9, payload):
            assert decode_guarded(codec, payload + extra, parameter, len(raw)) is None


@pytest.mark.parametrize(("codec", "width"), PAIRS)
def test_short_payloads_are_refused(codec: Codec, width: int):
    for parameter, payload, raw in payloads(codec, width):
        for cut in (0, 1, len(payload) // 2):
            assert decode_guarded(codec, payload[:cut], parameter, len(raw)) is None


@pytest.mark.parametrize(("codec", "width"), PAIRS)
def test_other_parameters_are_refused_or_fill_the_target(codec: Codec, width: int):
    for parameter, payload, raw in payloads(codec, width):
        for other in {0, 1, 2, 3, 4, 7, 8, 9, 16, 255, 256, 0xFFFF} - {parameter}:
            decoded = decode_guarded(codec, payload, other, len(raw))
            assert decoded != raw, f"parameter {other} means the same as {parameter}"


@pytest.mark.parametrize(("codec", "width"), PAIRS)
def test_targets_of_another_length(codec: Codec, width: int):
    for parameter, payload, raw in payloads(codec, width):
        for size in {0, 1, len(raw) // 2, len(raw) - 1, len(raw) + 1, len(raw) + width, 2 * len(raw)}:
            decoded = decode_guarded(codec, payload, parameter, size)
            # Constant planes know no length of their own, and a float stream may end a symbol early or late in its last
            # bits: the chunk's header says the size, and its tag covers that and the content.
            constant = codec.name == "planes" and len(set(raw)) == 1
            assert decoded is None or codec.name == "float" or (constant and set(decoded) <= set(raw))


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
@settings(max_examples=200, deadline=None)
@given(
    payload=st.binary(max_size=120),
    parameter=st.sampled_from([0, 1, 2, 4, 8, 3, 258, 260, 264, 0xFFFF]),
    size=st.integers(0, 300),
)
def test_any_bytes_are_refused_or_fill_the_target(codec: Codec, payload: bytes, parameter: int, size: int):
    decoded = decode_guarded(codec, payload, parameter, size)
    assert decoded is None or len(decoded) == size


def test_ids_and_names_are_unique_and_in_order():
    assert [codec.id for codec in CODECS.values()] == list(CODECS)
    names = [codec.name for codec in CODECS.values()]
    assert len(set(names)) == len(names)
    assert {0: "raw", 1: "zstd", 2: "planes", 3: "float", 4: "container"}.items() <= {
        codec.id: codec.name for codec in CODECS.values()
    }.items()


def test_planes_with_lying_plane_headers():
    codec = next(codec for codec in CODECS.values() if codec.name == "planes")
    sizes = (0, 1, 7, 8, 9, 0x7FFFFFFF, 0xFFFFFFFF)
    for first, second, methods in itertools.product(sizes, sizes, itertools.product(range(4), repeat=2)):
        headers = b"".join(
            method.to_bytes(1, "little") + size.to_bytes(4, "little")
            for method, size in zip(methods, (first, second), strict=True)
        )
        for body in (0, 1, 8, 16, 18):
            decode_guarded(codec, headers + bytes(body), 2, 17)
