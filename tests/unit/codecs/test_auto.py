"""Which codec a chunk goes to: what its sample promises, and what happens where that misleads."""

from __future__ import annotations

import numpy as np
import pytest

from dcpx.codecs import CODECS, Coded, Lanes
from dcpx.codecs.auto import Auto

CHUNK = 1 << 20
FLOAT, ZSTD, PLANES = 3, 1, 2


def weights(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def coded(values: np.ndarray, lanes: Lanes, small: bool = False) -> Coded:
    """What becomes of the chunk, which must come back as it was."""
    raw = memoryview(values.view(np.uint8).data)
    made, _ = Auto(small).encode(raw, lanes, still=True)
    out = bytearray(raw.nbytes)
    CODECS[made.codec].decode(memoryview(made.payload), made.parameter, memoryview(out))
    assert out == raw
    return made


@pytest.mark.parametrize("small", [False, True])
def test_a_middle_of_repeats_does_not_give_weights_to_zstandard(small: bool):
    values = weights(CHUNK // 4)
    values[110_000:150_000] = np.tile(weights(1000, 1), 40)
    assert len(coded(values, Lanes(4, True), small).payload) < 0.85 * CHUNK


def test_a_middle_of_weights_does_not_keep_repeats_from_zstandard():
    """The middle says nothing for Zstandard, and the planes of all the rest are not what it promised of them."""
    values = np.zeros(CHUNK // 4, np.float32)
    where = np.random.default_rng(1).integers(0, len(values), len(values) // 100)
    values[where] = weights(len(where))
    values[len(values) * 4 // 10 : len(values) * 6 // 10] = 0
    made = coded(values, Lanes(4, True))
    alone = CODECS[FLOAT].encode(memoryview(values.view(np.uint8).data), Lanes(4, True))
    assert alone is not None
    assert len(made.payload) <= len(alone.payload)


def rows(values: np.ndarray, of: int) -> np.ndarray:
    """As many of the same values again and again as fill a chunk, or that many bytes."""
    return np.tile(values, -(-of // values.nbytes))[: of // values.itemsize]


def noise(size: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def put(into: np.ndarray, at: float, values: np.ndarray) -> np.ndarray:
    """The array with these values from such a part of it on."""
    made, start = into.copy(), int(len(into) * at)
    made[start : start + len(values)] = values[: len(made) - start]
    return made


def bf16(count: int) -> np.ndarray:
    return (weights(count).view(np.uint32) >> 16).astype(np.uint16)


def moments(every: int) -> np.ndarray:
    """Of an embedding of which few rows have been met."""
    made = np.zeros((CHUNK // 1024, 256), np.float32)
    made[::every] = weights(made[::every].size).reshape(-1, 256)
    return made.reshape(-1)


ZEROS, FLOATS = np.zeros(CHUNK // 4, np.float32), weights(CHUNK // 4)
MISLEADING: dict[str, tuple[np.ndarray, Lanes]] = {
    "moments, 1 row of 50": (moments(50), Lanes(4, True)),
    "moments, 1 row of 300": (moments(300), Lanes(4, True)),
    "a moment in the middle": (put(ZEROS, 0.5, weights(256)), Lanes(4, True)),
    "zeros, then weights": (put(ZEROS, 0.8, FLOATS), Lanes(4, True)),
    "weights, then zeros": (put(FLOATS, 0.3, ZEROS), Lanes(4, True)),
    "zeros around weights": (put(ZEROS, 0.4, FLOATS[: len(FLOATS) // 3]), Lanes(4, True)),
    "zeros, noise at the end": (put(ZEROS.view(np.uint8), 0.99, noise(9999)), Lanes(4, True)),
    "rows, then weights": (put(FLOATS, 0, rows(weights(250, 1), CHUNK * 2 // 5)), Lanes(4, True)),
    "rows around noise": (put(rows(noise(104), CHUNK), 0.46, noise(80 << 10, 4)), Lanes(4, True)),
    "rows as long as a stretch": (rows(weights(1 << 14), CHUNK), Lanes(4, True)),
    "rows longer than a stretch": (rows(weights(20_000), CHUNK), Lanes(4, True)),
    "rows in any order": (
        weights(50 * 768).reshape(50, 768)[np.random.default_rng(5).integers(0, 50, 341)].reshape(-1),
        Lanes(4, True),
    ),
    "equal heads": (rows(bf16(96 << 9), CHUNK), Lanes(2, True)),
    "few rows of odd length": (rows(bf16(2501), 60_024), Lanes(2, True)),
    "few rows of bytes": (rows(noise(1001), 60_060), Lanes()),
    "few long rows": (rows(bf16(4096), 1 << 16), Lanes(2, True)),
}


@pytest.mark.parametrize("name", MISLEADING)
def test_no_codec_alone_would_have_done_better_than_the_choice(name: str):
    values, lanes = MISLEADING[name]
    raw = memoryview(values.view(np.uint8).data)
    alone = [CODECS[number].encode(raw, lanes) for number in (FLOAT, ZSTD, PLANES)]
    least = min(len(made.payload) for made in alone if made is not None)
    assert len(coded(values, lanes).payload) <= max(least * 4 / 3, least + raw.nbytes / 32)
    assert len(coded(values, lanes, small=True).payload) <= least * 1.01


def turns(positions: int, frequencies: int) -> np.ndarray:
    """Rotary embeddings: complex numbers of length 1."""
    angles = np.outer(np.arange(positions), 10_000.0 ** -(np.arange(frequencies) / frequencies))
    return np.exp(1j * angles).astype(np.complex64).reshape(-1)


@pytest.mark.parametrize(
    ("values", "lanes"),
    [(turns(2048, 64), Lanes(4, True)), (np.arange(1 << 17) * 0.1 + 1.7e9, Lanes(8, True))],
    ids=["rotary", "timestamps"],
)
def test_small_finds_matches_within_planes_where_no_strings_repeat(values: np.ndarray, lanes: Lanes):
    planes = CODECS[PLANES].encode(memoryview(values.view(np.uint8).data), lanes)
    assert planes is not None
    assert (
        len(coded(values, lanes, small=True).payload) <= len(planes.payload) < len(coded(values, lanes).payload) * 0.9
    )


def test_matches_that_save_little_are_not_searched_for():
    """Numbers of words: their bytes repeat, and Zstandard would save a fifth in several times the time."""
    rng = np.random.default_rng(2)
    phrases = [rng.zipf(1.3, rng.integers(2, 9)) % 30_000 for _ in range(3000)]
    ids = np.concatenate([phrases[i] for i in rng.zipf(1.2, 60_000) % len(phrases)])[: CHUNK // 8].astype(np.int64)
    made = coded(ids, Lanes(8, False))
    alone = CODECS[FLOAT].encode(memoryview(ids.view(np.uint8).data), Lanes(8, False))
    planes = CODECS[PLANES].encode(memoryview(ids.view(np.uint8).data), Lanes(8, False))
    assert alone is not None
    assert planes is not None
    assert 0.75 < len(planes.payload) / len(alone.payload) < 0.85
    assert made.codec == FLOAT


@pytest.mark.parametrize("size", [4096, 1 << 16, (1 << 16) + 8, CHUNK])
def test_rows_that_repeat_go_to_zstandard_at_any_size(size: int):
    made = coded(np.tile(weights(16), -(-size // 64))[: size // 4], Lanes(4, True))
    assert made.codec in (ZSTD, PLANES)
    assert len(made.payload) < 0.1 * size


@pytest.mark.parametrize("size", [48, 64, 72, 256])
@pytest.mark.parametrize("small", [False, True])
def test_few_bytes_are_coded_too(size: int, small: bool):
    assert len(coded(np.zeros(size // 4, np.float32), Lanes(4, True), small).payload) < 0.6 * size


def test_constants_are_not_searched():
    made = coded(np.full(CHUNK // 4, 0.5, np.float32), Lanes(4, True))
    assert made.codec == FLOAT
    assert len(made.payload) < 64
