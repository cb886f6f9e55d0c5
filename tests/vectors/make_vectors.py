"""Writes the golden files of spec/vectors/; run by hand. It makes what is missing and overwrites nothing.

    python tests/vectors/make_vectors.py

The entries of new files are put behind those that index.json has, which stay as they are.

Chunks are coded by dcpx's codecs, but every record is laid out here after spec/format.md, by `forge`, and each file is
read back before it is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fault"))

from container_vectors import BAD_CONTAINER, GOOD_CONTAINER, whole
from contents import Lcg, bf16, cut, f32, f64
from float_vectors import BAD_FLOAT, GOOD_FLOAT
from forge import FORMS, Chunk, field, final, frame, header, outcome
from item_vectors import BAD_ITEMS, GOOD_ITEMS, opened

from dcpx.errors import CorruptError, DcpxError, ExtensionError, TruncatedError, UnsupportedError

DIRECTORY = Path(__file__).resolve().parents[2] / "spec" / "vectors"
UUID = bytes(range(0xA0, 0xB0))
LISTED = field(0x81, bytes([0, 1, 2]))
TEXT = "".join(f"{number}: all work and no play makes jack a dull boy\n" for number in range(300)).encode()


def varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def key(name: str, offsets: tuple[int, ...] | None) -> bytes:
    numbers = b"\xff" if offsets is None else bytes([len(offsets)]) + b"".join(map(varint, offsets))
    return field(0x01, numbers + name.encode("utf-8", "surrogatepass"))


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
    "example.frame": (
        frame([Chunk(b"dcpx")], header(key("w", (3,)) + field(0x81, b"\0"))),
        {"codecs": [0], "key": {"fqn": "w", "offsets": [3]}},
    ),
    "example_container.frame": (
        frame(
            [whole("float32", (), b"\0\0\x60\x40"), whole("uint16", (2, 300), bytes(range(200)) * 6)],
            header(field(0x81, b"\4")),
        ),
        {"codecs": [4]},
    ),
    "key_lone_surrogate.frame": (
        frame([Chunk(b"odd")], header(key("half of \ud83d", ()) + LISTED)),
        {"key": {"fqn": "half of \ud83d", "offsets": []}},
    ),
    "chunk_size_odd.frame": (frame([Chunk(Lcg(8).bytes(5001))], header(chunk_size=5001)), {}),
    "chunk_size_largest.frame": (frame([Chunk(b"few")], header(chunk_size=1 << 24)), {}),
    "zstd_without_size.frame": (
        frame([Chunk(TEXT[:4000], zstandard.ZstdCompressor(write_content_size=False).compress(TEXT[:4000]), 1)]),
        {},
    ),
    "hint_unknown_dtype.frame": (frame([Chunk(b"?")], header(hint(0xEE, (1,), 0) + LISTED)), {}),
    "later_minor_version.frame": (
        frame([Chunk(b"later")], header(field(0x04, b"a field to ignore") + LISTED, minor=7)),
        {},
    ),
    **GOOD_FLOAT,
    **GOOD_CONTAINER,
}

SIZED = hint(18, (3,), 0)
TWO_PLANES = b"\2\1\0\0\0" * 2

SMALL = cut(WEIGHTS[:3000], 2, 2) + cut(TEXT[:2000], 1) + [Chunk(b"raw bytes")]
WHOLE = frame(SMALL)
HEAD = header()
RECORDS = [chunk.record(HEAD, number) for number, chunk in enumerate(SMALL)]
END = WHOLE[len(HEAD) + sum(map(len, RECORDS)) :]
ENTRIES = [chunk.index_entry() for chunk in SMALL]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def with_sizes(stored: int, raw: int) -> list[tuple[int, int, int]]:
    """The index with other sizes for the last chunk, whose bytes are stored raw."""
    return [*ENTRIES[:2], (stored, raw, ENTRIES[2][2])]


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
    "bad_chunk_raw_not_listed.frame": (
        frame([Chunk(b"abc")], header(field(0x81, b"\1\2"))),
        CorruptError,
        "codec 0, which the header doesn't list",
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
    "bad_encryption_field_without_flag.frame": (
        frame(SMALL, header(LISTED + field(0x82, bytes(16)))),
        UnsupportedError,
        "field 82 without flag bit 0",
    ),
    "bad_base_field_without_flag.frame": (
        frame(SMALL, header(LISTED + field(0x83, bytes(33)))),
        UnsupportedError,
        "field 83 without flag bit 1",
    ),
    "bad_delta_flag.frame": (
        frame(SMALL, header(LISTED + field(0x83, bytes(33)), flags=2)),
        UnsupportedError,
        "critical flag bit 1",
    ),
    "bad_zstd_bytes_behind.frame": (
        frame([Chunk(TEXT[:2000], zstandard.compress(TEXT[:2000]) + b"behind", 1)]),
        CorruptError,
        "bytes behind the Zstandard frame",
    ),
    "bad_zstd_two_frames.frame": (
        frame([Chunk(TEXT[:2000], zstandard.compress(TEXT[:1000]) + zstandard.compress(TEXT[1000:2000]), 1)]),
        CorruptError,
        "two Zstandard frames in one chunk",
    ),
    "bad_final_index_stored_zero.frame": (
        frame(SMALL, end=final(HEAD, with_sizes(0, 9))),
        CorruptError,
        "0 bytes stored in the index",
    ),
    "bad_final_index_raw_zero.frame": (
        frame(SMALL, end=final(HEAD, with_sizes(9, 0))),
        CorruptError,
        "0 raw bytes in the index",
    ),
    "bad_final_index_stored_beyond_raw.frame": (
        frame(SMALL, end=final(HEAD, with_sizes(10, 9))),
        CorruptError,
        "10 bytes stored for 9 in the index",
    ),
    "bad_final_index_beyond_chunk_size.frame": (
        frame(SMALL, end=final(HEAD, with_sizes(9, 4097))),
        CorruptError,
        "a chunk of 4,097 bytes in the index",
    ),
    "bad_final_size.frame": (
        frame(SMALL, end=final(HEAD, ENTRIES, size=48 + 16 * 4)),
        CorruptError,
        "the final record's own size",
    ),
    "bad_final_magic.frame": (
        frame(SMALL, end=final(HEAD, ENTRIES, magic=b"XPCE")),
        CorruptError,
        "the final record's magic",
    ),
    "bad_fields_order.frame": (frame(SMALL, header(LISTED + key("a", ()))), CorruptError, "field 01 behind field 81"),
    "bad_field_twice.frame": (frame(SMALL, header(LISTED + LISTED)), CorruptError, "field 81 twice"),
    "bad_field_beyond_header.frame": (
        frame(SMALL, header(LISTED + field(0x84, b"", 9))),
        CorruptError,
        "a field that is longer than the header",
    ),
    "bad_hint_trailing_byte.frame": (
        frame(SMALL, header(field(0x02, SIZED[3:] + b"\0") + LISTED)),
        CorruptError,
        "a byte behind the hint's last dimension",
    ),
    "bad_hint_cut.frame": (
        frame(SMALL, header(field(0x02, SIZED[3:-1]) + LISTED)),
        CorruptError,
        "a hint without its last dimension",
    ),
    "bad_hint_unknown_dtype_cut.frame": (
        frame(SMALL, header(field(0x02, b"\xee\2\0\1") + LISTED)),
        CorruptError,
        "a hint of an unknown dtype without its last dimension",
    ),
    "bad_uuid_of_15_bytes.frame": (
        frame(SMALL, header(field(0x03, UUID[:15]) + LISTED)),
        CorruptError,
        "a UUID of 15 bytes",
    ),
    "bad_uuid_of_17_bytes.frame": (
        frame(SMALL, header(field(0x03, UUID + b"\0") + LISTED)),
        CorruptError,
        "a UUID of 17 bytes",
    ),
    "bad_varint_of_64_bits.frame": (
        frame(SMALL, header(field(0x01, b"\1" + b"\x80" * 9 + b"\1a") + LISTED)),
        CorruptError,
        "an offset of 2^63",
    ),
    "bad_codecs_missing.frame": (frame((), header(key("a", ()))), CorruptError, "no field 81"),
    "bad_codecs_empty.frame": (frame((), header(field(0x81, b""))), CorruptError, "an empty field 81"),
    "bad_codecs_twice.frame": (frame(SMALL, header(field(0x81, b"\0\1\1\2"))), CorruptError, "codec 1 twice"),
    "bad_chunk_size_4095.frame": (frame([Chunk(b"few")], header(chunk_size=4095)), CorruptError, "chunk size 4,095"),
    "bad_chunk_size_beyond.frame": (
        frame([Chunk(b"few")], header(chunk_size=(1 << 24) + 1)),
        CorruptError,
        "chunk size 2^24 + 1",
    ),
    "bad_raw_parameter.frame": (frame([Chunk(b"abc", parameter=1)]), CorruptError, "codec 0 with parameter 1"),
    "bad_zstd_parameter.frame": (
        frame([Chunk(TEXT[:2000], zstandard.compress(TEXT[:2000]), 1, 1)]),
        CorruptError,
        "codec 1 with parameter 1",
    ),
    "bad_record_kind.frame": (frame([Chunk(b"abc", kind=3)]), CorruptError, "record kind 3"),
    "bad_final_reserved.frame": (
        frame(SMALL, end=final(HEAD, ENTRIES, reserved=b"\0\1\0")),
        CorruptError,
        "a reserved byte of 1 in the final record",
    ),
    "bad_planes_constant_size.frame": (
        frame([Chunk(b"a" * 100, b"\2\2\0\0\0\2\1\0\0\0aaa", 2, 2)]),
        CorruptError,
        "two bytes of a constant plane",
    ),
    "bad_planes_trailing_byte.frame": (
        frame([Chunk(b"a" * 100, TWO_PLANES + b"aaa", 2, 2)]),
        CorruptError,
        "a byte behind the planes",
    ),
    **BAD_FLOAT,
    **BAD_CONTAINER,
}

SKIPPABLE = struct.pack("<II", 0x184D2A5E, 5) + b"aside"

STREAMS = {
    "zstd_one_frame.zst": zstandard.ZstdCompressor(level=3, write_checksum=True).compress(TEXT),
    "zstd_two_frames.zst": zstandard.compress(TEXT[:1000]) + zstandard.compress(TEXT[1000:]),
    "zstd_empty.zst": zstandard.ZstdCompressor(write_checksum=True).compress(b""),
    "zstd_skippable.zst": SKIPPABLE + zstandard.compress(TEXT[:1000]) + SKIPPABLE,
    "zstd_largest_window.zst": bytes.fromhex("28b52ffd0088") + b"\x19\0\0abc",
}

# name: (bytes, the class of the error, a phrase of what is wrong)
BAD_STREAMS: dict[str, tuple[bytes, type[DcpxError], str]] = {
    "bad_stream_no_bytes.zst": (b"", TruncatedError, "no bytes at all"),
    "bad_stream_cut.zst": (STREAMS["zstd_one_frame.zst"][:-9], TruncatedError, "the end within a block"),
    "bad_stream_no_checksum.zst": (
        STREAMS["zstd_one_frame.zst"][:-4],
        TruncatedError,
        "the end before the content checksum",
    ),
    "bad_stream_checksum.zst": (
        flipped(STREAMS["zstd_one_frame.zst"], len(STREAMS["zstd_one_frame.zst"]) - 1),
        CorruptError,
        "a flipped bit in the content checksum",
    ),
    "bad_stream_skippable_cut.zst": (
        STREAMS["zstd_skippable.zst"][:-1],
        TruncatedError,
        "the end within a skippable frame",
    ),
    "bad_stream_bytes_behind.zst": (
        STREAMS["zstd_one_frame.zst"] + b"behind",
        CorruptError,
        "bytes behind the last frame",
    ),
    "bad_stream_window.zst": (bytes.fromhex("28b52ffd0090") + b"\x19\0\0abc", CorruptError, "a window of 2^28 bytes"),
}


def described(raw: bytes) -> dict[str, Any]:
    return {"length": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def make() -> tuple[dict[str, bytes], dict[str, dict[str, Any]]]:
    """Every file's bytes by name, each checked against what dcpx reads, and its entry in the index."""
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
        content = opened(data, ["stream.zstd/1"])
        if isinstance(content, DcpxError):
            raise SystemExit(f"{name} isn't read: {content}")
        files[name] = data
        index[name] = {"descriptor": "stream.zstd/1", **described(content)}
    for name, (data, kind, why) in BAD_STREAMS.items():
        if type(error := opened(data, ["stream.zstd/1"])) is not kind:
            raise SystemExit(f"{name}: {error!r}")
        files[name] = data
        index[name] = {"descriptor": "stream.zstd/1", "error": kind.__name__, "why": why}
    for name, (data, descriptors, raw) in GOOD_ITEMS.items():
        if (content := opened(data, descriptors)) != raw:
            raise SystemExit(f"{name} isn't read: {content!r}")
        files[name] = data
        index[name] = {"descriptors": descriptors, **described(raw)}
    for name, (data, descriptors, kind, why) in BAD_ITEMS.items():
        if not isinstance(error := opened(data, descriptors), (kind, ExtensionError)):
            raise SystemExit(f"{name}: {error!r}")
        files[name] = data
        index[name] = {"descriptors": descriptors, "error": kind.__name__, "why": why}
    return files, index


def dumped(index: dict[str, Any]) -> str:
    """The index as JSON; what no UTF-8 has is escaped."""
    text = json.dumps(index, indent=1, ensure_ascii=False) + "\n"
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def main() -> None:
    files, made = make()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / "index.json"
    index: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if changed := [name for name, entry in index.items() if made.get(name) != entry]:
        raise SystemExit(f"frozen: {', '.join(changed)} would be described otherwise")
    missing = [name for name in files if name not in index]
    for name in missing:
        with (DIRECTORY / name).open("xb") as file:
            file.write(files[name])
        index[name] = made[name]
    if missing:
        path.write_text(dumped(index), "utf-8")
    print(f"{len(missing)} of {len(files)} files made, {sum(len(files[name]) for name in missing):,} bytes")


if __name__ == "__main__":
    main()
