"""safetensors, read and written: https://huggingface.co/docs/safetensors has the format.

A file is the length of the header (8 bytes, little endian), the header (JSON: of each tensor dtype, shape and where it
begins and ends in what follows, and texts under `__metadata__`), and the elements of the tensors, little endian, one
after another without a gap.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import (
    CorruptError,
    DcpxError,
    LoadError,
    MissingFileError,
    SaveError,
    TruncatedError,
    UnsupportedError,
    Where,
)
from .weights import Entry, Source, room_for

__all__ = ["INDEX", "SafetensorsSource", "header_of"]

MOST_HEADER = 100_000_000
"""Bytes that a header may have, as in the format's own reader."""

INDEX = "model.safetensors.index.json"
"""The index beside the files of a model that is in several."""

MOST_INDEX = 1 << 30

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class SafetensorsSource(Source):
    """One safetensors file, or a directory of several with their index, as Hugging Face lays out a model.

    Nothing that a header says is believed before it was held against the file. Files are read by offset, never mapped:
    one that is cut meanwhile is an error and not the process's end.
    """

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self.entries, self.objects, self.paths, self.note, self.empty, self.refused = {}, {}, {}, {}, [], {}
        self._files: list[int] = []
        self._where: dict[str, tuple[int, int, str]] = {}
        try:
            if path.is_dir():
                self._open_directory(path)
            else:
                self._open(path)
        except BaseException:
            self.close()
            raise

    def _open_directory(self, path: Path) -> None:
        index = next(iter(sorted(path.glob("*.safetensors.index.json"))), None)
        if index is None:
            for file in sorted(path.glob("*.safetensors")):
                self._open(file)
            return
        found = _json(_bytes_of(index, MOST_INDEX), index)
        table = found.get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(one, str) for one in table.values()):
            raise CorruptError("the index has no weight_map of names", Where(str(index)))
        for name in sorted(set(table.values())):
            if Path(name).name != name or name in ("", ".", "..") or not name.isprintable():
                raise CorruptError(f"the index names {name!r}, which is no file beside it", Where(str(index)))
            before = {*self.entries, *self.refused}
            self._open(path / name)
            listed = {tensor for tensor, file in table.items() if file == name}
            held = (self.entries.keys() | self.refused.keys()) - before
            if listed != held:
                wrong = min(listed ^ held)
                cause = f"the index and {name} differ in which tensors it holds"
                raise CorruptError(cause, Where(str(index), wrong), "Download the model again")
        total = found.get("metadata", {}).get("total_size") if isinstance(found.get("metadata"), dict) else None
        really = sum(entry.nbytes for entry in self.entries.values())
        if isinstance(total, int) and total != really and not self.refused:
            raise CorruptError(f"the index says {total} bytes in all, the files hold {really}", Where(str(index)))

    def _open(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise MissingFileError("the file is missing", Where(str(path))) from error
        except OSError as error:
            raise LoadError(f"{type(error).__name__}: {error}", Where(str(path))) from error
        self._files.append(descriptor)
        size = os.fstat(descriptor).st_size
        where = Where(str(path))
        if size < 8:
            raise TruncatedError(f"a safetensors file has at least 8 bytes, this has {size}", where)
        length = int.from_bytes(_read(descriptor, 0, 8, where), "little")
        if length > min(MOST_HEADER, size - 8):
            raise CorruptError(f"the header is to have {length} bytes, of {size} in the file", where)
        header = _json(_read(descriptor, 8, length, where), path)
        note = header.pop("__metadata__", {})
        if isinstance(note, dict) and all(isinstance(text, str) for text in note.values()):
            self.note.update(note)
        expected = 0
        for begin, end, name, entry in sorted(
            (_entry(name, said, where) for name, said in header.items()), key=lambda one: one[:3]
        ):
            if begin != expected:
                cause = f"it begins at {begin}, where {expected} bytes come before it"
                raise CorruptError(cause, Where(str(path), name))
            if name in self.entries or name in self.refused:
                raise CorruptError("two files hold it", Where(str(path), name))
            expected = end
            if isinstance(entry, DcpxError):
                self.refused[name] = entry
                continue
            self.entries[name] = entry
            self._where[name] = (descriptor, 8 + length + begin, str(path))
        if 8 + length + expected != size:
            cause = f"the header describes {8 + length + expected} bytes, the file has {size}"
            raise (TruncatedError if size < 8 + length + expected else CorruptError)(cause, where)

    def read(self, wanted: list[tuple[str, int, int]]) -> list[torch.Tensor]:
        found = room_for(self.rows(wanted))
        for (name, row, _), tensor in zip(wanted, found, strict=True):
            entry = self.entries[name]
            descriptor, offset, place = self._where[name]
            stride = entry.nbytes // entry.shape[0] if row else 0
            memory = tensor.view(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")
            _read_into(descriptor, offset + row * stride, memory, Where(place, name))
        return found

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []


def _entry(name: str, said: Any, where: Where) -> tuple[int, int, str, Entry | DcpxError]:
    """Where a tensor begins and ends, its name and what it is, or why it can't be read; CorruptError where that
    contradicts itself."""
    place = Where(where.file, name)
    try:
        dtype, shape, (begin, end) = said["dtype"], tuple(said["shape"]), said["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise CorruptError("the header doesn't say dtype, shape and data_offsets of it", place) from error
    numbers = (*shape, begin, end)
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers) or end < begin:
        raise CorruptError("its shape or offsets are no numbers that can be", place)
    known = getattr(torch, _DTYPES.get(dtype, "?") if isinstance(dtype, str) else "?", None)
    if known is None:
        remedy = "Upgrade dcpx or torch, or leave it out by names="
        return begin, end, name, UnsupportedError(f"its dtype {dtype!r:.50} isn't known here", place, remedy)
    nbytes = math.prod(shape) * known.itemsize
    if nbytes != end - begin:
        raise CorruptError(f"its shape and dtype need {nbytes} bytes, its offsets span {end - begin}", place)
    if len(shape) > _MOST_DIMENSIONS or math.prod(filter(None, shape)) >= 1 << 63:
        cause = f"torch has no tensor of its shape, of {len(shape)} dimensions"
        return begin, end, name, UnsupportedError(cause, place, "Leave it out by names=")
    return begin, end, name, Entry(name, known, shape, nbytes)


_MOST_DIMENSIONS = 64


def _json(content: bytes, path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise CorruptError("the header has one name twice", Where(str(path)))
        return found

    try:
        found = json.loads(content, object_pairs_hook=once)
    except CorruptError:
        raise
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"no JSON: {error}", Where(str(path))) from error
    if not isinstance(found, dict):
        raise CorruptError("the JSON is no object", Where(str(path)))
    return found


def _bytes_of(path: Path, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise LoadError(f"{type(error).__name__}: {error}", Where(str(path))) from error
    if len(content) > most:
        raise CorruptError(f"it has more than {most} bytes", Where(str(path)))
    return content


def _read(descriptor: int, offset: int, size: int, where: Where) -> bytes:
    memory = bytearray(size)
    _read_into(descriptor, offset, memoryview(memory), where)
    return bytes(memory)


def _read_into(descriptor: int, offset: int, memory: memoryview, where: Where) -> None:
    done = 0
    try:
        while done < len(memory):
            count = os.preadv(descriptor, [memory[done:]], offset + done)
            if not count:
                missing = len(memory) - done
                raise TruncatedError(f"the file ends {missing} bytes too early, at {offset + done}", where)
            done += count
    except OSError as error:
        raise LoadError(f"{type(error).__name__}: {error}", where) from error


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def header_of(entries: Iterable[Entry], note: Mapping[str, str]) -> bytes:
    """What a safetensors file with these tensors, in this order, begins with. SaveError for a dtype that the format
    doesn't have."""
    header: dict[str, Any] = {"__metadata__": dict(note)} if note else {}
    begin = 0
    for entry in entries:
        if entry.name == "__metadata__" or not _is_utf8(entry.name):
            raise SaveError(
                "safetensors can't hold a tensor of this name", Where(item=entry.name), "Rename it by names="
            )
        name = _NAMES.get(str(entry.dtype).removeprefix("torch."))
        if name is None:
            remedy = "Pass dtype=, or leave it out by names="
            raise SaveError(f"safetensors has no {entry.dtype}", Where(item=entry.name), remedy)
        header[entry.name] = {
            "dtype": name,
            "shape": list(entry.shape),
            "data_offsets": [begin, begin + entry.nbytes],
        }
        begin += entry.nbytes
    content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % 8)
    return len(content).to_bytes(8, "little") + content
