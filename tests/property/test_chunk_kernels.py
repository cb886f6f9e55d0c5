"""The kernels that work on whole chunks, against what Python makes of the same bytes."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest, xxh3_128

from dcpx import kernels
from dcpx.codecs import CODECS, Encoder, Lanes
from dcpx.codecs.auto import Auto, Smallest
from dcpx.errors import CorruptError
from dcpx.frame.builder import FrameBuilder
from dcpx.frame.chunks import encode_chunk
from dcpx.frame.layout import Header, parse_final
from dcpx.frame.map import FrameMap

PATHS = ("portable", "avx2", "avx512")
WEIGHTS = (np.random.default_rng(0).standard_normal(40_000) * 0.02).astype(np.float32).tobytes()


@pytest.mark.parametrize("path", PATHS)
def test_the_hash_is_xxh3(path: str):
    if not kernels.use_instructions(path):
        pytest.skip(f"this CPU has no {path}")
    try:
        # The algorithm changes at 3, 8, 16, 128 and 240 bytes, and at every kilobyte.
        for size in (*range(600), 1023, 1024, 1025, 4096, 65_537, len(WEIGHTS)):
            for seed in (0, 1, (1 << 64) - 1):
                assert kernels.xxh3(WEIGHTS[:size], seed) == xxh3_64_intdigest(WEIGHTS[:size], seed), size
    finally:
        kernels.use_instructions("best")


@pytest.mark.parametrize("path", PATHS)
def test_the_hash_of_pieces_is_that_of_the_whole(path: str):
    if not kernels.use_instructions(path):
        pytest.skip(f"this CPU has no {path}")
    chance = random.Random(0)
    try:
        for size in (*range(600), 1023, 1024, 1025, *chance.sample(range(len(WEIGHTS)), 50), len(WEIGHTS)):
            # Pieces shorter and longer than the 256 bytes that the state buffers, and than what keeps the GIL.
            longest = chance.choice((8, 256, 1024, 100_000))
            hasher, end = kernels.Xxh3_128(), 0
            while end < size:
                begin, end = end, min(size, end + chance.randrange(longest))
                hasher.update(memoryview(WEIGHTS)[begin:end])
                if chance.random() < 0.1:
                    assert hasher.hexdigest() == xxh3_128(WEIGHTS[:end]).hexdigest(), (end, size)
            assert hasher.hexdigest() == xxh3_128(WEIGHTS[:size]).hexdigest(), size
            assert hasher.digest() == kernels.xxh3_128(WEIGHTS[:size]) == xxh3_128(WEIGHTS[:size]).digest()[::-1], size
    finally:
        kernels.use_instructions("best")


def test_a_hash_goes_on_with_other_instructions():
    hasher, chance, end = kernels.Xxh3_128(), random.Random(0), 0
    try:
        while end < len(WEIGHTS):
            kernels.use_instructions(chance.choice(PATHS))
            begin, end = end, end + chance.randrange(3000)
            hasher.update(WEIGHTS[begin:end])
            assert hasher.hexdigest() == xxh3_128(WEIGHTS[:end]).hexdigest(), end
    finally:
        kernels.use_instructions("best")


def test_what_is_no_run_of_bytes_is_not_hashed():
    hasher = kernels.Xxh3_128()
    for source in (None, "text", memoryview(b"abcd")[::2], np.array([object()])):
        with pytest.raises((TypeError, BufferError, ValueError)):
            hasher.update(source)
    hasher.update(b"")
    assert hasher.hexdigest() == xxh3_128(b"").hexdigest()


def test_a_chunk_is_encoded_as_by_the_single_calls():
    for data, width, rotated in (
        (WEIGHTS, 4, True),
        (bytes(5000), 2, True),
        (WEIGHTS[:999], 1, False),
        (b"", 1, False),
    ):
        same, content, coded, repeats = kernels.encode_chunk(data, width, rotated, still=True, most=1025)
        assert same is data
        alone = kernels.float_encode(data, width, rotated, False)
        assert coded == alone
        assert content == xxh3_64_intdigest(data)
        assert repeats == kernels.repeats(data)
        _, _, nothing, repeats = kernels.encode_chunk(data, width, rotated, still=True, most=repeats)
        assert nothing is None
        copy, content, coded, repeats = kernels.encode_chunk(data, width, rotated, still=False, most=1025)
        assert bytes(copy) == data
        assert content == xxh3_64_intdigest(data)
        assert coded == alone
        assert repeats == kernels.repeats(data)


def test_what_is_taken_is_a_copy_and_its_hash():
    for size in (0, 1, 240, 241, 16_383, 16_384, 16_385, 100_001, len(WEIGHTS)):
        source, target = bytearray(WEIGHTS[:size]), bytearray(size)
        hasher = kernels.Xxh3_128()
        hasher.update(b"before")
        hasher.update(source, target)
        taken, content = kernels.take_chunk(source)
        source[:] = bytes(size)
        assert bytes(taken) == bytes(target) == WEIGHTS[:size]
        assert content == xxh3_64_intdigest(WEIGHTS[:size])
        assert hasher.hexdigest() == xxh3_128(b"before" + WEIGHTS[:size]).hexdigest()


def test_copies_that_cannot_be_made():
    hasher, both = kernels.Xxh3_128(), bytearray(8)
    for source, target in ((b"abcd", bytearray(3)), (memoryview(both)[:4], memoryview(both)[2:6]), (b"abcd", b"abcd")):
        with pytest.raises((ValueError, BufferError)):
            hasher.update(source, target)
    with pytest.raises(ValueError, match="16 MiB"):
        kernels.take_chunk(bytes((16 << 20) + 1))
    assert hasher.hexdigest() == xxh3_128(b"").hexdigest()


def frame_of(raw: bytes, encoder: Encoder, lanes: Lanes, chunk_size: int) -> tuple[FrameMap, list[bytes], list[bytes]]:
    """A frame's map, its chunks' records and what they hold."""
    builder = FrameBuilder(Header(chunk_size, tuple(CODECS)))
    records, contents = [], []
    for chunk in builder.cut(memoryview(raw), encoder, lanes, still=True):
        stored = encode_chunk(chunk)
        records.append(builder.add(stored) + bytes(stored.payload))
        contents.append(bytes(chunk.raw))
    offset = len(builder.head) + sum(map(len, records))
    return FrameMap(builder.header, parse_final(builder.tail(), builder.header, offset)), records, contents


def decode(frame: FrameMap, records: list[bytes]) -> tuple[list[int], list[bytearray]]:
    outs = [bytearray(raw) for _, raw, _ in frame.index]
    jobs = [(record, out, number, *frame.seal(number)) for number, (record, out) in enumerate(zip(records, outs))]  # noqa: B905
    return kernels.decode_chunks(jobs), outs


@pytest.mark.parametrize("codec", [0, 1, 2, 3])
def test_chunks_are_decoded_or_left_to_python(codec: int):
    frame, records, contents = frame_of(WEIGHTS, Smallest(CODECS[codec]), Lanes(4, codec == 3), 8192)
    rest, outs = decode(frame, records)
    assert rest == ([] if codec in (0, 3) else list(range(len(records))))
    for number, content in enumerate(contents):
        if number in rest:
            frame.decode(number, memoryview(records[number]), memoryview(outs[number]))
        assert outs[number] == content


def test_no_flipped_bit_passes():
    frame, records, _ = frame_of(WEIGHTS[:4096], Auto(), Lanes(4, True), 4096)
    (record,) = records
    chance = random.Random(0)
    header_bits = range(24 * 8)
    payload_bits = chance.sample(range(24 * 8, len(record) * 8), 2000)
    for bit in (*header_bits, *payload_bits):
        flipped = bytearray(record)
        flipped[bit // 8] ^= 1 << bit % 8
        rest, outs = decode(frame, [bytes(flipped)])
        assert rest == [0], f"bit {bit}"
        with pytest.raises(CorruptError):
            frame.decode(0, memoryview(flipped), memoryview(outs[0]))


def test_no_prefix_and_no_other_place_passes():
    frame, records, contents = frame_of(WEIGHTS, Auto(), Lanes(4, True), 4096)
    (index, (seed, content, codecs)) = (1, frame.seal(1))
    good = (records[1], bytearray(4096), index, seed, content, codecs)
    assert kernels.decode_chunks([good]) == []
    assert good[1] == contents[1]
    out = bytearray(4096)
    bad = [(records[1][:size], out, index, seed, content, codecs) for size in (0, 1, 23, 24, 25, len(records[1]) - 1)]
    bad += [(records[1] + b"\0", out, index, seed, content, codecs)]
    bad += [(records[1], bytearray(size), index, seed, content, codecs) for size in (0, 4095, 4097)]
    bad += [(records[1], out, 2, seed, content, codecs), (records[1], out, index, seed ^ 1, content, codecs)]
    bad += [(records[1], out, index, seed, content ^ 1, codecs), (records[2], out, index, seed, content, codecs)]
    assert kernels.decode_chunks([good, *bad, good]) == list(range(1, len(bad) + 1))


def test_records_are_read_from_a_file(tmp_path: Path):
    frame, records, contents = frame_of(WEIGHTS, Auto(), Lanes(4, True), 4096)
    path = tmp_path / "records"
    path.write_bytes(b"before" + b"".join(records))
    starts = list(itertools.accumulate(map(len, records), initial=6))
    outs = [bytearray(len(content)) for content in contents]
    jobs = [
        (starts[number], len(records[number]), outs[number], number, *frame.seal(number))
        for number in range(len(records))
    ]
    with path.open("rb") as file:
        assert kernels.read_chunks(file.fileno(), jobs) == []
        assert outs == contents
        beyond = (starts[-2] + 1, *jobs[-1][1:])
        negative = (-1, *jobs[0][1:])
        assert kernels.read_chunks(file.fileno(), [beyond, jobs[0], negative]) == [0, 2]
        with pytest.raises(ValueError, match="16 MiB"):
            kernels.read_chunks(file.fileno(), [(0, 1 << 40, *jobs[0][2:])])
    assert kernels.read_chunks(-1, jobs[:2]) == [0, 1]


def test_jobs_that_are_none():
    record, out = bytes(30), bytearray(6)
    for job in (
        (record, out, 0, 0, 0),
        (record, bytes(6), 0, 0, 0, 0),
        (record, out, -1, 0, 0, 0),
        (record, out, 0, 1 << 64, 0, 0),
        (record, out, 0, 0, 0, 1 << 32),
    ):
        with pytest.raises((ValueError, TypeError, BufferError, RuntimeError)):
            kernels.decode_chunks([job])  # type: ignore[list-item]
    shared = bytearray(30)
    with pytest.raises(ValueError, match="overlap"):
        kernels.decode_chunks([(shared, memoryview(shared)[24:], 0, 0, 0, 0)])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_parts_are_what_numpy_slices(data: st.DataObject):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), max_size=4)))
    width = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
    count = int(np.prod(shape, dtype=int)) * width
    array = np.random.default_rng(count).integers(0, 256, (*shape, width), np.uint8)
    offsets = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    sizes = tuple(data.draw(st.integers(1, size - offset)) for size, offset in zip(shape, offsets, strict=True))
    slices = tuple(slice(offset, offset + size) for offset, size in zip(offsets, sizes, strict=True))
    expected = array[slices].tobytes()
    cuts = sorted({0, count, *data.draw(st.lists(st.integers(0, count), max_size=4))})
    out = bytearray(len(expected))
    flat, copied = array.tobytes(), 0
    for begin, end in itertools.pairwise(cuts):
        copied += kernels.copy_part(flat[begin:end], begin, out, shape, offsets, sizes, width)
    assert (copied, bytes(out)) == (len(expected), expected)


@pytest.mark.parametrize(
    ("begin", "size", "out", "shape", "offsets", "sizes", "width"),
    [
        (0, 8, 8, (2, 4), (0, 0), (2, 5), 1),
        (0, 8, 8, (2, 4), (1, 0), (2, 4), 1),
        (0, 8, 0, (2, 4), (0, 0), (0, 4), 1),
        (0, 8, 7, (2, 4), (0, 0), (2, 4), 1),
        (0, 9, 8, (2, 4), (0, 0), (2, 4), 1),
        (1, 8, 8, (2, 4), (0, 0), (2, 4), 1),
        (1 << 63, 1, 8, (2, 4), (0, 0), (2, 4), 1),
        (0, 8, 8, (2, 4), (0,), (2, 4), 1),
        (0, 8, 8, (2, 4), (0, 0), (2, 4), 0),
        (0, 8, 1, (1 << 62, 1 << 62), (0, 0), (1, 1), 1),
        (0, 1, 1, (1,) * 65, (0,) * 65, (1,) * 65, 1),
    ],
)
def test_parts_that_are_none(begin, size, out, shape, offsets, sizes, width):  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError):
        kernels.copy_part(bytes(size), begin, bytearray(out), shape, offsets, sizes, width)
