"""Frames as streams: whatever is written comes back, whichever way it is read, and damage has one kind of error."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx.codecs import CODECS, Lanes
from dcpx.codecs.auto import Smallest
from dcpx.codecs.dtypes import ITEM_SIZES
from dcpx.errors import CorruptError, DcpxError, LimitError, UnsupportedError
from dcpx.frame import Coding, FrameWriter, Header, ItemKey, Limits, StreamedFrameReader, TensorHint, open_frame
from dcpx.frame.layout import header_size, pack_header, parse_final, parse_header
from dcpx.frame.reader import IndexedFrameReader
from dcpx.frame.writer import OWN_CHUNK
from tests.fault.forge import Pipe
from tests.support.sinks import Kept

CHUNK = 4096
REFUSALS = (CorruptError, UnsupportedError, LimitError)

SIZES = st.sampled_from(
    [0, 1, 2, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, OWN_CHUNK - 1, OWN_CHUNK, OWN_CHUNK + 1, 5 * CHUNK + 3]
) | st.integers(0, 3 * CHUNK)
CODINGS = st.sampled_from(
    [
        Coding(Smallest(CODECS[0])),
        Coding(Smallest(CODECS[1])),
        *(Coding(Smallest(CODECS[2]), Lanes(width)) for width in (2, 4, 8)),
    ]
)


def content(kind: str, size: int, seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    if kind == "noise":
        return generator.bytes(size)
    if kind == "weights":
        return (
            (generator.normal(0, 0.02, size // 2 + 1).astype(np.float32).view(np.uint32) >> 16)
            .astype("<u2")
            .tobytes()[:size]
        )
    return (b"the same text again, %d " % seed * (size // 20 + 1))[:size]


WRITES = st.lists(
    st.builds(content, st.sampled_from(["noise", "weights", "text"]), SIZES, st.integers(0, 1000)), max_size=6
)


HEADER = Header(CHUNK, (0, 1, 2))


def write(
    writes: Sequence[bytes | memoryview], coding: Coding, payload: Coding | None = None, header: Header = HEADER
) -> bytes:
    sink = Kept()
    with FrameWriter(sink, header, coding, lambda before, data: payload or coding) as writer:
        for data in writes:
            assert writer.write(data) == memoryview(data).nbytes
    return sink.getvalue()


READS = st.lists(
    st.tuples(st.sampled_from(["set", "cur", "end", "read", "readinto", "all"]), st.integers(0, 6 * CHUNK)), max_size=12
)


@settings(max_examples=120, deadline=None)
@given(WRITES, CODINGS, CODINGS, READS, st.booleans(), st.integers(0, 20))
def test_any_reads_of_a_seekable_frame(
    writes: list[bytes], coding: Coding, payload: Coding, reads: list[tuple[str, int]], views: bool, before: int
):
    data = write([memoryview(bytearray(one)) if views else one for one in writes], coding, payload)
    stored = io.BytesIO(bytes(before) + data)
    stored.seek(before)
    model = io.BytesIO(b"".join(writes))
    total = len(model.getbuffer())
    with open_frame(stored) as reader:
        assert isinstance(reader, IndexedFrameReader)
        assert (reader.total, reader.seekable(), reader.readable(), reader.writable()) == (total, True, True, False)
        for action, number in reads:
            if action == "read":
                assert reader.read(number) == model.read(number)
            elif action == "all":
                assert reader.read() == model.read()
            elif action == "readinto":
                ours, theirs = bytearray(number), bytearray(number)
                assert reader.readinto(ours) == model.readinto(theirs)
                assert ours == theirs
            elif action == "set":
                assert reader.seek(number) == model.seek(number)
            elif action == "cur":
                assert reader.seek(number - 100 if number >= 100 and reader.tell() >= 100 else number, os.SEEK_CUR) >= 0
                model.seek(reader.tell())
            else:
                assert reader.seek(-min(number, total), os.SEEK_END) == model.seek(-min(number, total), os.SEEK_END)
            assert reader.tell() == model.tell()
        reader.seek(0)
        assert reader.read() == model.getvalue()
    assert stored.closed


@settings(max_examples=80, deadline=None)
@given(WRITES, CODINGS, CODINGS, st.lists(st.integers(0, 3 * CHUNK), max_size=8), st.sampled_from([1, 37, 1 << 20]))
def test_any_reads_of_a_stream(writes: list[bytes], coding: Coding, payload: Coding, sizes: list[int], most: int):
    data, model = write(writes, coding, payload), io.BytesIO(b"".join(writes))
    with open_frame(Pipe(data, max(most, len(data) // 500))) as reader:
        assert isinstance(reader, StreamedFrameReader)
        assert not reader.seekable()
        for size in sizes:
            assert reader.read(size) == model.read(size)
        assert reader.read() == model.read()
        assert reader.read(1) == reader.read() == b""


@settings(max_examples=30, deadline=None)
@given(WRITES, CODINGS, CODINGS, st.integers(0, 2**63 - 1))
def test_the_digest_tells_the_content_not_the_coding(writes: list[bytes], one: Coding, other: Coding, offset: int):
    keyed = HEADER._replace(key=ItemKey("another", (offset,)))
    digests = [
        open_frame(io.BytesIO(data)).digest  # type: ignore[attr-defined]
        for data in (write(writes, one), write(writes, other), write(writes, other, header=keyed))
    ]
    assert digests[0] == digests[1] == digests[2]
    changed = [*writes, b"x"]
    assert open_frame(io.BytesIO(write(changed, one))).digest != digests[0]  # type: ignore[attr-defined]


def test_reads_into_empty_and_typed_buffers():
    values = np.arange(3000, dtype=np.float64)
    for reader in (open_frame(io.BytesIO(write([values.tobytes()], Coding(Smallest(CODECS[2]), Lanes(8))))),):
        assert reader.readinto(memoryview(bytearray())) == 0
        target = np.zeros(3000)
        assert reader.readinto(memoryview(target)) == target.nbytes
        assert np.array_equal(target, values)


@pytest.mark.parametrize("seekable", [True, False])
def test_a_total_beyond_the_limit_is_refused(seekable: bool):
    data = write([bytes(5000)], Coding(Smallest(CODECS[1])))
    for limit, fits in ((5000, True), (4999, False), (0, False)):
        source = io.BytesIO(data) if seekable else Pipe(data, 1 << 20)
        if fits:
            assert open_frame(source, Limits(total=limit)).read() == bytes(5000)
        else:
            with pytest.raises(LimitError):
                open_frame(source, Limits(total=limit)).read()
    with pytest.raises(LimitError):
        open_frame(
            io.BytesIO(write([b"x"], Coding(Smallest(CODECS[0])), header=Header(8192, (0,)))), Limits(chunk_size=4096)
        )


@pytest.mark.parametrize("seekable", [True, False])
def test_a_reader_that_failed_keeps_failing(seekable: bool):
    # Going on after an error must not look like a shorter item.
    data = bytearray(write([content("noise", 3 * CHUNK, 1)], Coding(Smallest(CODECS[0]))))
    data[len(data) // 2] ^= 1
    reader = open_frame(io.BytesIO(data) if seekable else Pipe(bytes(data), 1 << 20))
    for _ in range(4):
        with pytest.raises(CorruptError):
            reader.read()


# --- headers --------------------------------------------------------------------------------------------------------

NUMBERS = st.integers(0, 2**63 - 1) | st.integers(0, 300)
NAMES = st.text(max_size=40) | st.text(st.characters(), max_size=10)
HEADERS = st.builds(
    Header,
    chunk_size=st.integers(CHUNK, 16 << 20),
    codecs=st.sets(st.integers(0, 255), min_size=1).map(lambda ids: tuple(sorted(ids))),
    key=st.none() | st.builds(ItemKey, NAMES, st.none() | st.lists(NUMBERS, max_size=9).map(tuple)),
    hint=st.none()
    | st.builds(TensorHint, st.sampled_from(sorted(ITEM_SIZES)), st.lists(NUMBERS, max_size=9).map(tuple), NUMBERS),
    checkpoint=st.none() | st.binary(min_size=16, max_size=16),
    base=st.none(),
    size=st.just(0),
    checksum=st.just(0),
)


@settings(max_examples=300, deadline=None)
@given(HEADERS)
def test_any_header_comes_back(header: Header):
    data = pack_header(header)
    assert header_size(data[:20]) == len(data)
    parsed = parse_header(data)
    assert parsed._replace(size=0, checksum=0) == header
    assert (parsed.size, parsed.checksum) == (len(data), int.from_bytes(data[-8:], "little"))


def test_names_that_are_no_unicode_come_back():
    for name in ("\ud800", "a\udfffb", "", "\0", "…" * 1000, "x" * 60000):
        header = Header(CHUNK, (0,), key=ItemKey(name, ()))
        assert parse_header(pack_header(header)).key == header.key


@pytest.mark.parametrize("dimensions", [1, 63, 64, 65, 66, 70, 128, 254, 255, 256, 300])
@pytest.mark.parametrize("part", ["key", "hint"])
def test_what_could_not_be_read_is_not_written(part: str, dimensions: int):
    key = ItemKey("many", (0,) * dimensions) if part == "key" else None
    hint = TensorHint("int8", (1,) * dimensions, 7) if part == "hint" else None
    header = Header(CHUNK, (0,), key=key, hint=hint)
    try:
        data = pack_header(header)
    except ValueError:
        assert dimensions > 64
        return
    parsed = parse_header(data)
    assert (parsed.key, parsed.hint) == (key, hint)


def test_what_fits_no_field_is_refused():
    for key in (ItemKey("a", (-1,)), ItemKey("a", (1 << 63,)), ItemKey("x" * 70000)):
        with pytest.raises(ValueError):
            pack_header(Header(CHUNK, (0,), key=key))


@settings(max_examples=150, deadline=None)
@given(HEADERS, st.integers(0, 100), WRITES.filter(lambda writes: len(writes) < 3))
def test_a_frame_keeps_its_header(header: Header, unused: int, writes: list[bytes]):
    codecs = tuple(sorted({0, 1, 2}))
    # No container in what is written: the hint has no payload to point at and must be left out.
    data = write(writes, Coding(Smallest(CODECS[1])), header=header._replace(codecs=codecs, chunk_size=CHUNK))
    for source in (io.BytesIO(data), Pipe(data, 1 << 20)):
        found = open_frame(source).header
        assert (found.key, found.checkpoint, found.codecs) == (header.key, header.checkpoint, codecs)
        assert found.hint is None


# --- any bytes ------------------------------------------------------------------------------------------------------

PREFIXES = st.sampled_from(
    [
        b"",
        b"\xd7",
        b"\xd7DCPX\r\n\x1a",
        b"\xd7DCPX\r\n\x1a\x01\x00\x00\x00",
        write([b"abc"], Coding(Smallest(CODECS[0])))[:-20],
    ]
)
JUNK = st.builds(bytes.__add__, PREFIXES, st.binary(max_size=400))
PARSED = parse_header(pack_header(HEADER))


@settings(max_examples=400, deadline=None)
@given(JUNK)
def test_any_bytes_are_refused_in_one_way(data: bytes):
    for parse in (header_size, parse_header, lambda data: parse_final(data, PARSED, 100)):
        try:
            parse(data)
        except REFUSALS:
            continue
        assert parse is header_size, "junk was parsed"
    for source in (io.BytesIO(data), Pipe(data, 1 << 20)):
        with pytest.raises(DcpxError) as caught:
            open_frame(source).read()
        assert isinstance(caught.value, REFUSALS)
