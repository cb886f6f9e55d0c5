"""Containers of torch.save made by hand: any pickle, any records, and anything in the archive around them a lie."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from tests.support.opcodes import call, named, number, numbers, text, tuple_of

ORDERED = b"ccollections\nOrderedDict\n)R"
FLAT = b"c__builtin__\nset\n"


def saved(value: Any) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def records_of(container: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(container)) as archive:
        return {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}


def archive(records: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED, folder: str = "archive") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of two records of one name
        for name, content in records.items():
            made.writestr(f"{folder}/{name}", content)
    return stream.getvalue()


def with_pickle(pickled: bytes, *data: bytes, **records: bytes) -> bytes:
    """A container of this pickle, whose storages have these bytes."""
    storages = {f"data/{number}": content for number, content in enumerate(data)}
    return archive({"version": b"3\n", "byteorder": b"little", "data.pkl": pickled, **storages, **records})


# --- a tensor's pickle ------------------------------------------------------------------------------------------------


def storage(count: int, kind: str = "FloatStorage", key: bytes | None = None, module: str = "torch") -> bytes:
    """A persistent id."""
    return tuple_of(text("storage"), named(module, kind), key or text("0"), text("cpu"), number(count)) + b"Q"


def view(stored: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    return call(
        "torch._utils", "_rebuild_tensor_v2", stored, number(offset), numbers(*size), numbers(*stride), b"\x89", ORDERED
    )


def whole(pickled: bytes) -> bytes:
    return b"\x80\x02" + pickled + b"."


# --- checkpoints ------------------------------------------------------------------------------------------------------


def stock_checkpoint(path: Path, value: Any, stored: bytes | None = None, descriptors: list[str] | None = None) -> Path:
    """A stock checkpoint of `value` alone, as "x", in whose place `stored` is put, with these extensions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({"x": value}, storage_writer=dcp.FileSystemWriter(path), no_dist=True)
    if stored is not None:
        metadata = pickle.loads((path / ".metadata").read_bytes())
        (info,) = metadata.storage_data.values()
        info.offset, info.length, info.transform_descriptors = 0, len(stored), descriptors
        (path / ".metadata").write_bytes(pickle.dumps(metadata))
        (path / info.relative_path).write_bytes(stored)
    return path
