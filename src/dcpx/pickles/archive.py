"""The zip archive that `torch.save` writes, checked before torch reads it.

torch's reader inflates what is compressed, takes any of several entries of a name, whatever its case, lets entries lie
anywhere, upon each other too, and reads nothing into the memory for one that is marked as a folder; what doesn't begin
like an archive it takes for an older format. Here an archive is exactly what torch writes: one stored entry after
another, the directory, its end, and nothing before, between or behind that could be read in two ways.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from typing import IO, NamedTuple, NoReturn

from ..errors import CorruptError, LimitError, TruncatedError, UnsupportedError
from ..streams import read_exactly

__all__ = ["PICKLE", "Archive", "open_archive"]

PICKLE = "data.pkl"

_LOCAL = struct.Struct("<4s2x2H16x2H")  # magic, flags, method, name's size, extra size
_CENTRAL = struct.Struct("<4s4x2H4x3I4H2x2I")  # magic, flags, method, CRC32, sizes, of texts, disk, kind, offset
_END64 = struct.Struct("<4s8x4x2I4Q")  # magic, disks, entries here and in all, the directory's size and offset
_LOCATOR64 = struct.Struct("<4sIQI")  # magic, disk, offset of the former, disks
_SIZES = struct.Struct("<2I")  # within a _CENTRAL, at _SIZES_AT
_SIZES_AT = 20
_END = struct.Struct("<4s4H2IH")  # magic, disks, entries here and in all, the directory's size and offset, comment
_TAIL = _END64.size + _LOCATOR64.size + _END.size

_MOST16, _MOST32 = 0xFFFF, 0xFFFFFFFF
_STORED = 0
_HARMLESS_FLAGS = 1 << 3 | 1 << 11  # sizes follow the content; names are UTF-8
_FOLDER = 1 << 4
_WIDE = 1  # the extra field of sizes and offsets that don't fit 32 bits

_MAX_ENTRIES = 1 << 18
_PART = 1 << 20  # bytes that are read at once
_NAME = re.compile(r"[^/\x00-\x1f\x7f]+/([^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f])")
_TORCH_SCRIPT = "constants.pkl"


class _Entry(NamedTuple):
    name: bytes
    offset: int  # of its local header
    size: int
    crc32: int
    listed: int  # where the directory lists it


class Archive:
    """The records of an archive by their names, without the folder that they all lie in: (offset, size) in the stream.

    They don't overlap, so that together they hold no more than the stream.
    """

    def __init__(self, stream: IO[bytes], entries: dict[str, _Entry], records: dict[str, tuple[int, int]]) -> None:
        self.records = records
        self.crc32 = {name: entry.crc32 for name, entry in entries.items()}
        self.used: dict[str, int] = {}
        """Of records that have more bytes than the pickle uses, how many it uses."""
        self._stream = stream
        self._entries = entries

    def size(self, name: str) -> int:
        """A record's size; -1 where there is no such."""
        return self.records.get(name, (0, -1))[1]

    def read(self, name: str, most: int) -> bytes:
        """A record's content. CorruptError where there is no such, or one of more than `most` bytes."""
        if not 0 <= self.size(name) <= most:
            _corrupt(f"its {name} has {self.size(name)} bytes" if name in self.records else f"it has no {name}")
        offset, size = self.records[name]
        return _read_at(self._stream, offset, size)

    def check_crc32(self) -> bool:
        """Compare the CRC32s, at which torch doesn't look when it loads; False if there are none.

        CorruptError where one is wrong. Reads everything, a part at a time.
        """
        if not any(self.crc32.values()):
            return False  # torch was told to leave them out
        for name, (offset, size) in sorted(self.records.items(), key=lambda record: record[1]):
            self._stream.seek(offset)
            found = 0
            while size > 0:
                part = self._stream.read(min(_PART, size))
                if not part:
                    raise TruncatedError("the container ends too early")
                found = zlib.crc32(part, found)
                size -= len(part)
            if found != self.crc32[name]:
                raise CorruptError(f"the CRC32 of the container's record {name!r} is wrong")
        return True

    def cut(self, content: io.BytesIO) -> None:
        """Let the directory in `content`, the archive's bytes, say of no record that it has more bytes than are used.

        torch.save writes a storage with the bytes of an element that isn't whole; newer torch doesn't load that.
        """
        for name, size in self.used.items():
            if self.size(name) < _MOST32:  # else the directory has its size elsewhere
                content.seek(self._entries[name].listed + _SIZES_AT)
                content.write(_SIZES.pack(size, size))
        content.seek(0)


def open_archive(stream: IO[bytes]) -> Archive:
    """The archive in `stream`, which can seek and holds nothing else. Of its records only the headers are read.

    Raises CorruptError for what torch.save doesn't write, UnsupportedError for TorchScript.
    """
    end = stream.seek(0, os.SEEK_END)
    begins, size, count = _directory(stream, end)
    if count > _MAX_ENTRIES:
        raise LimitError(f"the container has {count} records, more than {_MAX_ENTRIES}")
    entries = _entries(_read_at(stream, begins, size), count, begins)
    folder = entries[0].name.partition(b"/")[0]
    records: dict[str, tuple[int, int]] = {}
    named: dict[str, _Entry] = {}
    position = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset < position or (position == 0 and entry.offset != 0):
            _corrupt("its records overlap, or begin too late")
        content = _content(stream, entry, begins)
        position = content + entry.size
        if position > begins:
            _corrupt("a record reaches into its directory")
        name = _name(entry.name, folder)
        records[name], named[name] = (content, entry.size), entry
    # torch's reader doesn't tell upper from lower case.
    if len({name.lower() for name in records}) != count:
        _corrupt("it has two records of one name")
    if _TORCH_SCRIPT in records:
        raise UnsupportedError("the container is one of TorchScript, which is a program", remedy="Load it by itself")
    return Archive(stream, named, records)


def _directory(stream: IO[bytes], end: int) -> tuple[int, int, int]:
    """Where the directory begins, its size, and its number of entries, from the archive's last bytes."""
    tail = _read_at(stream, max(end - _TAIL, 0), min(end, _TAIL))
    if len(tail) < _END.size:
        raise TruncatedError(f"the container is no archive, it has {end} bytes")
    magic, disk, start_disk, here, count, size, begins, comment = _END.unpack(tail[-_END.size :])
    if magic != b"PK\5\6" or disk or start_disk or here != count or comment:
        raise TruncatedError("the container has no end: it was cut short, or other bytes follow it")
    directory_end = end - _END.size
    if len(tail) == _TAIL and tail[_END64.size :].startswith(b"PK\6\7"):
        directory_end = end - _TAIL
        _, disk, offset, disks = _LOCATOR64.unpack_from(tail, _END64.size)
        magic, *wide_disks, here, wide_count, wide_size, wide_begins = _END64.unpack_from(tail)
        if magic != b"PK\6\6" or offset != directory_end or disk or disks != 1 or any(wide_disks):
            _corrupt("its end isn't one")
        if here != wide_count or count not in (wide_count, _MOST16):
            _corrupt("its end counts twice")
        if size not in (wide_size, _MOST32) or begins not in (wide_begins, _MOST32):
            _corrupt("its end names two directories")
        count, size, begins = wide_count, wide_size, wide_begins
    if begins + size != directory_end or not _CENTRAL.size * count <= size or count == 0:
        _corrupt("its directory isn't where its end says")
    return begins, size, count


def _entries(directory: bytes, count: int, begins: int) -> list[_Entry]:
    entries = []
    position = 0
    for _ in range(count):
        if len(directory) - position < _CENTRAL.size:
            _corrupt("its directory is cut short")
        numbers = _CENTRAL.unpack_from(directory, position)
        magic, flags, method, crc32, stored, size, name_size, extra_size, comment_size, disk, kind, offset = numbers
        listed = begins + position
        position += _CENTRAL.size
        name = directory[position : position + name_size]
        extra = directory[position + name_size : position + name_size + extra_size]
        position += name_size + extra_size + comment_size
        if magic != b"PK\1\2" or disk or position > len(directory):
            _corrupt("its directory is damaged")
        _check_stored(flags, method)
        if kind & _FOLDER:  # of which torch's reader reads nothing, and returns memory as it was
            _corrupt("a record is marked as a folder")
        size, stored, offset = _wide(extra, size, stored, offset)
        if stored != size:
            _corrupt("a record has two sizes")
        entries.append(_Entry(name, offset, size, crc32, listed))
    if position != len(directory):
        _corrupt("its directory is longer than its entries")
    return entries


def _wide(extra: bytes, *narrow: int) -> list[int]:
    """The numbers, those that don't fit 32 bits from the extra field that has them, in this order."""
    if _MOST32 not in narrow:
        return list(narrow)
    position = 0
    while len(extra) - position >= 4:
        kind, size = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == _WIDE and size <= len(extra) - position and size == 8 * narrow.count(_MOST32):
            wide = iter(struct.unpack_from(f"<{size // 8}Q", extra, position))
            return [next(wide) if number == _MOST32 else number for number in narrow]
        position += size
    _corrupt("a record lacks its size")


def _content(stream: IO[bytes], entry: _Entry, end: int) -> int:
    """Where an entry's content begins: behind its local header, which must agree with the directory."""
    if entry.offset + _LOCAL.size > end:
        _corrupt("a record lies outside")
    header = _read_at(stream, entry.offset, _LOCAL.size + len(entry.name))
    magic, flags, method, name_size, extra_size = _LOCAL.unpack_from(header)
    if magic != b"PK\3\4" or name_size != len(entry.name) or header[_LOCAL.size :] != entry.name:
        _corrupt("a record isn't the one that its directory names")
    _check_stored(flags, method)
    return entry.offset + _LOCAL.size + len(entry.name) + int(extra_size)


def _check_stored(flags: int, method: int) -> None:
    if method != _STORED or flags & ~_HARMLESS_FLAGS:
        _corrupt("a record is compressed or encrypted, which torch.save doesn't do")


def _name(name: bytes, folder: bytes) -> str:
    try:
        found = _NAME.fullmatch(name.decode("utf-8"))
    except UnicodeDecodeError:
        found = None
    if found is None or name.partition(b"/")[0] != folder:
        _corrupt("a record has a wrong name")
    return found.group(1)


def _read_at(stream: IO[bytes], offset: int, size: int) -> bytes:
    stream.seek(offset)
    data = read_exactly(stream, size)
    if len(data) != size:
        raise TruncatedError("the container ends too early")
    return data


def _corrupt(cause: str) -> NoReturn:
    raise CorruptError(f"the container isn't sound: {cause}")
