"""Frames whose checksums are right and whose numbers lie: refused by both readers, and before anything is allocated."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import zstandard
from forge import ALL_CODECS, FORMS, Chunk, Pipe, field, final, frame, header, outcome, read, reseal, seed_of

from dcpx.errors import CorruptError, DcpxError, UnsupportedError
from dcpx.frame import open_frame

SMALL = 4 << 20
"""Bytes: what reading a frame with chunks of 4 KiB may take at most; the readers' own buffers are 1 MiB."""

LIE = 256 << 20
"""Bytes that a frame lies about: much more than SMALL, yet harmless to this machine if they are allocated."""

WORD = Chunk(b"a chunk of raw bytes")
HEAD = header()
CODECS = field(0x81, ALL_CODECS)
RECORD = WORD.record(HEAD, 0)
ENTRY = WORD.index_entry()


def with_payload(payload: bytes, raw: bytes, codec: int, parameter: int = 0) -> bytes:
    return frame([Chunk(raw, payload, codec, parameter)])


def with_fields(*fields: bytes) -> bytes:
    return frame([WORD], header(b"".join(fields)))


def with_entry(stored: int, raw: int, **lies: int) -> bytes:
    """One honest chunk, and an index that says something else of it."""
    return frame([WORD], end=final(HEAD, [(stored, raw, ENTRY[2])], **lies))


def zstd_frame(claimed: int, window_log: int, block: bytes = b"\x01\0\0") -> bytes:
    """A Zstandard frame that claims a content of `claimed` bytes and asks for a window of 2**window_log."""
    return b"\x28\xb5\x2f\xfd\xc0" + bytes([(window_log - 10) << 3]) + struct.pack("<Q", claimed) + block


LONG = zstandard.ZstdCompressor().compress(bytes(LIE))[:4000]
LONGER = zstandard.ZstdCompressor().compress(bytes(8192))

CORRUPT = {
    "header size beyond the cap": header(size=65537) + bytes(70000),
    "header size too small": header(size=27) + RECORD,
    "header size 0": header(size=0) + RECORD,
    "header size of 4 GiB": header(size=0xFFFFFFFF) + RECORD,
    "chunk size 0": frame([WORD], header(chunk_size=0)),
    "chunk size below 4 KiB": frame([WORD], header(chunk_size=4095)),
    "chunk size beyond 16 MiB": frame([WORD], header(chunk_size=(16 << 20) + 1)),
    "chunk size of 4 GiB": frame([WORD], header(chunk_size=0xFFFFFFFF)),
    "no list of codecs": with_fields(),
    "an empty list of codecs": with_fields(field(0x81, b"")),
    "codecs out of order": with_fields(field(0x81, b"\x01\x00")),
    "codecs listed twice": with_fields(field(0x81, b"\x00\x00")),
    "a field twice": with_fields(CODECS, CODECS),
    "fields out of order": with_fields(CODECS, field(0x03, bytes(16))),
    "a field longer than the header": with_fields(field(0x81, ALL_CODECS, 0xFFFF)),
    "a field cut in its tag and length": with_fields(CODECS, b"\x90\x00"),
    "a UUID of 15 bytes": with_fields(field(0x03, bytes(15)), CODECS),
    "a UUID of 17 bytes": with_fields(field(0x03, bytes(17)), CODECS),
    "an empty key": with_fields(field(0x01, b""), CODECS),
    "a key of 254 offsets that has none": with_fields(field(0x01, b"\xfe"), CODECS),
    "a key whose offset isn't in its shortest form": with_fields(field(0x01, b"\x01\x80\x00a"), CODECS),
    "a key whose offset has 64 bits": with_fields(field(0x01, b"\x01" + b"\xff" * 9 + b"\x01a"), CODECS),
    "a key whose offset never ends": with_fields(field(0x01, b"\x01" + b"\x80" * 300), CODECS),
    "a key that isn't UTF-8": with_fields(field(0x01, b"\x00\xff\xfe"), CODECS),
    "an empty hint": with_fields(field(0x02, b""), CODECS),
    "a hint of 255 dimensions that has none": with_fields(field(0x02, b"\x10\xff"), CODECS),
    "a hint of more dimensions than it has": with_fields(field(0x02, b"\x10\x02\x00\x01"), CODECS),
    "a hint of fewer dimensions than it has": with_fields(field(0x02, b"\x10\x01\x00\x01\x01"), CODECS),
    "a hint whose size has 64 bits": with_fields(field(0x02, b"\x10\x01\x00" + b"\xff" * 9 + b"\x01"), CODECS),
    "chunk of no bytes": frame([Chunk(b"")]),
    "chunk of no bytes beside another": frame([WORD, Chunk(b"")]),
    "chunk stored in no bytes": frame([Chunk(bytes(10), b"", 2, 2)]),
    "chunk longer than the chunk size": frame([Chunk(bytes(4097))]),
    "chunk stored in more than its raw bytes": frame([Chunk(b"abc", b"abcd")]),
    "chunk that says it is longer": frame([Chunk(b"abc", raw_size=4)]),
    "chunk that says it is much longer": frame([Chunk(b"abc", raw_size=LIE)]),
    "chunk that says it stores more": frame([Chunk(b"abc", stored_size=LIE, raw_size=LIE)]),
    "chunk that says it stores up to its end": frame([Chunk(b"abc", stored_size=4096, raw_size=4096)]),
    "chunk of another kind": frame([Chunk(b"abc", kind=3)]),
    "chunk of kind 0": frame([Chunk(b"abc", kind=0)]),
    "chunk with another number": frame([Chunk(b"abc", index=1)]),
    "chunk with the number 2**32 - 1": frame([Chunk(b"abc", index=0xFFFFFFFF)]),
    "chunk with another content": frame([Chunk(b"abc", content=1)]),
    "codec that isn't listed": frame([Chunk(b"abc", codec=2, parameter=2)], header(field(0x81, b"\0\1"))),
    "unknown codec that isn't listed": frame([Chunk(b"abc", codec=77)]),
    "raw with a parameter": frame([Chunk(b"abc", parameter=1)]),
    "raw payload that ends early": frame([Chunk(b"abcdef", b"abc")]),
    "zstd payload that is none": with_payload(b"no zstd at all", bytes(100), 1),
    "zstd with a parameter": with_payload(zstandard.compress(bytes(100)), bytes(100), 1, 1),
    "zstd payload that ends early": with_payload(zstandard.compress(bytes(99)), bytes(100), 1),
    "zstd payload that goes on": with_payload(LONGER, bytes(4096), 1),
    "zstd payload that goes on for long": with_payload(LONG, bytes(4096), 1),
    "zstd payload with bytes behind it": with_payload(zstandard.compress(bytes(100)) + b"!", bytes(100), 1),
    "zstd that claims a huge content": with_payload(zstd_frame(1 << 62, 20), bytes(4096), 1),
    "zstd that asks for a huge window": with_payload(zstd_frame(1 << 40, 41), bytes(4096), 1),
    "zstd that asks for 128 MiB of window": with_payload(zstd_frame(1 << 27, 27), bytes(4096), 1),
    "planes of width 0": with_payload(bytes(20), bytes(100), 2, 0),
    "planes of width 3": with_payload(b"\2\1\0\0\0" * 3 + b"abc", b"abc" * 30, 2, 3),
    "planes of width 65535": with_payload(bytes(20), bytes(100), 2, 0xFFFF),
    "planes with a plane longer than the chunk": with_payload(b"\0\xff\xff\xff\xff" * 2 + b"ab", bytes(100), 2, 2),
    "planes of an unknown method": with_payload(b"\7\1\0\0\0" * 2 + b"ab", b"ab" * 50, 2, 2),
    "planes with a longer tail": with_payload(b"\2\1\0\0\0" * 2 + b"abc", b"ab" * 50, 2, 2),
    "final record of another kind": frame([WORD], end=final(HEAD, [ENTRY], kind=1)),
    "final record with reserved bytes set": frame([WORD], end=final(HEAD, [ENTRY], reserved=b"\0\0\1")),
    "final record that counts one less": frame([WORD], end=final(HEAD, [ENTRY], count=0)),
    "final record that counts one more": frame([WORD], end=final(HEAD, [ENTRY], count=2)),
    "final record that counts 2**32 - 1": frame([WORD], end=final(HEAD, [ENTRY], count=0xFFFFFFFF)),
    "final record without the chunk": frame([WORD], end=final(HEAD, [])),
    "final record with a chunk more": frame([WORD], end=final(HEAD, [ENTRY, ENTRY])),
    "final record with another total": with_entry(20, 20, total=21),
    "final record with a total of 2**64 - 1": with_entry(20, 20, total=(1 << 64) - 1),
    "final record with another digest": with_entry(20, 20, digest=5),
    "final record with another size of its own": with_entry(20, 20, size=48),
    "final record with a size of its own of 0": with_entry(20, 20, size=0),
    "final record with a size of its own of 4 GiB": with_entry(20, 20, size=0xFFFFFFF0),
    "final record with another magic": frame([WORD], end=final(HEAD, [ENTRY], magic=b"XPCE")),
    "index with a shorter stored size": with_entry(19, 20),
    "index with a longer stored size": with_entry(21, 20),
    "index with a stored size of 4 GiB": with_entry(0xFFFFFFFF, 20),
    "index with a shorter raw size": with_entry(20, 19),
    "index with a raw size of 0": with_entry(20, 0),
    "index with a longer raw size": with_entry(20, 21),
    "index with a huge raw size": with_entry(20, LIE),
    "index with another content": frame([WORD], end=final(HEAD, [(20, 20, ENTRY[2] ^ 1)])),
    "index with an entry of no bytes": frame([WORD], end=final(HEAD, [ENTRY, (0, 0, 0)])),
    "index whose sizes make up for each other": frame(
        [WORD, WORD], end=final(HEAD, [(19, 20, ENTRY[2]), (21, 20, ENTRY[2])])
    ),
    "another frame's final record": frame([WORD], end=final(header(chunk_size=8192), [ENTRY])),
    "no final record": frame([WORD], end=b""),
    "two final records": frame([WORD]) + final(HEAD, [ENTRY]),
    "a chunk behind the final record": frame([WORD]) + RECORD,
}

UNSUPPORTED = {
    "version 0": frame([WORD], header(major=0)),
    "version 2": frame([WORD], header(major=2)),
    "version 255": frame([WORD], header(major=255)),
    **{f"flag bit {bit}": frame([WORD], header(flags=1 << bit)) for bit in range(16)},
    "all flags": frame([WORD], header(flags=0xFFFF)),
    **{f"field {tag:#x}": with_fields(CODECS, field(tag, b"?")) for tag in (0x84, 0x90, 0xFF)},
    "field 0x80": with_fields(field(0x80, b""), CODECS),
    "codec 77, listed": frame([Chunk(b"abc", codec=77)], header(field(0x81, bytes([0, 77])))),
    "codec 77, listed but not used": frame([WORD], header(field(0x81, bytes([0, 77])))),
}

CASES = [pytest.param(data, (CorruptError,), id=name) for name, data in CORRUPT.items()]
CASES += [pytest.param(data, (UnsupportedError,), id=name) for name, data in UNSUPPORTED.items()]


@pytest.mark.parametrize("seekable", FORMS, ids=["seekable", "streamed"])
@pytest.mark.parametrize(("data", "kinds"), CASES)
def test_lies_are_refused(data: bytes, kinds: tuple[type[DcpxError]], seekable: bool):
    tracemalloc.start()
    try:
        found = outcome(data, seekable)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found, kinds), f"{found!r:.200}"
    assert peak < SMALL, f"{peak:,} bytes were allocated"


@pytest.mark.parametrize("tag", [0x82, 0x83])
def test_reserved_fields_without_their_flag_are_refused(tag: int):
    # A frame that brings a key commitment or a base, but not the flag that makes a reader heed it.
    for seekable in FORMS:
        assert isinstance(outcome(with_fields(CODECS, field(tag, bytes(33))), seekable), DcpxError)


ACCEPTED = {
    "an honest frame": frame([WORD]),
    "a later minor version": frame([WORD], header(minor=9)),
    "unknown fields that aren't critical": with_fields(
        field(0x00, b""), field(0x04, b"later"), field(0x7F, bytes(1000)), CODECS
    ),
    "a hint of an unknown dtype": with_fields(field(0x02, b"\xee\x01\x00\x01"), CODECS),
    "a chunk size that is no multiple": frame([WORD], header(chunk_size=4097)),
    "the longest header": frame([WORD], header(field(0x04, bytes(65536 - 28 - 6 - 3)) + CODECS)),
}


@pytest.mark.parametrize("seekable", FORMS, ids=["seekable", "streamed"])
@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_specification_allows_is_read(data: bytes, seekable: bool):
    assert read(data, seekable) == WORD.raw


@pytest.mark.parametrize("seekable", FORMS, ids=["seekable", "streamed"])
def test_absurd_hints_and_offsets_are_only_read(seekable: bool):
    # 2**63 - 1 in every number: nothing may be sized by it.
    huge = b"\xff" * 8 + b"\x7f"
    data = with_fields(field(0x01, b"\x02" + huge * 2 + b"w"), field(0x02, b"\x10\x03" + huge * 4), CODECS)
    tracemalloc.start()
    try:
        assert read(data, seekable) == WORD.raw
        assert tracemalloc.get_traced_memory()[1] < SMALL
    finally:
        tracemalloc.stop()


def test_a_resealed_honest_record_is_itself():
    # The forger's checksums are the real ones, or every case here would fail for the wrong reason.
    assert reseal(HEAD) == HEAD
    end = final(HEAD, [ENTRY])
    assert reseal(end, seed_of(HEAD)) == end


def test_a_huge_count_in_a_stream_is_not_waited_for():
    # The count comes before anything could confirm it; a reader that asked for 64 GiB at once might get a buffer.
    class Counting(Pipe):
        asked = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.asked = max(self.asked, 0 if size is None else size)
            return super().read(size)

    source = Counting(CORRUPT["final record that counts 2**32 - 1"])
    with pytest.raises(CorruptError):
        open_frame(source).read()
    assert source.asked <= 65536
