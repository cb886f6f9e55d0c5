"""Stored bytes and what becomes of them: frames and their chunks (format.md), Zstandard streams, and descriptors."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import zstandard
from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from .containers import container
from .floats import decode_float
from .kinds import CODES, DTYPES, CorruptError, LimitError, TruncatedError, UnsupportedError

__all__ = ["FRAME", "Header", "Hint", "open_item", "read_frame", "transforms"]

MAGIC = bytes.fromhex("D744435058 0D0A1A")
FRAME = "stream.pack@dcpx/1"
SMALLEST_CHUNK, LARGEST_CHUNK = 4096, 1 << 24
KNOWN_CODECS = range(5)
NAMES = {code: name for name, code in CODES.items()}


class Hint(NamedTuple):
    """Field 02."""

    dtype: str
    shape: tuple[int, ...]
    payload_offset: int


class Header(NamedTuple):
    """A frame's header. `key` is field 01: the name and, but for an object, the shard's offsets."""

    size: int
    chunk_size: int
    codecs: tuple[int, ...]
    key: tuple[str, tuple[int, ...] | None] | None
    hint: Hint | None
    checkpoint: bytes | None
    hash: int


# --- header -----------------------------------------------------------------------------------------------------------


def read_header(data: bytes) -> Header:
    if data[:8] != MAGIC[: len(data)]:
        raise CorruptError("not a frame: another magic")
    if len(data) < 20:
        raise TruncatedError("the frame ends within its header")
    major, _, flags, size, chunk_size = struct.unpack_from("<BBHII", data, 8)
    if major != 1:
        raise UnsupportedError(f"a frame of version {major}")
    if not 28 <= size <= 65536:
        raise CorruptError(f"a header of {size} bytes")
    if len(data) < size:
        raise TruncatedError("the frame ends within its header")
    (found,) = struct.unpack_from("<Q", data, size - 8)
    if found != xxh3_64_intdigest(data[: size - 8]):
        raise CorruptError("the header's hash")
    if flags:
        raise UnsupportedError(f"critical flags {flags:#06x}")
    if not SMALLEST_CHUNK <= chunk_size <= LARGEST_CHUNK:
        raise CorruptError(f"a chunk size of {chunk_size}")
    fields = read_fields(data[20 : size - 8])
    codecs = tuple(fields.get(0x81, b""))
    if not codecs or list(codecs) != sorted(set(codecs)):
        raise CorruptError("the list of codecs")
    checkpoint = fields.get(0x03)
    if checkpoint is not None and len(checkpoint) != 16:
        raise CorruptError(f"a UUID of {len(checkpoint)} bytes")
    key = read_key(fields[0x01]) if 0x01 in fields else None
    hint = read_hint(fields[0x02]) if 0x02 in fields else None
    if unknown := set(codecs) - set(KNOWN_CODECS):
        raise UnsupportedError(f"codecs {sorted(unknown)}")
    return Header(size, chunk_size, codecs, key, hint, checkpoint, found)


def read_fields(data: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    at, last = 0, -1
    while at < len(data):
        if len(data) - at < 3:
            raise CorruptError("a header field is cut short")
        tag, length = struct.unpack_from("<BH", data, at)
        at += 3
        if tag <= last or length > len(data) - at:
            raise CorruptError(f"header field {tag:02x} is out of order, or too long")
        if tag & 0x80 and tag != 0x81:
            raise UnsupportedError(f"critical header field {tag:02x}")
        fields[tag] = data[at : at + length]
        at, last = at + length, tag
    return fields


def read_key(data: bytes) -> tuple[str, tuple[int, ...] | None]:
    count, at = (data[0] if data else None), 1
    if count is None:
        raise CorruptError("an empty key")
    offsets = None
    if count != 0xFF:
        offsets, at = read_varints(data, at, count)
    try:
        return data[at:].decode("utf-8", "surrogatepass"), offsets
    except UnicodeDecodeError:
        raise CorruptError("a name that isn't UTF-8") from None


def read_hint(data: bytes) -> Hint | None:
    if len(data) < 2:
        raise CorruptError("a hint that is cut short")
    (offset, *shape), at = read_varints(data, 2, 1 + data[1])
    if at != len(data):
        raise CorruptError("a hint with bytes behind it")
    return Hint(NAMES[data[0]], tuple(shape), offset) if data[0] in NAMES else None


def read_varints(data: bytes, at: int, count: int) -> tuple[tuple[int, ...], int]:
    """So many varints from `at` on, and where they end."""
    found = []
    for _ in range(count):
        value = shift = 0
        while True:
            if at >= len(data):
                raise CorruptError("a varint is cut short")
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
            if shift == 63:
                raise CorruptError("a varint of 2^63 or more")
        if byte == 0 and shift > 7:
            raise CorruptError("a varint that isn't in its shortest form")
        found.append(value)
    return tuple(found), at


# --- chunks -----------------------------------------------------------------------------------------------------------


def read_frame(data: bytes, limit: int | None = None) -> tuple[Header, bytes]:
    """A frame's header and its raw item, of at most `limit` bytes. All of its checksums are compared."""
    header = read_header(data)
    at, total = header.size, 0
    parts: list[bytes] = []
    entries: list[tuple[int, int, int]] = []
    while data[at : at + 1] != b"\2":
        if len(data) - at < 24:
            raise TruncatedError("the frame ends before its final record")
        kind, codec, parameter, index, stored, raw, tag = struct.unpack_from("<BBHIIIQ", data, at)
        if kind != 1 or index != len(entries):
            raise CorruptError(f"record kind {kind} with index {index} in place of chunk {len(entries)}")
        if not 1 <= stored <= raw <= header.chunk_size:
            raise CorruptError(f"a chunk of {stored} stored and {raw} raw bytes")
        if codec not in header.codecs:
            raise CorruptError(f"codec {codec}, which the header doesn't list")
        total += raw
        if limit is not None and total > limit:
            raise LimitError(f"a frame of more than {limit} bytes")
        payload = data[at + 24 : at + 24 + stored]
        if len(payload) < stored:
            raise TruncatedError("the frame ends within a chunk")
        content = decode_chunk(codec, payload, parameter, raw)
        content_hash = xxh3_64_intdigest(content)
        if tag != xxh3_64_intdigest(data[at : at + 16] + struct.pack("<Q", content_hash), header.hash):
            raise CorruptError(f"chunk {index} doesn't match its tag")
        parts.append(content)
        entries.append((stored, raw, content_hash))
        at += 24 + stored
    check_final(data[at:], entries, header.hash)
    return header, b"".join(parts)


def check_final(data: bytes, entries: list[tuple[int, int, int]], header_hash: int) -> None:
    """Check the final record, which is the rest of the frame, against the chunks that were read."""
    if len(data) < 32:
        raise TruncatedError("the frame ends within its final record")
    _, reserved, count, total, digest = struct.unpack_from("<B3sIQ16s", data)
    size = 48 + 16 * len(entries)
    if count != len(entries):
        raise CorruptError(f"the final record counts {count} chunks, not {len(entries)}")
    if len(data) < size:
        raise TruncatedError("the frame ends within its final record")
    if len(data) > size:
        raise CorruptError("bytes behind the final record")
    own_size, magic, found = struct.unpack_from("<I4sQ", data, size - 16)
    if found != xxh3_64_intdigest(data[: size - 8], header_hash):
        raise CorruptError("the final record's hash")
    if reserved != b"\0\0\0" or own_size != size or magic != b"XPCD":
        raise CorruptError("the final record's reserved bytes, size or magic")
    contents = b"".join(struct.pack("<IQ", raw, content) for _, raw, content in entries)
    if digest != xxh3_128_intdigest(contents).to_bytes(16, "little") or total != sum(raw for _, raw, _ in entries):
        raise CorruptError("the final record's digest or total")
    if data[32 : size - 16] != b"".join(struct.pack("<IIQ", *entry) for entry in entries):
        raise CorruptError("the index names other chunks")


def decode_chunk(codec: int, payload: bytes, parameter: int, size: int) -> bytes:
    """The `size` raw bytes of a chunk."""
    if codec == 2:
        return decode_planes(payload, parameter, size)
    if codec == 3:
        return decode_float(payload, parameter, size)
    if codec == 4:
        return decode_container(payload, parameter, size)
    if parameter != 0:
        raise CorruptError(f"codec {codec} with parameter {parameter}")
    return one_zstandard_frame(payload, size) if codec == 1 else exactly(payload, size)


def exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise CorruptError(f"{len(data)} bytes in place of {size}")
    return data


def one_zstandard_frame(data: bytes, size: int) -> bytes:
    try:
        if not data.startswith(b"\x28\xb5\x2f\xfd") or zstandard.frame_content_size(data) not in (-1, size):
            raise CorruptError("Zstandard data of another size, or none")
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 24)
        return exactly(decompressor.decompress(data, max_output_size=size, allow_extra_data=False), size)
    except zstandard.ZstdError as error:
        raise CorruptError(f"Zstandard data: {error}") from None


def decode_planes(payload: bytes, width: int, size: int) -> bytes:
    if width not in (2, 4, 8) or len(payload) < 5 * width:
        raise CorruptError("planes of another width, or without headers")
    count, tail = divmod(size, width)
    out = bytearray(size)
    at = 5 * width
    for number in range(width):
        method, stored = struct.unpack_from("<BI", payload, 5 * number)
        plane = exactly(payload[at : at + stored], stored)
        at += stored
        if method == 0:
            plane = exactly(plane, count)
        elif method == 1:
            plane = one_zstandard_frame(plane, count)
        elif method == 2:
            plane = exactly(plane, 1) * count
        else:
            raise CorruptError(f"a plane of method {method}")
        out[number : count * width : width] = plane
    out[count * width :] = exactly(payload[at:], tail)
    return bytes(out)


def decode_container(payload: bytes, parameter: int, size: int) -> bytes:
    if len(payload) < 2 or payload[0] not in NAMES:
        raise CorruptError("a container's arguments")
    shape, at = read_varints(payload, 2, payload[1])
    dtype, elements = NAMES[payload[0]], payload[at:]
    nbytes, stride = DTYPES[dtype], 1
    for number in shape:
        nbytes *= number
    for number in shape[1:]:
        stride *= max(number, 1)
    if max(nbytes, stride) >= 1 << 63:
        raise CorruptError("a container of too large a tensor")
    before, after = container(dtype, shape)
    if parameter == 0:
        return exactly(before + exactly(elements, nbytes) + after, size)
    if parameter not in (1, 2):
        raise CorruptError(f"a container's part {parameter}")
    exactly(elements, 0)
    return exactly(before if parameter == 1 else after, size)


# --- transforms -------------------------------------------------------------------------------------------------------

WORD = "[A-Za-z0-9][A-Za-z0-9._-]*"
DESCRIPTOR = re.compile(f"({WORD}(?:@{WORD})?)(?:/([!-~]+))?")


def transforms(descriptors: tuple[str, ...]) -> list[str]:
    """The transforms that these descriptors stand for, chains taken apart, in the order in which they saw the data."""
    found = []
    for descriptor in descriptors:
        match = DESCRIPTOR.fullmatch(descriptor) if len(descriptor) <= 1024 else None
        if match is None:
            raise UnsupportedError(f"{descriptor[:100]!a} is no descriptor")
        key, version = match[1], match[2] or ""
        number, _, inner = version.partition(":")
        if key == "stream.chain@dcpx" and number == "1":
            parts = [unquote_to_bytes(part).decode("utf-8", "replace") for part in inner.split(",")] if inner else []
            found += transforms(tuple(parts))
        elif descriptor == FRAME or (key == "stream.zstd" and re.fullmatch(r"1(\.[0-9]+)?", version)):
            found.append(key)
        else:
            raise UnsupportedError(f"transform {descriptor!r}")
    return found


def open_item(stored: bytes, descriptors: tuple[str, ...], limit: int) -> tuple[list[Header], bytes]:
    """The raw item, of at most `limit` bytes, and the headers of the frames that it was in."""
    headers: list[Header] = []
    content = stored
    for transform in reversed(transforms(descriptors)):
        if transform == "stream.zstd":
            content = read_zstandard(content, 2 * limit + (1 << 20))
        else:
            header, content = read_frame(content, 2 * limit + (1 << 20))
            headers.append(header)
    if len(content) > limit:
        raise LimitError(f"an item of {len(content)} bytes, more than {limit}")
    return headers, content


def read_zstandard(data: bytes, limit: int) -> bytes:
    """The content of one or more Zstandard frames; skippable ones have none."""
    out, at = bytearray(), 0
    while at < len(data) or at == 0:
        magic = data[at : at + 4]
        if len(magic) < 4:
            raise TruncatedError("Zstandard data without an end")
        if 0x184D2A50 <= int.from_bytes(magic, "little") <= 0x184D2A5F:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            if at > len(data):
                raise TruncatedError("Zstandard data without an end")
            continue
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        while not decompressor.eof:
            part = data[at : at + 4096]
            if not part:
                raise TruncatedError("Zstandard data without an end")
            try:
                out += decompressor.decompress(part)
            except zstandard.ZstdError as error:
                raise CorruptError(f"Zstandard data: {error}") from None
            at += len(part) - len(decompressor.unused_data)
            if len(out) > limit:
                raise LimitError(f"Zstandard data of more than {limit} bytes")
    return bytes(out)
