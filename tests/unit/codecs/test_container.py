"""Codec 4: dcpx's own container is one that torch reads, and no arguments make the codec do anything but refuse."""

from __future__ import annotations

import io
import math
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx.codecs import CODECS, CodecError, Lanes
from dcpx.codecs.container import AFTER, BEFORE, WHOLE, Container, container
from dcpx.codecs.dtypes import CODES, ITEM_SIZES
from dcpx.frame import MIN_CHUNK_SIZE
from dcpx.varint import pack_varint
from tests.support.tensors import DTYPES, bits, random_tensor

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")

SHAPES: list[tuple[int, ...]] = [
    (),
    (1,),
    (7,),
    (300,),
    (2, 3),
    (70000, 1),
    (4, 1, 256),
    (0,),
    (0, 4),
    (3, 0, 5),
    (1 << 40, 0),
    (2,) * 3 + (1,) * 61,
    (1,) * 64,
    (1, 2) * 5,
]
PARTS = (WHOLE, BEFORE, AFTER)
CODEC = Container()
NO_LANES = Lanes()


def whole(name: str, tensor: torch.Tensor) -> bytes:
    template = container(name, tuple(tensor.shape))
    return template.before + bits(tensor) + template.after


@pytest.mark.parametrize("name", CODES)
def test_torch_loads_what_was_put_in(name: str):
    for number, shape in enumerate(SHAPES):
        tensor = random_tensor(DTYPES[name], shape, number)
        content = whole(name, tensor)
        for weights_only in (True, False):
            loaded = torch.load(io.BytesIO(content), weights_only=weights_only)
            assert type(loaded) is torch.Tensor
            assert (loaded.dtype, loaded.shape, loaded.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
            assert not loaded.requires_grad
            assert bits(loaded) == bits(tensor)


@pytest.mark.parametrize("name", CODES)
def test_a_template_says_what_it_is(name: str):
    for shape in SHAPES:
        template = container(name, shape)
        assert template.nbytes == math.prod(shape) * ITEM_SIZES[name]
        assert template.size == len(template.before) + template.nbytes + len(template.after)
        assert len(template.before) % 64 == 0
        assert template.arguments == bytes([CODES[name], len(shape)]) + b"".join(map(pack_varint, shape))


def test_what_surrounds_the_elements_fits_the_smallest_chunk():
    for name in CODES:
        room = (1 << 63) // ITEM_SIZES[name] - 1
        # Of 64 dimensions, the more the larger: 63 bits of sizes can be spread over them in any way.
        for shape in ((2,) * 58 + (1,) * 6, (1,) * 63 + (room,), (room,) + (1,) * 63, (0,) + (2,) * 62, (1 << 62, 0)):
            template = container(name, shape)
            assert len(template.before) <= MIN_CHUNK_SIZE
            assert len(template.after) <= MIN_CHUNK_SIZE


def test_an_archive_as_any_other():
    for shape in SHAPES[:8]:
        tensor = random_tensor(torch.float32, shape)
        with zipfile.ZipFile(io.BytesIO(whole("float32", tensor))) as archive:
            names = [f"archive/{name}" for name in ("version", "byteorder", "data.pkl", "data/0")]
            assert archive.namelist() == names
            assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
            assert archive.getinfo("archive/data/0").file_size == tensor.nbytes


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("float32", ((1 << 30) + 1,)),  # just more than 4 GiB
        ("float64", (1 << 29,)),  # 4 GiB
        ("uint8", ((1 << 32) - 1,)),  # the largest size that isn't one in a 32-bit field
        ("uint8", ((1 << 32) - 2,)),
        ("bool", ((1 << 31) + 3,)),  # more elements than an int counts
        ("int8", (1 << 31,)),
        ("float8_e5m2", (3, 1 << 30)),
        ("uint16", (1 << 16, (1 << 15) + 1)),
        ("complex128", (1 << 28, 1)),
    ],
)
def test_more_than_32_bits_count(name: str, shape: tuple[int, ...], tmp_path: Path):
    """In a file that is mostly a hole, mapped into memory."""
    template = container(name, shape)
    width = ITEM_SIZES[name]
    marks = {0: 1, math.prod(shape) // 2: 1, math.prod(shape) - 1: 1}
    path = tmp_path / "large.pt"
    with path.open("wb") as file:
        file.write(template.before)
        for element in marks:
            file.seek(len(template.before) + element * width)
            file.write(b"\1" * width)
        file.seek(len(template.before) + template.nbytes)
        file.write(template.after)
    try:
        for weights_only in (True, False):
            loaded = torch.load(path, mmap=True, weights_only=weights_only)
            assert (loaded.dtype, loaded.shape) == (DTYPES[name], shape)
            assert loaded.data_ptr() % 64 == 0, "a mapped file begins at a page"
            raw = loaded.view(-1).view(torch.uint8) if name != "bool" else loaded
            for element in marks:
                assert raw[element * width : (element + 1) * width].tolist() == [1] * width
            assert not raw[width : width + 1000].any()
            del raw, loaded
        with zipfile.ZipFile(path) as archive:
            assert archive.getinfo("archive/data/0").file_size == template.nbytes
    finally:
        os.truncate(path, 0)


# What the codec makes of it


def coded(name: str, shape: tuple[int, ...], part: int, raw: bytes) -> bytes:
    """A part's payload, as a writer stores it; `raw` is the part's raw bytes."""
    template = container(name, shape)
    begin = len(template.before)
    return template.arguments + (raw[begin : begin + template.nbytes] if part == WHOLE else b"")


def decoded(payload: bytes, parameter: int, size: int) -> bytes:
    out = bytearray(size)
    CODEC.decode(memoryview(payload), parameter, memoryview(out))
    return bytes(out)


def part_of(name: str, tensor: torch.Tensor, part: int) -> bytes:
    template = container(name, tuple(tensor.shape))
    return {WHOLE: whole(name, tensor), BEFORE: template.before, AFTER: template.after}[part]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", CODES)
def test_parts_come_back(name: str, part: int):
    for shape in SHAPES:
        tensor = random_tensor(DTYPES[name], shape)
        raw = part_of(name, tensor, part)
        payload = coded(name, shape, part, raw)
        assert len(payload) <= len(raw), "a chunk is never stored larger than it is"
        assert len(payload) == 2 + sum(len(pack_varint(size)) for size in shape) + (part == WHOLE) * tensor.nbytes
        assert decoded(payload, part, len(raw)) == raw


def test_it_is_the_codec_of_its_id():
    assert isinstance(CODECS[4], Container)
    assert CODECS[4].encode(memoryview(b"PK\3\4" * 100), NO_LANES) is None, "bytes alone don't say what they hold"


SMALL = ("bfloat16", (3, 50))


@pytest.mark.parametrize("part", PARTS)
def test_every_damage_to_a_payload_is_refused_or_another_container(part: int):
    name, shape = SMALL
    raw = part_of(name, random_tensor(DTYPES[name], shape), part)
    payload = coded(name, shape, part, raw)
    for size in range(len(payload)):
        with pytest.raises(CodecError):
            decoded(payload[:size], part, len(raw))
    for more in (b"\0", b"\1\2", payload):
        with pytest.raises(CodecError):
            decoded(payload + more, part, len(raw))
    for at in range(min(len(payload), 12)):
        for bit in range(8):
            damaged = bytearray(payload)
            damaged[at] ^= 1 << bit
            # Only the frame's checksum can tell that it is another tensor's container.
            assert refused(bytes(damaged), part, len(raw)) or damaged[:5] != payload[:5] or part == WHOLE


@pytest.mark.parametrize("parameter", [3, 4, 255, 256, 65535, -1])
def test_an_unknown_part_is_refused(parameter: int):
    raw = part_of(SMALL[0], random_tensor(DTYPES[SMALL[0]], SMALL[1]), BEFORE)
    payload = coded(*SMALL, BEFORE, raw)
    for size in (0, 1, len(raw)):
        with pytest.raises(CodecError):
            decoded(payload, parameter, size)


@pytest.mark.parametrize("part", PARTS)
def test_a_chunk_of_another_size_is_refused(part: int):
    raw = part_of(SMALL[0], random_tensor(DTYPES[SMALL[0]], SMALL[1]), part)
    payload = coded(*SMALL, part, raw)
    for size in (0, 1, len(raw) - 1, len(raw) + 1, 2 * len(raw)):
        with pytest.raises(CodecError):
            decoded(payload, part, size)


def arguments(code: int, shape: tuple[int, ...], dimensions: int | None = None) -> bytes:
    count = len(shape) if dimensions is None else dimensions
    return bytes([code, count]) + b"".join(map(pack_varint, shape))


LARGEST = (1 << 63) - 1
FORGED = {
    "nothing": b"",
    "a dtype alone": b"\x12",
    "an unknown dtype": arguments(99, (3,)),
    "no dtype": arguments(0, (3,)),
    "fewer sizes than it says": arguments(CODES["float32"], (3,), 2),
    "hundreds of sizes missing": arguments(CODES["float32"], (3,), 255),
    "more sizes than it says": arguments(CODES["float32"], (3, 4), 1),
    "a size that never ends": bytes([CODES["float32"], 1]) + b"\xff" * 30,
    "a size in a longer form": bytes([CODES["float32"], 1, 0x83, 0x00]),
    "2^62 elements": arguments(CODES["uint8"], (1 << 62,)),
    "2^62 elements in two dimensions": arguments(CODES["uint8"], (1 << 31, 1 << 31)),
    "2^63 bytes": arguments(CODES["float64"], (1 << 60,)),
    "more bytes than a machine counts": arguments(CODES["float64"], (LARGEST, LARGEST)),
    "all dimensions as large as can be": arguments(CODES["float64"], (LARGEST,) * 255),
    "no elements, strides of any size": arguments(CODES["float64"], (0, *(LARGEST,) * 254)),
    "no elements in the middle": arguments(CODES["uint8"], (*(LARGEST,) * 100, 0, *(LARGEST,) * 100)),
    "more dimensions than torch has": arguments(CODES["uint8"], (1,) * 255),
}


def refused(payload: bytes, parameter: int, size: int) -> bool:
    """Whether the codec refuses; nothing but a CodecError may come of it."""
    try:
        decoded(payload, parameter, size)
    except CodecError:
        return True
    return False


@pytest.mark.parametrize("name", FORGED)
def test_forged_arguments_are_refused_at_no_cost(name: str):
    tracemalloc.start()
    try:
        for part in PARTS:
            for size in (0, 1, 100, 1024):
                assert refused(FORGED[name], part, size)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


SIZES = st.integers(0, 5) | st.integers(0, LARGEST) | st.sampled_from([0, 1, 127, 128, 1 << 31, 1 << 62, LARGEST])


@settings(max_examples=300, deadline=None)
@given(
    code=st.sampled_from(sorted(CODES.values())) | st.integers(0, 255),
    shape=st.lists(SIZES, max_size=255).map(tuple),
    tail=st.binary(max_size=40),
    part=st.integers(0, 3),
    size=st.integers(0, 2000),
    fits=st.booleans(),
)
def test_no_arguments_do_harm(code: int, shape: tuple[int, ...], tail: bytes, part: int, size: int, fits: bool):
    payload = arguments(code, shape[:255]) + tail
    guard, room = 0x5A, 32
    if fits and code in CODES.values() and math.prod(shape) < 100 and max((0, *shape)) < 1 << 40:
        template = container({code: name for name, code in CODES.items()}[code], shape)
        size = {WHOLE: template.size, BEFORE: len(template.before)}.get(part, len(template.after))
    buffer = bytearray([guard]) * (size + 2 * room)
    try:
        CODEC.decode(memoryview(payload), part, memoryview(buffer)[room : room + size])
    except CodecError:
        return
    finally:
        assert set(buffer[:room]) | set(buffer[room + size :]) == {guard}, "bytes were written outside the target"
    # What is accepted is exactly what its arguments say.
    template = container({code: name for name, code in CODES.items()}[code], shape)
    expected = {WHOLE: template.before + tail + template.after, BEFORE: template.before, AFTER: template.after}[part]
    assert bytes(buffer[room : room + size]) == expected


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=60), part=st.integers(0, 3), size=st.integers(0, 1500))
def test_noise_is_refused_or_decoded(payload: bytes, part: int, size: int):
    refused(payload, part, size)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(DTYPES)),
    shape=st.lists(st.integers(0, 6), max_size=6).map(tuple),
    seed=st.integers(0, 1 << 60),
)
def test_any_small_tensor(name: str, shape: tuple[int, ...], seed: int):
    tensor = random_tensor(DTYPES[name], shape, seed)
    content = whole(name, tensor)
    loaded = torch.load(io.BytesIO(content), weights_only=True)
    assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape)
    assert bits(loaded) == bits(tensor)
    assert decoded(coded(name, shape, WHOLE, content), WHOLE, len(content)) == content
