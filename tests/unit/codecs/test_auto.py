"""Which codec a chunk goes to: what its middle promises, and what happens where that misleads."""

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


def test_constants_are_not_searched():
    made = coded(np.full(CHUNK // 4, 0.5, np.float32), Lanes(4, True))
    assert made.codec == FLOAT
    assert len(made.payload) < 64
