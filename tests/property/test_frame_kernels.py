"""The frames that the kernels check, decode and make, against what Python makes of the same bytes and values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx import DcpxError, kernels
from dcpx.catalog.frames import (
    HEAD,
    KNOWN_CODECS,
    checked_hint,
    expected,
    frame_form,
    frame_map,
    holds_own_container,
    own_container,
    whole_elements,
)
from dcpx.catalog.items import StoredItem
from dcpx.catalog.manifest import Seal
from dcpx.catalog.plain import MetadataIndex, StorageInfo
from dcpx.codecs import CODECS, Lanes
from dcpx.codecs.auto import Smallest
from dcpx.codecs.dtypes import CODES, ITEM_SIZES
from dcpx.extensions.pack import Pack
from dcpx.frame.builder import FrameBuilder
from dcpx.frame.chunks import KnownChunk, encode_chunk
from dcpx.frame.layout import Header, ItemKey, TensorHint, pack_final, pack_header, pack_hint, pack_key, parse_header

sys.path.append(str(Path(__file__).parents[1] / "fault"))

from forge import Chunk, field, frame, header

VECTORS = sorted((Path(__file__).parents[2] / "spec" / "vectors").glob("*.frame"))
SAVE = bytes(range(16))


def item_of(
    fqn: str,
    offsets: tuple[int, ...] | None,
    dtype: str,
    shape: tuple[int, ...],
    save_id: str | None = None,
    seal: int | None = None,
) -> StoredItem:
    info = StorageInfo("file", 0, 0, [Pack().get_descriptor()])
    sealed = None if seal is None else Seal.of_frame(seal)
    return StoredItem(info, MetadataIndex(fqn, offsets, None), save_id, shape, dtype, sealed)


def by_python(item: StoredItem, data: bytes) -> bytes | None:
    """The elements, as a load finds them in Python; None where it refuses the frame, or goes through its container, or
    where a chunk is of a codec that the kernels don't know."""

    def record(number: int) -> memoryview:
        begin, size = found.record(number)
        return memoryview(data)[begin : begin + size]

    try:
        found = frame_map(item, data[:HEAD], lambda offset, count: data[offset : offset + count], len(data))
        hint = checked_hint(item, found)
        if hint is None:
            return None
        elements = whole_elements(found, hint, record)
        if elements is not None:
            return bytes(elements)
        if not holds_own_container(found, hint, record):
            return None
        numbers = range(1, found.count - 1)
        if any(record(number)[1] not in (0, 3) for number in numbers):
            return None
        outs = [bytearray(found.raw_size(number)) for number in numbers]
        for number, out in zip(numbers, outs, strict=True):
            found.decode(number, record(number), memoryview(out))
        return b"".join(outs)
    except DcpxError:
        return None


def by_kernels(item: StoredItem, data: bytes) -> bytes | None:
    wanted = expected(item)
    assert wanted is not None
    out = bytearray(item.nbytes)
    save = None if item.save_id is None else bytes.fromhex(item.save_id)
    # Surrounded by other bytes, as in a file.
    refused = kernels.unpack_frames(b"\1" + data + b"\1", [(1, len(data), out, *wanted)], save, KNOWN_CODECS)
    return None if refused else bytes(out)


def compare(item: StoredItem, data: bytes) -> bytes | None:
    """Both find the same, which is returned."""
    found = by_kernels(item, data)
    assert found == by_python(item, data)
    return found


def items_for(data: bytes) -> list[StoredItem]:
    """What may be asked of a vector: what it says that it is, and what it isn't."""
    found = [item_of("w", (0,), "float32", (4,))]
    try:
        said = parse_header(data[: int.from_bytes(data[12:16], "little")])
    except DcpxError:
        return found
    key = said.key or ItemKey("w", (0,))
    hint = said.hint or TensorHint("float32", (4,), 0)
    if hint.nbytes < 1 << 24:
        save = None if said.checkpoint is None else said.checkpoint.hex()
        own = item_of(key.fqn, key.offsets, hint.dtype, hint.shape, save, said.checksum)
        found += [own, item_of(key.fqn + "x", key.offsets, hint.dtype, hint.shape)]
        found += [item_of(key.fqn, key.offsets, hint.dtype, hint.shape, SAVE.hex())]
        found += [item_of(key.fqn, key.offsets, hint.dtype, hint.shape, save, said.checksum ^ 1)]
        found += [item_of(key.fqn, key.offsets, hint.dtype, (*hint.shape, 1))]
    return found


def honest(
    elements: bytes, dtype: str, shape: tuple[int, ...], sizes: Sequence[int], codec: int, lanes: Lanes, **fields: Any
) -> bytes:
    """A tensor's frame as Python makes it, from elements cut in chunks of `sizes`; without any, as one whole chunk."""
    own = own_container(dtype, shape)
    head = Header(4096, (0, codec, 4) if codec else (0, 4), hint=own.hint, **fields)
    packed = pack_header(head)
    head = parse_header(packed)
    if not sizes:
        chunks = [own.whole(memoryview(elements))]
    else:
        chunks, rest = [own.before], memoryview(elements)
        while rest:
            size = min(len(rest), sizes[(len(chunks) - 1) % len(sizes)])
            raw, rest = rest[:size], rest[size:]
            for one in FrameBuilder(head).cut(raw, Smallest(CODECS[codec]), lanes, still=True):
                stored = encode_chunk(one)
                chunks.append(KnownChunk(*stored[:2], bytes(stored.payload), *stored[3:]))
        chunks.append(own.after)
    records = b"".join(chunk.record(number, head) for number, chunk in enumerate(chunks))
    return packed + records + pack_final([chunk.entry for chunk in chunks], head)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vectors_and_their_prefixes(path: Path):
    data = path.read_bytes()
    for item in items_for(data):
        assert compare(item, data) is None or not path.stem.startswith("bad")
    item = items_for(data)[min(1, len(items_for(data)) - 1)]
    step = max(len(data) // 500, 1)
    for end in {*range(0, len(data), step), *range(min(200, len(data))), *range(max(len(data) - 100, 0), len(data))}:
        assert compare(item, data[:end]) is None
        compare(item, data[:end] + data[end:][::-1])


FRAMES = {
    "whole": honest(bytes(range(16)), "float32", (4,), (), 0, Lanes(4), key=ItemKey("w", (0,)), checkpoint=SAVE),
    "parts": honest(bytes(range(16)), "float32", (4,), (8,), 0, Lanes(4), key=ItemKey("w", (0,)), checkpoint=SAVE),
    "empty": honest(b"", "float32", (0,), (8,), 0, Lanes(4), key=ItemKey("w", (0,)), checkpoint=SAVE),
    "coded": honest(bytes(120), "float32", (30,), (60,), 3, Lanes(4, True), key=ItemKey("w", (0,)), checkpoint=SAVE),
}
SHAPES = {"whole": (4,), "parts": (4,), "empty": (0,), "coded": (30,)}


@pytest.mark.parametrize("name", FRAMES)
def test_every_bit(name: str):
    data = FRAMES[name]
    item = item_of("w", (0,), "float32", SHAPES[name], SAVE.hex())
    right = compare(item, data)
    assert right is not None
    assert len(right) == item.nbytes
    for place in range(8 * len(data)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        assert compare(item, bytes(changed)) in (None, right)
    for extra in (b"\0", data[-16:], data):
        assert compare(item, data + extra) is None


def test_another_item_is_refused():
    data = FRAMES["parts"]
    hash_ = parse_header(data[: int.from_bytes(data[12:16], "little")]).checksum
    assert compare(item_of("w", (0,), "float32", (4,), SAVE.hex(), hash_), data) is not None
    assert compare(item_of("w", (0,), "float32", (4,)), data) is not None
    for other in (
        item_of("v", (0,), "float32", (4,)),
        item_of("w", None, "float32", (4,)),
        item_of("w", (1,), "float32", (4,)),
        item_of("w", (0, 0), "float32", (4,)),
        item_of("w", (0,), "int32", (4,)),
        item_of("w", (0,), "float32", (2, 2)),
        item_of("w", (0,), "float32", (4,), bytes(16).hex()),
        item_of("w", (0,), "float32", (4,), None, hash_ ^ 1),
    ):
        assert compare(other, data) is None


# --- forged: the checksums are right, but what they cover isn't -------------------------------------------------------


def own_chunks(dtype: str, shape: tuple[int, ...], elements: bytes, sizes: Sequence[int]) -> list[Chunk]:
    own = own_container(dtype, shape)
    before, after = own.template.before, own.template.after
    if not sizes:
        return [Chunk(before + elements + after, own.template.arguments + elements, 4, 0)]
    chunks, rest = [Chunk(before, own.template.arguments, 4, 1)], elements
    while rest:
        size = sizes[(len(chunks) - 1) % len(sizes)]
        chunks.append(Chunk(rest[:size]))
        rest = rest[size:]
    return [*chunks, Chunk(after, own.template.arguments, 4, 2)]


CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "codec": st.integers(0, 255),
    "parameter": st.integers(0, 3),
    "kind": st.integers(0, 3),
    "index": st.integers(0, 5),
    "stored_size": st.integers(0, 5000),
    "raw_size": st.integers(0, 5000),
    "content": st.integers(0, 9),
    "raw": st.binary(max_size=30),
    "payload": st.binary(max_size=30),
    "entry": st.tuples(st.integers(0, 60), st.integers(0, 5000), st.integers(0, 9)),
}
FIELDS = st.sampled_from(
    [
        field(0x01, pack_key(ItemKey("w", (0,)))),
        field(0x01, pack_key(ItemKey("w", None))),
        field(0x01, b"\x01\x80\x00w"),
        field(0x02, b"\x12\x01\x00\x04"),
        field(0x03, SAVE),
        field(0x03, SAVE[1:]),
        field(0x04, b"later"),
        field(0x81, b"\0\3\4"),
        field(0x81, b"\4\3\0"),
        field(0x81, b"\0\3"),
        field(0x81, b""),
        field(0x81, b"\0\4\7"),
        field(0x82, b"?"),
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_forged(data: st.DataObject):
    dtype, shape = data.draw(st.sampled_from([("float32", (4,)), ("bfloat16", (3, 2)), ("uint8", ()), ("int64", (0,))]))
    nbytes = int(np.prod(shape, dtype=int)) * ITEM_SIZES[dtype]
    elements = bytes(range(nbytes))
    sizes = data.draw(st.lists(st.integers(1, 9), max_size=3))
    chunks = own_chunks(dtype, shape, elements, sizes)
    for name in data.draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=2)):
        number = data.draw(st.integers(0, len(chunks) - 1))
        chunks[number] = replace(chunks[number], **{name: data.draw(CHANGES[name])})
    order = data.draw(st.sampled_from([slice(None), slice(None, None, -1), slice(1, None), slice(None, -1)]))
    hint = field(0x02, pack_hint(own_container(dtype, shape).hint))
    usual = field(0x01, pack_key(ItemKey("w", (0,)))) + hint + field(0x03, SAVE) + field(0x81, b"\0\3\4")
    odd = st.lists(FIELDS, max_size=4).map(b"".join)
    head = header(data.draw(st.just(usual) | st.just(hint + field(0x81, b"\0\4")) | odd))
    save = data.draw(st.sampled_from([None, SAVE.hex(), bytes(16).hex()]))
    compare(item_of("w", (0,), dtype, shape, save), frame(chunks[order], head))


# --- tensors of all kinds ---------------------------------------------------------------------------------------------

SHAPE = st.lists(st.integers(0, 9), max_size=4).map(tuple)
OFFSETS = st.none() | st.lists(st.integers(0, 1 << 40), max_size=4).map(tuple)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CODES)), SHAPE, st.text(max_size=9), OFFSETS, st.none() | st.just(SAVE), st.data())
def test_whatever_is_packed_is_unpacked(
    dtype: str,
    shape: tuple[int, ...],
    fqn: str,
    offsets: tuple[int, ...] | None,
    save: bytes | None,
    data: st.DataObject,
):
    item = item_of(fqn, offsets, dtype, shape, data.draw(st.sampled_from([None, SAVE.hex()])))
    elements = np.random.default_rng(0).bytes(item.nbytes)
    codec = data.draw(st.sampled_from([0, 3]))
    width = ITEM_SIZES[dtype]
    sizes = data.draw(st.lists(st.integers(1, 300).map(lambda size: size * width), max_size=2))
    lanes = Lanes(min(width, 8))
    if not sizes and own_container(dtype, shape).template.size > 4096:
        sizes = [4096 // width * width]
    made = honest(elements, dtype, shape, sizes, codec, lanes, key=ItemKey(fqn, offsets), checkpoint=save)
    assert compare(item, made) == elements
    at, value = data.draw(st.integers(0, len(made) - 1)), data.draw(st.integers(0, 255))
    assert compare(item, made[:at] + bytes([value]) + made[at + 1 :]) in (None, elements)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CODES)), SHAPE, st.none() | st.text(max_size=9), OFFSETS, st.none() | st.just(SAVE))
def test_what_the_kernels_pack_is_what_python_packs(
    dtype: str, shape: tuple[int, ...], fqn: str | None, offsets: tuple[int, ...] | None, save: bytes | None
):
    own = own_container(dtype, shape)
    elements = np.random.default_rng(0).bytes(own.template.nbytes)
    key = None if fqn is None else ItemKey(fqn, offsets)
    chunk_size = -(-own.template.size // 4096) * 4096
    head = Header(chunk_size, (0, 1, 4), key, own.hint, save)
    packed = pack_header(head)
    whole, parsed = own.whole(memoryview(elements)), parse_header(packed)
    job = elements, None if key is None else pack_key(key), frame_form(dtype, shape), b"\0\1\4"
    found = kernels.pack_frames([job, job], chunk_size, save)
    assert found == [(packed + whole.record(0, parsed) + pack_final([whole.entry], parsed), parsed.checksum)] * 2
    builder = FrameBuilder(head)
    assert (builder.head, builder.header) == (packed, parsed._replace(codecs=(0, 1, 4)))
    chunks = [own.before, KnownChunk(1, 0, b"payload", 4000, 1 << 63), own.after]
    assert [builder.known(chunk) for chunk in chunks] == [chunk.record(n, parsed) for n, chunk in enumerate(chunks)]
    assert builder.tail() == pack_final([chunk.entry for chunk in chunks], parsed)


# --- the binding ------------------------------------------------------------------------------------------------------


def test_a_name_that_is_too_long_for_a_header():
    with pytest.raises(ValueError, match="must not exceed"):
        FrameBuilder(Header(4096, (0,), ItemKey("n" * 70_000)))


def test_jobs_that_make_no_sense():
    found = frame_form("float32", (4,))
    good = (0, 30, bytearray(16), b"k", found, None)
    assert kernels.unpack_frames(bytes(30), [good], None, 1) == [0]
    for number, wrong in ((0, 1), (0, -1), (1, 31), (2, bytearray(15)), (2, bytes(16)), (2, 0), (3, None), (4, None)):
        job: Any = (*good[:number], wrong, *good[number + 1 :])
        with pytest.raises((ValueError, TypeError, RuntimeError, BufferError, OverflowError)):
            kernels.unpack_frames(bytes(30), [job], None, 1)
    for bad in ([good[:5]], [None]):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            kernels.unpack_frames(bytes(30), bad, None, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 bytes"):
        kernels.unpack_frames(bytes(30), [], b"short", 1)
    with pytest.raises(ValueError, match="more than a chunk"):
        kernels.pack_frames([(bytes(16), None, found, b"\0\4")], 100, None)
    with pytest.raises(ValueError, match="another size"):
        kernels.pack_frames([(bytes(15), None, found, b"\0\4")], 4096, None)
