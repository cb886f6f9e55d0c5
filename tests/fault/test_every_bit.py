"""Every bit of a frame matters: a flip is refused or changes nothing, and so is every cut, splice and swap."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from forge import FORMS, Chunk, field, final, frame, header, outcome, read

from dcpx.codecs import CODECS, Lanes
from dcpx.codecs.auto import Smallest
from dcpx.errors import CorruptError, TruncatedError, UnsupportedError
from dcpx.frame import Coding, FrameWriter, Header, ItemKey

NOISE = np.random.default_rng(7).bytes(80)
WEIGHTS = (
    (np.random.default_rng(8).normal(0, 0.02, 300).astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
)
TEXT = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(60))
KEYED = field(0x01, b"\x02\x05\x80\x01layer.weight") + field(0x03, bytes(range(16))) + field(0x81, bytes([0, 1, 2]))


def coded(raw: bytes, codec: int, width: int = 1) -> Chunk:
    """A chunk whose payload a codec of dcpx made."""
    made = CODECS[codec].encode(memoryview(raw), Lanes(width))
    assert made is not None
    return Chunk(raw, bytes(made.payload), codec, made.parameter)


CHUNKS = [
    coded(WEIGHTS, 2, 2),
    coded(TEXT, 1),
    Chunk(NOISE),
    coded(bytes(1000), 2, 4),
    coded(bytes(range(64)) * 8, 2, 8),
    Chunk(b"x"),
]
RAW = b"".join(chunk.raw for chunk in CHUNKS)
HEAD = header(KEYED)
FRAME = frame(CHUNKS, HEAD)
BOTH = pytest.mark.parametrize("seekable", FORMS, ids=["seekable", "streamed"])


def coded_payloads() -> set[int]:
    """The bytes of FRAME that are a coded payload: only there may a flip leave the content as it was."""
    found: set[int] = set()
    position = len(HEAD)
    for number, chunk in enumerate(CHUNKS):
        end = position + len(chunk.record(HEAD, number))
        if chunk.codec:
            found.update(range(end - len(chunk.stored), end))
        position = end
    return found


def assert_refused(data: bytes, kind: type[Exception] | tuple[type[Exception], ...] = CorruptError) -> None:
    for seekable in FORMS:
        found = outcome(data, seekable)
        assert isinstance(found, kind), f"seekable={seekable}: {found!r:.200}"


@BOTH
def test_the_frame_as_it_is(seekable: bool):
    assert read(FRAME, seekable) == RAW


def test_the_writer_writes_what_the_specification_says():
    # Cut as the writer cuts: full chunks, then the rest.
    text = TEXT * 3
    cuts = [text[:4096], text[4096:]]
    sink = io.BytesIO()
    sink.close = lambda: None  # type: ignore[method-assign]
    known = Header(4096, (0, 1, 2), ItemKey("layer.weight", (5, 128)), None, bytes(range(16)))
    with FrameWriter(
        sink, known, Coding(Smallest(CODECS[1])), lambda before, data: Coding(Smallest(CODECS[1]))
    ) as writer:
        writer.write(text)
    assert sink.getvalue() == frame([coded(cut, 1) for cut in cuts], HEAD)


@BOTH
def test_every_bit(seekable: bool):
    payloads = coded_payloads()
    refused = harmless = 0
    silent = []
    for bit in range(len(FRAME) * 8):
        damaged = bytearray(FRAME)
        damaged[bit // 8] ^= 1 << bit % 8
        found = outcome(bytes(damaged), seekable)
        if found == RAW and bit // 8 in payloads:
            harmless += 1
        elif isinstance(found, (CorruptError, UnsupportedError)):
            refused += 1
        else:
            silent.append((bit, found if isinstance(found, Exception) else type(found)))
    assert not silent
    assert refused + harmless == len(FRAME) * 8
    assert harmless < refused / 20, "hardly any bit of a payload should be without a meaning"


@BOTH
def test_every_prefix(seekable: bool):
    for size in range(len(FRAME)):
        found = outcome(FRAME[:size], seekable)
        assert isinstance(found, TruncatedError), f"{size} bytes: {found!r:.200}"


@BOTH
def test_every_lost_and_every_doubled_byte(seekable: bool):
    for at in range(len(FRAME)):
        for damaged in (FRAME[:at] + FRAME[at + 1 :], FRAME[:at] + FRAME[at : at + 1] + FRAME[at:]):
            found = outcome(damaged, seekable)
            # A frame that differs nowhere (a byte like its neighbour) can't come of this: the length changed.
            assert isinstance(found, (CorruptError, UnsupportedError)), f"byte {at}: {found!r:.200}"


@pytest.mark.parametrize("extra", [b"\0", b"\n", b"\xff" * 100, FRAME, FRAME[-16:], FRAME[:20], bytes(5000)])
def test_bytes_behind_the_end(extra: bytes):
    assert_refused(FRAME + extra)


@pytest.mark.parametrize("extra", [b"\0", FRAME, FRAME[:20], HEAD])
def test_bytes_before_the_beginning(extra: bytes):
    assert_refused(extra + FRAME, (CorruptError, UnsupportedError))


RECORDS = [chunk.record(HEAD, number) for number, chunk in enumerate(CHUNKS)]
END = FRAME[len(HEAD) + sum(map(len, RECORDS)) :]


def joined(records: Sequence[bytes], end: bytes = END, head: bytes = HEAD) -> bytes:
    return head + b"".join(records) + end


def end_of(chunks: Sequence[Chunk]) -> bytes:
    return final(HEAD, [chunk.index_entry() for chunk in chunks])


def test_chunks_dropped_doubled_and_swapped():
    assert joined(RECORDS) == FRAME
    for number in range(len(RECORDS)):
        assert_refused(joined(RECORDS[:number] + RECORDS[number + 1 :]))
        assert_refused(joined([*RECORDS[:number], RECORDS[number], *RECORDS[number:]]))
        for other in range(number):
            swapped = list(RECORDS)
            swapped[number], swapped[other] = swapped[other], swapped[number]
            assert_refused(joined(swapped))


def test_chunks_dropped_doubled_and_swapped_with_the_right_index():
    # The final record is made for what is there: only the chunks' own numbers and tags can tell.
    for number in range(len(RECORDS) - 1):
        kept = [*range(number), *range(number + 1, len(RECORDS))]
        doubled = [*range(number + 1), *range(number, len(RECORDS))]
        swapped = [*range(number), number + 1, number, *range(number + 2, len(RECORDS))]
        for order in (kept, doubled, swapped):
            assert_refused(joined([RECORDS[one] for one in order], end_of([CHUNKS[one] for one in order])))


def test_chunks_of_another_frame():
    # The same item of another checkpoint: same sizes, same numbers, other header.
    other_head = header(KEYED.replace(bytes(range(16)), bytes(16)))
    assert len(other_head) == len(HEAD)
    others = [chunk.record(other_head, number) for number, chunk in enumerate(CHUNKS)]
    for number in range(len(RECORDS)):
        assert_refused(joined([*RECORDS[:number], others[number], *RECORDS[number + 1 :]]))
    assert_refused(joined(RECORDS, head=other_head))
    assert_refused(joined(others))
    assert_refused(joined(RECORDS, final(other_head, [chunk.index_entry() for chunk in CHUNKS])))


def test_chunks_of_a_frame_with_the_same_header():
    # Two saves without a key and UUID have one header: what differs is the content, which the index names.
    changed = [Chunk(NOISE[::-1]) if chunk.raw == NOISE else chunk for chunk in CHUNKS]
    number = changed.index(Chunk(NOISE[::-1]))
    spliced = list(RECORDS)
    spliced[number] = changed[number].record(HEAD, number)
    assert_refused(joined(spliced))
    assert_refused(joined(RECORDS, end_of(changed)))


def test_an_empty_frame():
    empty = frame()
    for seekable in FORMS:
        assert read(empty, seekable) == b""
        for size in range(len(empty)):
            assert isinstance(outcome(empty[:size], seekable), TruncatedError)
        for bit in range(len(empty) * 8):
            damaged = bytearray(empty)
            damaged[bit // 8] ^= 1 << bit % 8
            assert isinstance(outcome(bytes(damaged), seekable), (CorruptError, UnsupportedError))
    assert_refused(empty + b"\0")


@BOTH
def test_a_short_read_in_the_middle_of_a_file(seekable: bool):
    # Zeroed pages and lost ones, as a crash leaves them.
    for start in range(0, len(FRAME), 64):
        zeroed = FRAME[:start] + bytes(len(FRAME[start : start + 512])) + FRAME[start + 512 :]
        if zeroed != FRAME:
            assert isinstance(outcome(zeroed, seekable), (CorruptError, UnsupportedError))
        assert isinstance(outcome(FRAME[:start] + FRAME[start + 512 :], seekable), (CorruptError, UnsupportedError))
