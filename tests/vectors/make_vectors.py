"""Writes the golden files of spec/vectors/ from scratch; run once, by hand. What exists is never overwritten.

    python tests/vectors/make_vectors.py

Chunks are coded by dcpx's codecs, but every record is laid out here after spec/format.md, by `forge`, and each file is
read back before it is kept.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fault"))

from forge import FORMS, Chunk, field, final, frame, header, outcome

from dcpx.codecs import CODECS, Lanes
from dcpx.errors import CorruptError, DcpxError, TruncatedError, UnsupportedError

DIRECTORY = Path(__file__).resolve().parents[2] / "spec" / "vectors"
CHUNK = 4096
UUID = bytes(range(0xA0, 0xB0))
LISTED = field(0x81, bytes([0, 1, 2]))
TEXT = "".join(f"{number}: all work and no play makes jack a dull boy\n" for number in range(300)).encode()


class Lcg:
    """Knuth's MMIX generator: the raw bytes can be made again in any language."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return self.state >> 33

    def bytes(self, count: int) -> bytes:
        return bytes(self.next() >> 7 & 0xFF for _ in range(count))

    def exponent(self, top: int) -> int:
        """`top`, or one less for each time a coin falls, as in weights around 0."""
        found = top
        while found > top - 12 and self.next() & 64:
            found -= 1
        return found


def bf16(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    values = [lcg.exponent(122) << 7 | lcg.next() >> 5 & 0x807F for _ in range(count)]
    return struct.pack(f"<{count}H", *values)


def f32(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    values = [lcg.exponent(122) << 23 | (lcg.next() << 1 & 0x807FFFFF) for _ in range(count)]
    return struct.pack(f"<{count}I", *values)


def f64(count: int, seed: int) -> bytes:
    lcg = Lcg(seed)
    parts = [(lcg.exponent(1018) << 20 | lcg.next() & 0x800FFFFF, lcg.next() << 1 & 0xFFFFFFFF) for _ in range(count)]
    return b"".join(struct.pack("<II", low, high) for high, low in parts)


def cut(raw: bytes, codec: int, width: int = 1) -> list[Chunk]:
    """Chunks of CHUNK bytes, each raw where the codec doesn't pay."""
    chunks = []
    for start in range(0, len(raw), CHUNK):
        piece = raw[start : start + CHUNK]
        coded = CODECS[codec].encode(memoryview(piece), Lanes(width))
        chunks.append(Chunk(piece) if coded is None else Chunk(piece, bytes(coded.payload), codec, coded.parameter))
    return chunks


def varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def key(name: str, offsets: tuple[int, ...] | None) -> bytes:
    numbers = b"\xff" if offsets is None else bytes([len(offsets)]) + b"".join(map(varint, offsets))
    return field(0x01, numbers + name.encode())


def hint(code: int, shape: tuple[int, ...], offset: int) -> bytes:
    return field(0x02, bytes([code, len(shape)]) + varint(offset) + b"".join(map(varint, shape)))


WEIGHTS = bf16(5000, 1)
FULL = header(key("layers.0.weight", (128, 0, 1 << 40)) + hint(16, (50, 100), 0) + field(0x03, UUID) + LISTED)

GOOD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "empty.frame": (frame(), {}),
    "one_byte.frame": (frame([Chunk(b"\x2a")]), {}),
    "text_zstd.frame": (frame(cut(TEXT, 1)), {}),
    "bf16_planes.frame": (frame(cut(WEIGHTS, 2, 2)), {}),
    "f32_planes.frame": (frame(cut(f32(2500, 2), 2, 4)), {}),
    "f64_planes.frame": (frame(cut(f64(1200, 3), 2, 8)), {}),
    "planes_constant_and_tail.frame": (frame(cut(b"\x00\x3f" * 1500 + b"\x07", 2, 2)), {}),
    "raw_random.frame": (frame(cut(Lcg(4).bytes(5000), 0)), {}),
    "raw_only.frame": (frame(cut(Lcg(5).bytes(300), 0), header(field(0x81, b"\0"))), {"codecs": [0]}),
    "uneven_chunks.frame": (frame([Chunk(b"a"), *cut(TEXT[:4096], 1), Chunk(b"bc"), *cut(WEIGHTS[:101], 2, 2)]), {}),
    "header_all_fields.frame": (
        frame(cut(WEIGHTS, 2, 2), FULL),
        {
            "key": {"fqn": "layers.0.weight", "offsets": [128, 0, 1 << 40]},
            "hint": {"dtype": "bfloat16", "shape": [50, 100], "payload_offset": 0},
            "checkpoint": UUID.hex(),
        },
    ),
    "key_of_object.frame": (
        frame(cut(b"an object's bytes", 0), header(key("optimizer.step", None) + LISTED)),
        {"key": {"fqn": "optimizer.step", "offsets": None}},
    ),
    "key_unicode.frame": (
        frame(cut(b"\0" * 100, 1), header(key("слой.重み.☃", ()) + LISTED)),
        {"key": {"fqn": "слой.重み.☃", "offsets": []}},
    ),
    "hint_unknown_dtype.frame": (frame([Chunk(b"?")], header(hint(0xEE, (1,), 0) + LISTED)), {}),
    "later_minor_version.frame": (
        frame([Chunk(b"later")], header(field(0x04, b"a field to ignore") + LISTED, minor=7)),
        {},
    ),
}

SMALL = cut(WEIGHTS[:3000], 2, 2) + cut(TEXT[:2000], 1) + [Chunk(b"raw bytes")]
WHOLE = frame(SMALL)
HEAD = header()
RECORDS = [chunk.record(HEAD, number) for number, chunk in enumerate(SMALL)]
END = WHOLE[len(HEAD) + sum(map(len, RECORDS)) :]
ENTRIES = [chunk.index_entry() for chunk in SMALL]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def joined(*records: bytes) -> bytes:
    return HEAD + b"".join(records) + END


# name: (bytes, the class of the error, a phrase of what is wrong)
BAD: dict[str, tuple[bytes, type[DcpxError], str]] = {
    "bad_empty_file.frame": (b"", TruncatedError, "no bytes at all"),
    "bad_magic.frame": (flipped(WHOLE, 0), CorruptError, "another first byte"),
    "bad_version_2.frame": (frame(SMALL, header(major=2)), UnsupportedError, "major version 2"),
    "bad_unknown_flag.frame": (frame(SMALL, header(flags=4)), UnsupportedError, "critical flag bit 2"),
    "bad_encrypted_flag.frame": (frame(SMALL, header(flags=1)), UnsupportedError, "critical flag bit 0"),
    "bad_unknown_critical_field.frame": (
        frame(SMALL, header(LISTED + field(0x90, b"new"))),
        UnsupportedError,
        "critical header field 90",
    ),
    "bad_unknown_codec.frame": (
        frame([Chunk(b"abc", codec=77)], header(field(0x81, b"\0\x4d"))),
        UnsupportedError,
        "codec 77 in the header's list",
    ),
    "bad_header_checksum.frame": (flipped(WHOLE, 22), CorruptError, "a flipped bit in the header"),
    "bad_header_size.frame": (header(size=65537) + bytes(100), CorruptError, "a header of 65,537 bytes"),
    "bad_header_cut.frame": (WHOLE[:25], TruncatedError, "the end within the header"),
    "bad_chunk_size_zero.frame": (frame(SMALL, header(chunk_size=0)), CorruptError, "chunk size 0"),
    "bad_codecs_order.frame": (
        frame(SMALL, header(field(0x81, b"\2\1\0"))),
        CorruptError,
        "codecs that aren't ascending",
    ),
    "bad_key_not_utf8.frame": (frame(SMALL, header(field(0x01, b"\0\xff") + LISTED)), CorruptError, "a key of byte FF"),
    "bad_varint_not_shortest.frame": (
        frame(SMALL, header(field(0x01, b"\1\x80\0a") + LISTED)),
        CorruptError,
        "an offset 80 00",
    ),
    "bad_chunk_tag.frame": (flipped(WHOLE, len(HEAD) + 16), CorruptError, "a flipped bit in chunk 0's tag"),
    "bad_chunk_payload.frame": (flipped(WHOLE, len(WHOLE) - len(END) - 1), CorruptError, "a flipped bit in raw bytes"),
    "bad_chunk_codec_not_listed.frame": (
        frame(SMALL, header(field(0x81, b"\0\1"))),
        CorruptError,
        "codec 2, which the header doesn't list",
    ),
    "bad_chunk_beyond_chunk_size.frame": (frame([Chunk(bytes(4097))]), CorruptError, "a chunk of 4,097 bytes"),
    "bad_chunk_stored_beyond_raw.frame": (frame([Chunk(b"abc", b"abcd")]), CorruptError, "4 bytes stored for 3"),
    "bad_chunk_empty.frame": (frame([Chunk(b"")]), CorruptError, "a chunk of 0 bytes"),
    "bad_chunk_cut.frame": (HEAD + RECORDS[0][:-1], TruncatedError, "the end within a chunk"),
    "bad_chunk_dropped.frame": (joined(*RECORDS[1:]), CorruptError, "no chunk 0"),
    "bad_chunk_twice.frame": (joined(RECORDS[0], *RECORDS), CorruptError, "chunk 0 twice"),
    "bad_chunks_swapped.frame": (joined(RECORDS[1], RECORDS[0], RECORDS[2]), CorruptError, "chunks 0 and 1 swapped"),
    "bad_chunk_spliced.frame": (
        joined(*RECORDS[:2], SMALL[2].record(FULL, 2)),
        CorruptError,
        "chunk 2 of a frame with another header",
    ),
    "bad_chunk_spliced_same_header.frame": (
        joined(*RECORDS[:2], Chunk(b"RAW BYTES").record(HEAD, 2)),
        CorruptError,
        "chunk 2 of another frame with the same header",
    ),
    "bad_zstd_cut.frame": (
        frame([Chunk(TEXT[:2000], zstandard.compress(TEXT[:2000])[:-9], 1)]),
        CorruptError,
        "Zstandard data without its end",
    ),
    "bad_zstd_window.frame": (
        frame([Chunk(bytes(4096), bytes.fromhex("28b52ffdc0f8") + struct.pack("<Q", 1 << 40) + b"\1\0\0", 1)]),
        CorruptError,
        "Zstandard data that asks for a window of 2^41 bytes",
    ),
    "bad_planes_method.frame": (
        frame([Chunk(b"ab" * 50, b"\7\1\0\0\0" * 2 + b"ab", 2, 2)]),
        CorruptError,
        "a plane of method 7",
    ),
    "bad_planes_width.frame": (frame([Chunk(bytes(99), b"\2\1\0\0\0" * 3 + bytes(3), 2, 3)]), CorruptError, "width 3"),
    "bad_final_missing.frame": (WHOLE[: -len(END)], TruncatedError, "no final record"),
    "bad_final_truncated.frame": (WHOLE[:-1], TruncatedError, "the end within the final record"),
    "bad_final_checksum.frame": (flipped(WHOLE, len(WHOLE) - 1), CorruptError, "a flipped bit in the last checksum"),
    "bad_final_count.frame": (frame(SMALL, end=final(HEAD, ENTRIES, count=4)), CorruptError, "a count of 4 for 3"),
    "bad_final_total.frame": (frame(SMALL, end=final(HEAD, ENTRIES, total=1)), CorruptError, "a total of 1"),
    "bad_final_digest.frame": (frame(SMALL, end=final(HEAD, ENTRIES, digest=1)), CorruptError, "another digest"),
    "bad_final_index.frame": (
        frame(SMALL, end=final(HEAD, [*ENTRIES[:2], (*ENTRIES[2][:2], ENTRIES[2][2] ^ 1)])),
        CorruptError,
        "another content hash in the index",
    ),
    "bad_trailing_byte.frame": (WHOLE + b"\0", CorruptError, "a byte behind the final record"),
}

STREAMS = {
    "zstd_one_frame.zst": zstandard.ZstdCompressor(level=3, write_checksum=True).compress(TEXT),
    "zstd_two_frames.zst": zstandard.compress(TEXT[:1000]) + zstandard.compress(TEXT[1000:]),
    "zstd_empty.zst": zstandard.ZstdCompressor(write_checksum=True).compress(b""),
}


def described(raw: bytes) -> dict[str, Any]:
    return {"length": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def make() -> dict[str, bytes]:
    """Every file's bytes by name, each checked against what dcpx reads."""
    files: dict[str, bytes] = {}
    index: dict[str, dict[str, Any]] = {}
    for name, (data, fields) in GOOD.items():
        found = [outcome(data, seekable) for seekable in FORMS]
        if isinstance(found[0], DcpxError) or found[0] != found[1]:
            raise SystemExit(f"{name} isn't read: {found}")
        files[name] = data
        index[name] = {"descriptor": "stream.pack@dcpx/1", **described(found[0]), "header": fields}  # type: ignore[arg-type]
    for name, (data, kind, why) in BAD.items():
        for seekable in FORMS:
            if not isinstance(outcome(data, seekable), (kind, CorruptError if kind is TruncatedError else kind)):
                raise SystemExit(f"{name}, seekable={seekable}: {outcome(data, seekable)!r}")
        files[name] = data
        index[name] = {"descriptor": "stream.pack@dcpx/1", "error": kind.__name__, "why": why}
    for name, data in STREAMS.items():
        raw = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
        files[name] = data
        index[name] = {"descriptor": "stream.zstd/1", **described(raw)}
    files["index.json"] = (json.dumps(index, indent=1, ensure_ascii=False) + "\n").encode()
    return files


def main() -> None:
    files = make()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    if existing := sorted(path.name for path in DIRECTORY.iterdir()):
        raise SystemExit(f"frozen: {DIRECTORY} holds {len(existing)} files already, such as {existing[0]}")
    for name, data in files.items():
        with (DIRECTORY / name).open("xb") as file:
            file.write(data)
    print(f"{len(files)} files, {sum(map(len, files.values())):,} bytes")


if __name__ == "__main__":
    main()
