"""Frames made by hand after spec/format.md, with any number in them a lie and every checksum right.

Nothing of `dcpx.frame` is used to write, so that a misreading of the specification shows on one of the two sides.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from dcpx.errors import DcpxError
from dcpx.frame import open_frame

MAGIC = bytes.fromhex("D744435058 0D0A1A")
ALL_CODECS = bytes([0, 1, 2])


def seal(body: bytes, seed: int = 0) -> bytes:
    """`body` and its checksum."""
    return body + struct.pack("<Q", xxh3_64_intdigest(body, seed))


def reseal(record: bytes, seed: int = 0) -> bytes:
    """A changed header or final record with the checksum that it would need."""
    return seal(record[:-8], seed)


def seed_of(head: bytes) -> int:
    """The header hash, which seeds all other checksums."""
    return int.from_bytes(head[-8:], "little")


def field(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<BH", tag, len(value) if length is None else length) + value


def header(
    fields: bytes = field(0x81, ALL_CODECS),
    *,
    magic: bytes = MAGIC,
    major: int = 1,
    minor: int = 0,
    flags: int = 0,
    size: int | None = None,
    chunk_size: int = 4096,
) -> bytes:
    total = 28 + len(fields) if size is None else size
    return seal(struct.pack("<8sBBHII", magic, major, minor, flags, total, chunk_size) + fields)


@dataclass(frozen=True)
class Chunk:
    """A chunk's raw bytes, how they are stored, and what its header and the index say of that."""

    raw: bytes
    payload: bytes | None = None  # None: the raw bytes
    codec: int = 0
    parameter: int = 0
    kind: int = 1
    index: int | None = None
    stored_size: int | None = None
    raw_size: int | None = None
    content: int | None = None
    entry: tuple[int, int, int] | None = None

    @property
    def stored(self) -> bytes:
        return self.raw if self.payload is None else self.payload

    def record(self, head: bytes, number: int) -> bytes:
        """The chunk's record, as chunk `number` of the frame with this header."""
        index = number if self.index is None else self.index
        fields = struct.pack("<BBHI", self.kind, self.codec, self.parameter, index) + self._sizes()
        tagged = fields + struct.pack("<Q", self._content())
        return fields + struct.pack("<Q", xxh3_64_intdigest(tagged, seed_of(head))) + self.stored

    def index_entry(self) -> tuple[int, int, int]:
        return self.entry or (*struct.unpack("<II", self._sizes()), self._content())

    def _sizes(self) -> bytes:
        stored = len(self.stored) if self.stored_size is None else self.stored_size
        return struct.pack("<II", stored, len(self.raw) if self.raw_size is None else self.raw_size)

    def _content(self) -> int:
        return xxh3_64_intdigest(self.raw) if self.content is None else self.content


def final(
    head: bytes,
    entries: Sequence[tuple[int, int, int]],
    *,
    count: int | None = None,
    total: int | None = None,
    digest: int | None = None,
    kind: int = 2,
    reserved: bytes = b"\0\0\0",
    size: int | None = None,
    magic: bytes = b"XPCD",
) -> bytes:
    contents = b"".join(struct.pack("<IQ", raw, content) for _, raw, content in entries)
    digested = xxh3_128_intdigest(contents) if digest is None else digest
    summed = sum(raw for _, raw, _ in entries) if total is None else total
    body = struct.pack("<B3sIQ", kind, reserved, len(entries) if count is None else count, summed)
    body += digested.to_bytes(16, "little") + b"".join(struct.pack("<IIQ", *entry) for entry in entries)
    body += struct.pack("<I4s", 48 + 16 * len(entries) if size is None else size, magic)
    return seal(body, seed_of(head))


def frame(chunks: Sequence[Chunk] = (), head: bytes | None = None, end: bytes | None = None) -> bytes:
    head = header() if head is None else head
    records = b"".join(chunk.record(head, number) for number, chunk in enumerate(chunks))
    return head + records + (final(head, [chunk.index_entry() for chunk in chunks]) if end is None else end)


class Pipe(io.RawIOBase):
    """A stream that only reads onward, a little at a time, as the output of another extension may."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._data.read(self._most if size is None or size < 0 else min(size, self._most))


FORMS = (True, False)
"""Whether the input can seek: both readers must come to the same end."""


def read(data: bytes, seekable: bool) -> bytes:
    """The frame's raw item."""
    with open_frame(io.BytesIO(data) if seekable else Pipe(data)) as reader:
        return reader.read()


def outcome(data: bytes, seekable: bool) -> bytes | DcpxError:
    """The raw item, or the error that refuses the frame; any other exception passes and fails the test."""
    try:
        return read(data, seekable)
    except DcpxError as error:
        return error
