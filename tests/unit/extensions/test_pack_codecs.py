"""Which codec, lanes and level Pack chooses for which item, read back from the frames that it stores."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx import Pack, kernels
from dcpx.codecs.dtypes import ITEM_SIZES
from dcpx.codecs.zstd import Zstd
from dcpx.extension import Item
from dcpx.frame.layout import CHUNK_HEADER_SIZE, ChunkHeader, header_size, parse_chunk_header, parse_header
from tests.support.sinks import Sink

RAW, ZSTD, PLANES, FLOAT, CONTAINER = range(5)
METHOD_PREFIX, METHOD_TANS = 2, 3
ROTATED = 1 << 8


class Stored(NamedTuple):
    """A frame's list of codecs, its chunks' headers, and the payload of each."""

    codecs: tuple[int, ...]
    chunks: list[ChunkHeader]
    payloads: list[bytes]

    def used(self) -> set[int]:
        return {chunk.codec for chunk in self.chunks}

    def largest(self) -> tuple[ChunkHeader, bytes]:
        """The first of the largest chunks: a tensor's elements rather than the container around them."""
        return max(zip(self.chunks, self.payloads, strict=True), key=lambda pair: pair[0].raw)


def parsed(data: bytes) -> Stored:
    header = parse_header(data[: header_size(data)])
    at, chunks, payloads = header.size, [], []
    while data[at] == 1:  # the record's kind
        chunk = parse_chunk_header(data[at : at + CHUNK_HEADER_SIZE], header, len(chunks), at)
        at += CHUNK_HEADER_SIZE + chunk.stored
        chunks.append(chunk)
        payloads.append(data[at - chunk.stored : at])
    return Stored(header.codecs, chunks, payloads)


def item(dtype: str | None = None, name: str = "weight") -> Item:
    return Item(name, None if dtype is None else (0,), dtype, None, False, bytes(16))


def packed(data: bytes, pack: Pack, what: Item | None = None) -> bytes:
    """What Pack stores for one write, and reads back."""
    sink = Sink()
    stream = pack.transform_to(sink) if what is None else pack.transform_item_to(sink, what)  # type: ignore[arg-type]
    stream.write(data)
    stream.close()
    stored = bytes(sink.data)
    assert pack.transform_from(io.BytesIO(stored)).read() == data
    return stored


def stored_items(path: Path) -> dict[str, bytes]:
    metadata = pickle.loads((path / ".metadata").read_bytes())
    return {
        index.fqn: (path / info.relative_path).read_bytes()[info.offset : info.offset + info.length]
        for index, info in metadata.storage_data.items()
    }


def weights(count: int, dtype: torch.dtype = torch.bfloat16, scale: float = 0.02) -> torch.Tensor:
    return (torch.randn(count, generator=torch.Generator().manual_seed(count)) * scale).to(dtype)


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


# --- lanes by dtype -------------------------------------------------------------------------------------------------

PARAMETERS = {
    **dict.fromkeys(["uint8", "int8", "bool"], 1),
    **dict.fromkeys([name for name in ITEM_SIZES if name.startswith("float8")], 1),
    **dict.fromkeys(["uint16", "int16"], 2),
    **dict.fromkeys(["uint32", "int32"], 4),
    **dict.fromkeys(["uint64", "int64"], 8),
    **dict.fromkeys(["bfloat16", "float16", "complex32"], 2 | ROTATED),
    **dict.fromkeys(["float32", "complex64"], 4 | ROTATED),
    **dict.fromkeys(["float64", "complex128"], 8 | ROTATED),
}


def skewed(width: int, size: int) -> bytes:
    """Lanes whose top byte has little entropy and whose other bytes are noise."""
    rng = np.random.default_rng(width)
    lanes = rng.integers(0, 256, (size // width, width), np.uint8)
    lanes[:, -1] = rng.geometric(0.5, len(lanes)).clip(0, 20)
    return lanes.tobytes()


def test_every_dtype_is_listed():
    assert PARAMETERS.keys() == ITEM_SIZES.keys()


@pytest.mark.parametrize("dtype", PARAMETERS)
@pytest.mark.parametrize("level", ["fast", "small"])
def test_lanes_of_every_dtype(dtype: str, level: str):
    data = skewed(PARAMETERS[dtype] & 0xFF, 1 << 15)
    stored = parsed(packed(data, Pack(level=level), item(dtype)))
    (chunk,) = stored.chunks
    assert (chunk.codec, chunk.parameter) == (FLOAT, PARAMETERS[dtype])
    # "small" takes whichever of both codes is smaller here.
    methods = (METHOD_PREFIX,) if level == "fast" else (METHOD_PREFIX, METHOD_TANS)
    assert stored.payloads[0][(chunk.parameter & 0xFF) - 1] in methods


@pytest.mark.parametrize("codec", ["auto", "planes", "zstd"])
def test_small_is_never_larger_than_fast(codec: str):
    generator = torch.Generator().manual_seed(2)
    for data in (
        torch.randint(0, 10**6, (50_000,), generator=generator).sort().values,
        torch.randn(500, 64, generator=generator).repeat(4, 1),
        weights(100_000),
        weights(50_000, torch.float32),
        (torch.rand(50_000, generator=generator) ** 9 * 30_000).to(torch.int64),
    ):
        known = item(str(data.dtype).removeprefix("torch."))
        fast, small = (len(packed(raw(data), Pack(codec, level=level), known)) for level in ("fast", "small"))
        assert small <= fast


@pytest.mark.parametrize("dtype", [name for name, parameter in PARAMETERS.items() if parameter != 1])
def test_planes_of_every_dtype(dtype: str):
    width = PARAMETERS[dtype] & 0xFF
    stored = parsed(packed(skewed(width, 1 << 15), Pack("planes"), item(dtype)))
    assert [(chunk.codec, chunk.parameter) for chunk in stored.chunks] == [(PLANES, width)]


@pytest.mark.parametrize(
    ("codec", "listed"),
    [("auto", (RAW, ZSTD, PLANES, FLOAT)), ("planes", (RAW, ZSTD, PLANES)), ("zstd", (RAW, ZSTD)), ("raw", (RAW,))],
)
@pytest.mark.parametrize("level", ["fast", "small"])
def test_codecs_listed_in_the_header(codec: str, listed: tuple[int, ...], level: str):
    stored = parsed(packed(raw(weights(1 << 15)), Pack(codec, level=level), item("bfloat16")))
    assert stored.codecs == listed
    assert stored.used() == {{"auto": FLOAT, "planes": PLANES, "zstd": ZSTD, "raw": RAW}[codec]}


def test_small_is_smaller():
    data = raw(weights(1 << 19))
    for codec in ("auto", "zstd"):
        fast, small = (len(packed(data, Pack(codec, level=level), item("bfloat16"))) for level in ("fast", "small"))
        assert small <= fast * 1.001
    assert len(packed(data, Pack(level="small"), item("bfloat16"))) < len(packed(data, Pack(), item("bfloat16")))


# --- the policy -----------------------------------------------------------------------------------------------------


def test_a_policy_is_asked_and_obeyed(tmp_path: Path):
    choices = {"auto": None, "zstd": "zstd", "planes": "planes", "raw": "raw", "small": "small", "fast": "fast"}
    asked: list[Item] = []

    def policy(one: Item) -> str | None:
        asked.append(one)
        return choices.get(one.fqn)

    state: dict[str, Any] = {name: weights(1 << 15) for name in choices} | {"an object": ["x" * 100] * 3}
    dcpx.save(state, tmp_path / "c", pack=Pack(policy=policy))
    assert {one.fqn: (one.dtype, one.shape, one.offsets) for one in asked} == {
        **dict.fromkeys(choices, ("bfloat16", (1 << 15,), (0,))),
        "an object": (None, None, None),
    }
    found = {name: parsed(data) for name, data in stored_items(tmp_path / "c").items()}
    coded = {name: stored.largest() for name, stored in found.items()}
    codecs = {name: chunk.codec for name, (chunk, _) in coded.items() if name in choices}
    assert codecs == {"auto": FLOAT, "zstd": ZSTD, "planes": PLANES, "raw": RAW, "small": FLOAT, "fast": FLOAT}
    assert found["raw"].codecs == (RAW, CONTAINER)
    methods = {name: coded[name][1][1] for name in ("auto", "fast", "small")}
    assert methods == {"auto": METHOD_PREFIX, "fast": METHOD_PREFIX, "small": METHOD_TANS}
    loaded = {name: torch.zeros(1 << 15, dtype=torch.bfloat16) for name in choices} | {"an object": None}
    dcpx.load(loaded, tmp_path / "c")
    assert loaded["an object"] == state["an object"]
    assert all(raw(loaded[name]) == raw(state[name]) for name in choices)


def test_a_policy_changes_one_of_codec_and_level():
    data = raw(weights(1 << 15))
    small = parsed(packed(data, Pack("raw", level="small", policy=lambda one: "auto"), item("bfloat16")))
    assert small.payloads[0][1] == METHOD_TANS
    planes = parsed(packed(data, Pack("planes", policy=lambda one: "small"), item("bfloat16")))
    assert planes.used() == {PLANES}


@pytest.mark.parametrize("choice", ["best", "", "AUTO", 7, b"raw", ["raw"], True])
def test_choices_that_are_none(choice: Any):
    pack = Pack(policy=lambda one: choice)
    with pytest.raises(ValueError):
        pack.transform_item_to(io.BytesIO(), item("bfloat16"))
    with pytest.raises(ValueError):
        Pack(choice)
    with pytest.raises(ValueError):
        Pack(level=choice)


def test_levels_are_no_codecs_and_codecs_no_levels():
    for level in ("fast", "small"):
        with pytest.raises(ValueError):
            Pack(level)
    for codec in ("auto", "planes", "zstd", "raw"):
        with pytest.raises(ValueError):
            Pack(level=codec)


# --- what pays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["auto", "planes", "zstd", "raw"])
@pytest.mark.parametrize("dtype", [None, "bfloat16", "float32", "int64", "uint8"])
def test_noise_is_stored_raw(codec: str, dtype: str | None):
    data = np.random.default_rng(0).bytes((1 << 20) + 12345)
    stored = packed(data, Pack(codec), item(dtype))
    assert parsed(stored).used() == {RAW}
    assert len(stored) < len(data) + 300


def rows() -> torch.Tensor:
    """The same rows again and again, as in an expanded tensor that was made contiguous."""
    return weights(1000, torch.float32).repeat(1000)


def padded() -> torch.Tensor:
    """Rows that end in zeros."""
    tensor = torch.zeros(1024, 1024)
    tensor[:, :50] = weights(1024 * 50, torch.float32).view(1024, 50)
    return tensor


def sparse() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    tensor = torch.zeros(1 << 20)
    tensor[torch.randint(0, 1 << 20, (1 << 13,), generator=generator)] = weights(1 << 13, torch.float32)
    return tensor


@pytest.mark.parametrize(("make", "most"), [(rows, 0.05), (padded, 0.7), (sparse, 0.7)])
def test_what_repeats_itself_goes_to_zstandard(make: Callable[[], torch.Tensor], most: float):
    data = raw(make())
    pieces = [data[start : start + (1 << 20)] for start in range(0, len(data), 1 << 20)]
    coded = [kernels.float_encode(piece, 4, True, False) for piece in pieces]
    alone = sum(len(one[1] if one else piece) for one, piece in zip(coded, pieces, strict=True))
    for what in (item("float32"), None):
        stored = packed(data, Pack(), what)
        assert parsed(stored).used() <= {ZSTD, PLANES}
        assert len(stored) < alone * most


def second_moments() -> torch.Tensor:
    """Positive, each row of its own magnitude, and within a row near each other."""
    generator = torch.Generator().manual_seed(1)
    scales = torch.exp2(-10 * torch.rand(1024, 1, generator=generator) - 20)
    return torch.rand(1024, 512, generator=generator).add(0.5) * scales


def ascending(dtype: torch.dtype, most: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, most, (1 << 18,), generator=generator, dtype=dtype).sort().values


@pytest.mark.parametrize(
    ("make", "form", "most"),
    [
        (second_moments, 2, 0.82),
        (lambda: ascending(torch.int32, 1 << 20), 2, 0.15),
        (lambda: ascending(torch.int64, 1 << 40), 2, 0.4),
        (lambda: torch.arange(1 << 18), 2, 0.001),
        (lambda: torch.arange(1 << 20, 0, -3, dtype=torch.int32), 2, 0.001),
        (lambda: torch.arange(512).repeat(512), 2, 0.003),
        (lambda: torch.full((1 << 18,), 4711), 0, 0.001),
        (lambda: torch.rand(1 << 20, generator=torch.Generator().manual_seed(3)) < 0.1, 3, 0.07),
    ],
    ids=["moments", "int32", "int64", "counting", "downwards", "positions", "constant", "mask"],
)
def test_what_needs_no_matches_is_coded_in_its_form(make: Callable[[], torch.Tensor], form: int, most: float):
    tensor = make()
    data = raw(tensor)
    stored = packed(data, Pack(), item(str(tensor.dtype).removeprefix("torch.")))
    chunk, _ = parsed(stored).largest()
    assert (chunk.codec, chunk.parameter >> 8) == (FLOAT, form)
    assert len(stored) < len(data) * most


def test_matches_are_tried_on_a_part_and_given_up_where_they_do_not_pay(monkeypatch: pytest.MonkeyPatch):
    """A mask's strings repeat, and matches would cost more than its bits."""
    mask, tried = (torch.rand(1 << 20, generator=torch.Generator().manual_seed(3)) < 0.1), []
    encode = Zstd.encode
    monkeypatch.setattr(Zstd, "encode", lambda self, data, lanes: tried.append(len(data)) or encode(self, data, lanes))
    packed(raw(mask), Pack(), item("bool"))
    assert sum(tried) <= len(raw(mask)) // 8


@pytest.mark.parametrize("length", [1, 7, 500, 999, 1001, 3001, 5000])
def test_rows_of_any_length_are_noticed(length: int):
    data = raw(weights(length).repeat(-(-(1 << 19) // length)))
    assert len(packed(data, Pack(), item("bfloat16"))) < len(data) // 10


def test_constant_tensors_take_next_to_nothing():
    for dtype, value in ((torch.float32, 0.0), (torch.bfloat16, 1.0), (torch.int64, -3)):
        data = raw(torch.full((1 << 19,), value, dtype=dtype))
        assert len(packed(data, Pack(), item(str(dtype).removeprefix("torch.")))) < 1000


# --- real tensors, and who tells their dtype ------------------------------------------------------------------------


def stored_by(state: dict[str, Any], path: Path, stock: bool) -> dict[str, bytes]:
    if stock:
        dcp.save(state, storage_writer=FileSystemWriter(path, _extensions=[Pack()], sync_files=False))
    else:
        dcpx.save(state, path, pack=Pack())
    return stored_items(path)


def test_weights_in_bfloat16(tmp_path: Path):
    state = {"weight": weights(1 << 21).view(1024, -1)}
    for stock in (False, True):
        stored = stored_by(state, tmp_path / f"stock={stock}", stock)["weight"]
        assert len(stored) / (2 << 21) < 0.70
        assert parsed(stored).largest()[0].parameter == 2 | ROTATED


MOST = {"bfloat16": 0.68, "float16": 0.87, "float32": 0.85, "float64": 0.9, "float8_e4m3fn": 0.9, "float8_e5m2": 0.85}


def test_a_stock_writer_stores_as_little(tmp_path: Path):
    # It hands over no dtype: the container's pickle tells it.
    state = {name: weights(1 << 19, getattr(torch, name), 1.0) for name in MOST}
    ours, stock = (stored_by(state, tmp_path / f"stock={stock}", stock) for stock in (False, True))
    for name, tensor in state.items():
        assert len(ours[name]) / tensor.nbytes < MOST[name], name
        assert abs(len(stock[name]) - len(ours[name])) < 0.01 * len(ours[name]), name
        assert parsed(stock[name]).largest()[0].parameter == PARAMETERS[name], name


@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_bytes_that_are_weights_are_recognised(shift: int):
    # What a planner hands over as io.BytesIO is written as it is; a pickle of bytes puts them anywhere.
    blob = b"x" * shift + raw(weights(1 << 20))
    for what in (item(), None):
        stored = packed(blob, Pack(), what)
        assert parsed(stored).largest()[0].parameter & 0xFF == 2
        assert len(stored) < 0.70 * len(blob)


def test_texts_are_recognised():
    text = "".join(f"{number}: a line of text, number {number * 7919 % 1000}\n" for number in range(20000)).encode()
    stored = packed(text, Pack(), item())
    assert parsed(stored).used() == {ZSTD}
    assert len(stored) < 0.25 * len(text)


@pytest.mark.parametrize("lanes", [(1, False), (2, False), (2, True), (4, True), (8, False), (8, True)])
def test_a_wrong_guess_costs_only_bytes(lanes: tuple[int, bool], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "sniff_lane", lambda data: lanes)
    for data in (raw(weights(1 << 15)), raw(weights(20001, torch.float64))[3:-2], bytes(99999), b"text " * 5000):
        for codec in ("auto", "planes", "zstd"):
            assert len(packed(data, Pack(codec))) < len(data) + 200
