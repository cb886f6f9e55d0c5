"""The bytes of a frame: pure functions from values to bytes and back. `spec/format.md` describes them, with pictures.

    frame = header, chunk*, final record

All integers are little-endian; `varint` is unsigned LEB128 in its shortest form, at most 9 bytes. The file is long
because all of a frame's bytes are told in one place.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import lru_cache
from itertools import islice, starmap
from operator import itemgetter
from typing import NamedTuple, NoReturn

from .. import kernels
from ..codecs.dtypes import CODES, ITEM_SIZES, NAMES
from ..errors import CorruptError, TruncatedError, UnsupportedError, Where
from ..varint import Cursor, pack_varint
from .limits import MAX_CHUNK_SIZE, MAX_HEADER_SIZE, MIN_CHUNK_SIZE

__all__ = [
    "CHUNK_HEADER_SIZE",
    "FOOTER_SIZE",
    "INDEX_ENTRY_SIZE",
    "MAGIC",
    "MANY_CHUNKS",
    "PREFIX_SIZE",
    "BaseReference",
    "ChunkHeader",
    "Entry",
    "Final",
    "Header",
    "Index",
    "ItemKey",
    "TensorHint",
    "content_digest",
    "content_hash",
    "header_size",
    "pack_chunk_header",
    "pack_final",
    "pack_header",
    "pack_hint",
    "pack_key",
    "parse_chunk_header",
    "parse_final",
    "parse_footer",
    "parse_header",
]

MAGIC = b"\xd7DCPX\r\n\x1a"
MAJOR, MINOR = 1, 0

_PREFIX = struct.Struct("<8sBBHII")  # magic, major, minor, critical flags, header size, chunk size
_FIELD = struct.Struct("<BH")  # tag, length
_CHUNK = struct.Struct("<BBHIII8s")  # kind, codec, parameter, index, stored size, raw size, tag
_FINAL = struct.Struct("<B3xIQ16s")  # kind, chunk count, raw total, digest
_FOOTER = struct.Struct("<I4s8s")  # final record's size, magic, checksum
_BASE = struct.Struct("<B16s16s")  # kind, checkpoint uuid, digest of the base's content

PREFIX_SIZE = _PREFIX.size
CHUNK_HEADER_SIZE = _CHUNK.size
FOOTER_SIZE = _FOOTER.size
FOOTER_MAGIC = b"XPCD"
CHECKSUM_SIZE = 8

KIND_DATA, KIND_FINAL = 1, 2

FLAG_ENCRYPTED = 1 << 0
FLAG_DELTA = 1 << 1
_FLAG_NAMES = {FLAG_ENCRYPTED: "encrypted", FLAG_DELTA: "a delta"}

# A field's tag; one with bit 7 set is critical: a reader that doesn't know it must refuse the frame.
FIELD_ITEM_KEY = 0x01
FIELD_TENSOR_HINT = 0x02
FIELD_CHECKPOINT = 0x03
FIELD_CODECS = 0x81
FIELD_ENCRYPTION = 0x82
FIELD_BASE = 0x83
_CRITICAL = 0x80

NO_OFFSETS = 0xFF
_MAX_DIMENSIONS = 254

_ENTRY = struct.Struct("<IIQ")  # stored size, raw size, content hash
_CONTENT = struct.Struct("<IQ")  # raw size, content hash

Entry = tuple[int, int, int]
"""A chunk in the index: its stored size and raw size in bytes, and its content's hash."""

INDEX_ENTRY_SIZE = _ENTRY.size
_stored_size, _raw_size = itemgetter(0), itemgetter(1)

MANY_CHUNKS = 4096
"""Chunks of a frame from which on what is known of them is kept as small as it can be."""


class Index(Sized, Iterable[Entry]):
    """The entries of many chunks, kept as they are stored: as tuples they would take ten times the memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // INDEX_ENTRY_SIZE

    def __getitem__(self, number: int) -> Entry:
        return _ENTRY.unpack_from(self._data, number * INDEX_ENTRY_SIZE)

    def __iter__(self) -> Iterator[Entry]:
        return _ENTRY.iter_unpack(self._data)


class ItemKey(NamedTuple):
    """Which item this is: the fully qualified name and, for a tensor's shard, its offsets in elements."""

    fqn: str
    offsets: tuple[int, ...] | None = None


class TensorHint(NamedTuple):
    """Where a tensor's elements lie within the raw item: `nbytes` bytes from `payload_offset`, C-contiguous."""

    dtype: str
    shape: tuple[int, ...]
    payload_offset: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]


class BaseReference(NamedTuple):
    """The full item that a delta builds on: its checkpoint's UUID and its content's digest, 16 bytes each."""

    kind: int
    checkpoint: bytes
    digest: bytes


class Header(NamedTuple):
    """Everything before the first chunk. `codecs` lists the codec ids that chunks may use, ascending.

    `size` in bytes and `checksum` are known once the header was packed or parsed.
    """

    chunk_size: int
    codecs: tuple[int, ...]
    key: ItemKey | None = None
    hint: TensorHint | None = None
    checkpoint: bytes | None = None
    base: BaseReference | None = None
    size: int = 0
    checksum: int = 0


class ChunkHeader(NamedTuple):
    """A chunk's own header; `tag` is checked against the content once that is decoded."""

    codec: int
    parameter: int
    number: int
    stored: int
    raw: int
    tag: bytes


class Final(NamedTuple):
    """The final record: an entry for each chunk, and the digest of the item's content."""

    entries: Sequence[Entry] | Index
    total: int
    digest: bytes
    size: int


# --- header ---------------------------------------------------------------------------------------------------------


def pack_header(header: Header) -> bytes:
    """The header's bytes. ValueError where it is longer than MAX_HEADER_SIZE."""
    fields = []  # in the order of their tags
    if header.key is not None:
        fields.append(_field(FIELD_ITEM_KEY, pack_key(header.key)))
    if header.hint is not None:
        fields.append(_field(FIELD_TENSOR_HINT, pack_hint(header.hint)))
    if header.checkpoint is not None:
        fields.append(_field(FIELD_CHECKPOINT, header.checkpoint))
    fields.append(_field(FIELD_CODECS, bytes(header.codecs)))
    if header.base is not None:
        fields.append(_field(FIELD_BASE, _BASE.pack(header.base.kind, header.base.checkpoint, header.base.digest)))
    flags = FLAG_DELTA if header.base is not None else 0
    packed = b"".join(fields)
    size = PREFIX_SIZE + len(packed) + CHECKSUM_SIZE
    if size > MAX_HEADER_SIZE:
        raise ValueError(f"a frame's header must not exceed {MAX_HEADER_SIZE} bytes, this one has {size}")
    body = _PREFIX.pack(MAGIC, MAJOR, MINOR, flags, size, header.chunk_size) + packed
    return body + _checksum(body)


def header_size(prefix: bytes) -> int:
    """The header's size, from its first PREFIX_SIZE bytes: only how far to read; nothing else is believed yet."""
    if len(prefix) < PREFIX_SIZE:
        if not MAGIC.startswith(prefix[: len(MAGIC)]):
            _corrupt("not a dcpx frame: it doesn't begin with the frame's magic bytes", 0)
        raise TruncatedError(f"the item ends after {len(prefix)} bytes, within the frame's header", Where(offset=0))
    magic, major, _, _, size, _ = _PREFIX.unpack(prefix[:PREFIX_SIZE])
    if magic != MAGIC:
        _corrupt("not a dcpx frame: it doesn't begin with the frame's magic bytes", 0)
    if major != MAJOR:
        raise UnsupportedError(f"the frame has version {major}, this dcpx reads version {MAJOR}", Where(offset=8))
    if not PREFIX_SIZE + CHECKSUM_SIZE <= size <= MAX_HEADER_SIZE:
        _corrupt(f"impossible header size {size}", 12)
    return int(size)


def parse_header(data: bytes) -> Header:
    """Parse a whole header. Raises CorruptError, or UnsupportedError for critical parts this version doesn't know."""
    if len(data) != header_size(data):
        raise TruncatedError(f"the item ends after {len(data)} bytes, within the frame's header", Where(offset=0))
    if _checksum(data[:-CHECKSUM_SIZE]) != data[-CHECKSUM_SIZE:]:
        _corrupt("the frame's header doesn't match its checksum", 0)
    _, _, _, flags, size, chunk_size = _PREFIX.unpack_from(data)
    if unknown := flags & ~(FLAG_ENCRYPTED | FLAG_DELTA):
        raise UnsupportedError(f"the frame has unknown critical flags {unknown:#06x}", Where(offset=10))
    for flag, name in _FLAG_NAMES.items():
        if flags & flag:
            raise UnsupportedError(f"the frame is {name}, which this dcpx doesn't read", Where(offset=10))
    if not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE:
        _corrupt(f"impossible chunk size {chunk_size}", 16)
    fields = _parse_fields(data[PREFIX_SIZE:-CHECKSUM_SIZE])
    codecs = tuple(fields.get(FIELD_CODECS, b""))
    if list(codecs) != sorted(set(codecs)) or not codecs:
        _corrupt("the header's list of codecs is not an ascending one", PREFIX_SIZE)
    checkpoint = fields.get(FIELD_CHECKPOINT)
    if checkpoint is not None and len(checkpoint) != 16:
        _corrupt("the checkpoint's UUID hasn't 16 bytes", PREFIX_SIZE)
    return Header(
        chunk_size=chunk_size,
        codecs=codecs,
        key=_parse_key(fields[FIELD_ITEM_KEY]) if FIELD_ITEM_KEY in fields else None,
        hint=_parse_hint(fields[FIELD_TENSOR_HINT]) if FIELD_TENSOR_HINT in fields else None,
        checkpoint=checkpoint,
        size=size,
        checksum=int.from_bytes(data[-CHECKSUM_SIZE:], "little"),
    )


def _field(tag: int, value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError(f"a header field must not exceed 65535 bytes, this one has {len(value)}")
    return _FIELD.pack(tag, len(value)) + value


def _parse_fields(data: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    position, last = 0, -1
    while position < len(data):
        where = PREFIX_SIZE + position
        if len(data) - position < 3:
            _corrupt("a header field is cut short", where)
        tag, length = _FIELD.unpack_from(data, position)
        position += 3
        if tag <= last or length > len(data) - position:
            _corrupt(f"header field {tag:#04x} is out of order or longer than the header", where)
        if tag & _CRITICAL and tag != FIELD_CODECS:
            raise UnsupportedError(f"the frame has an unknown critical header field {tag:#04x}", Where(offset=where))
        fields[tag] = data[position : position + length]
        position, last = position + length, tag
    return fields


def pack_key(key: ItemKey) -> bytes:
    """The item key's value. ValueError where a header can't hold it."""
    # surrogatepass: Python names that are no valid Unicode still come back as they were.
    name = key.fqn.encode("utf-8", "surrogatepass")
    if key.offsets is None:
        return bytes([NO_OFFSETS]) + name
    _check_dimensions(len(key.offsets))
    return bytes([len(key.offsets)]) + b"".join(map(pack_varint, key.offsets)) + name


def _parse_key(data: bytes) -> ItemKey:
    cursor = Cursor(data)
    try:
        count = cursor.byte()
        offsets = None if count == NO_OFFSETS else cursor.varints(count)
        return ItemKey(cursor.rest().decode("utf-8", "surrogatepass"), offsets)
    except UnicodeDecodeError:
        _corrupt("the item's name in the header isn't UTF-8", PREFIX_SIZE)
    except ValueError as error:
        _corrupt(f"the item's key in the header can't be read: {error}", PREFIX_SIZE)


# Most tensors of a state have one of a few shapes.
@lru_cache(1024)
def pack_hint(hint: TensorHint) -> bytes:
    """The tensor hint's value. ValueError where a header can't hold it."""
    _check_dimensions(len(hint.shape))
    numbers = b"".join(map(pack_varint, (hint.payload_offset, *hint.shape)))
    return bytes([CODES[hint.dtype], len(hint.shape)]) + numbers


@lru_cache(1024)
def _parse_hint(data: bytes) -> TensorHint | None:
    cursor = Cursor(data)
    try:
        dtype, dimensions = NAMES.get(cursor.byte()), cursor.byte()
        offset, *shape = cursor.varints(1 + dimensions)
    except ValueError as error:
        _corrupt(f"the tensor hint can't be read: {error}", PREFIX_SIZE)
    if cursor.rest():
        _corrupt("the tensor hint is longer than it says", PREFIX_SIZE)
    if dtype is None:
        return None  # a later dtype: the container inside still says what it is
    return TensorHint(dtype, tuple(shape), offset)


def _check_dimensions(count: int) -> None:
    if count > _MAX_DIMENSIONS:
        raise ValueError(f"a frame's header holds tensors of up to {_MAX_DIMENSIONS} dimensions, not {count}")


# --- chunks ---------------------------------------------------------------------------------------------------------


def content_hash(raw: memoryview) -> int:
    """XXH3-64 of a chunk's raw bytes."""
    return kernels.xxh3(raw, 0)


def pack_chunk_header(header: ChunkHeader, frame: Header, content: int) -> bytes:
    """A chunk's header, whose tag binds its fields and its content's hash to this frame; `header.tag` is ignored."""
    fields = (KIND_DATA, header.codec, header.parameter, header.number, header.stored, header.raw)
    packed = _CHUNK.pack(*fields, b"")
    return packed[:-CHECKSUM_SIZE] + _tag(packed[:-CHECKSUM_SIZE], frame, content)


def parse_chunk_header(data: bytes, frame: Header, index: int, offset: int) -> ChunkHeader:
    """Parse the header of chunk `index`, which lies `offset` bytes into the item; CorruptError where it can't be."""
    if len(data) < CHUNK_HEADER_SIZE:
        raise TruncatedError("the item ends within a chunk's header", Where(None, None, offset, index))
    kind, codec, parameter, found, stored, raw, tag = _CHUNK.unpack(data)
    where = Where(None, None, offset, index)
    if kind != KIND_DATA or found != index:
        raise CorruptError(f"expected chunk {index}, found record kind {kind} with index {found}", where)
    if not 0 < raw <= frame.chunk_size or not 0 < stored <= raw:
        raise CorruptError(f"impossible chunk sizes: {stored} bytes stored for {raw} raw ones", where)
    if codec not in frame.codecs:
        raise CorruptError(f"codec {codec} is not among those the header names, {list(frame.codecs)}", where)
    return ChunkHeader(codec, parameter, found, stored, raw, tag)


def check_tag(header: ChunkHeader, frame: Header, content: int) -> bool:
    """Whether a decoded chunk with this content hash is what the chunk's header was written for, in this frame."""
    fields = (KIND_DATA, header.codec, header.parameter, header.number, header.stored, header.raw)
    return _tag(_CHUNK.pack(*fields, b"")[:-CHECKSUM_SIZE], frame, content) == header.tag


def _tag(fields: bytes, frame: Header, content: int) -> bytes:
    return kernels.xxh3(fields + content.to_bytes(8, "little"), frame.checksum).to_bytes(8, "little")


# --- final record ---------------------------------------------------------------------------------------------------


def content_digest(index: Iterable[Entry]) -> bytes:
    """The item's digest: XXH3-128 of the raw sizes and content hashes of its chunks, whatever their coding."""
    hasher = kernels.Xxh3_128()
    entries = iter(index)
    while part := b"".join([_CONTENT.pack(raw, content) for _, raw, content in islice(entries, MANY_CHUNKS)]):
        hasher.update(part)
    return hasher.digest()


def pack_final(index: Sequence[Entry], frame: Header) -> bytes:
    """The final record of a frame with these chunks."""
    total = sum(map(_raw_size, index))
    body = _FINAL.pack(KIND_FINAL, len(index), total, content_digest(index)) + b"".join(starmap(_ENTRY.pack, index))
    body += _FOOTER.pack(len(body) + FOOTER_SIZE, FOOTER_MAGIC, b"")[:-CHECKSUM_SIZE]
    return body + _checksum(body, frame.checksum)


def parse_footer(data: bytes, frame: Header, frame_size: int) -> int:
    """The final record's size, from the frame's last FOOTER_SIZE bytes; no more than the frame can hold."""
    size, magic, _ = _FOOTER.unpack(data)
    smallest = _FINAL.size + FOOTER_SIZE
    count, rest = divmod(size - smallest, _ENTRY.size)
    room = frame_size - frame.size - max(count, 0) * (CHUNK_HEADER_SIZE + 1)  # beside so many chunks
    if magic != FOOTER_MAGIC or not smallest <= size <= room or rest:
        raise TruncatedError(
            "no final record at the end of the item: it was cut short, or other bytes follow it",
            Where(offset=max(frame_size - FOOTER_SIZE, 0)),
        )
    return int(size)


def parse_final(data: bytes, frame: Header, offset: int) -> Final:
    """Parse a whole final record, which lies `offset` bytes into the item."""
    where = Where(offset=offset)
    if _checksum(data[:-CHECKSUM_SIZE], frame.checksum) != data[-CHECKSUM_SIZE:]:
        raise CorruptError("the final record doesn't match its checksum", where)
    kind, count, total, digest = _FINAL.unpack_from(data)
    packed = data[_FINAL.size : -FOOTER_SIZE]
    index = Index(packed) if count >= MANY_CHUNKS else list(_ENTRY.iter_unpack(packed))
    size, magic, _ = _FOOTER.unpack_from(data, len(data) - FOOTER_SIZE)
    if size != len(data) or magic != FOOTER_MAGIC:
        raise CorruptError("the final record's own size or magic is wrong", where)
    if kind != KIND_FINAL or data[1:4] != b"\0\0\0" or count != len(index):
        raise CorruptError(f"the final record has kind {kind} and counts {count} chunks, not {len(index)}", where)
    if not all(0 < stored <= raw <= frame.chunk_size for stored, raw, _ in index):
        raise CorruptError("the final record's index has impossible chunk sizes", where)
    if sum(map(_raw_size, index)) != total or content_digest(index) != digest:
        raise CorruptError("the final record contradicts itself", where)
    if frame.size + sum(map(_stored_size, index)) + CHUNK_HEADER_SIZE * len(index) != offset:
        raise CorruptError("the final record's index doesn't add up to the frame's size", where)
    return Final(index, total, digest, len(data))


def final_size(first: bytes) -> int:
    """The size of a final record from its first CHUNK_HEADER_SIZE bytes, for a stream that can't seek."""
    return _FINAL.size + _ENTRY.size * int.from_bytes(first[4:8], "little") + FOOTER_SIZE


def _checksum(data: bytes, seed: int = 0) -> bytes:
    return kernels.xxh3(data, seed).to_bytes(8, "little")


def _corrupt(cause: str, offset: int) -> NoReturn:
    raise CorruptError(cause, Where(offset=offset))
