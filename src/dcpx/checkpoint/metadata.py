"""Reads DCP's `.metadata`, a pickle, without running it; spec/metadata.md says what is in the file.

The result equals that of `pickle.load` for every file that DCP writes. Whatever else is in the file is refused.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from operator import add, gt

import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorStorageMetadata,
)

from ..errors import CorruptError, DcpxError, LimitError, Where
from ._records import METADATA_FIELDS, Records
from ._torch import StorageInfo
from ._unpickle import unpickle

__all__ = ["MAX_METADATA_SIZE", "load_metadata"]

MAX_METADATA_SIZE = 1 << 30
"""Bytes of a `.metadata` file that are read by default: some four million items."""

_MAX_DESCRIPTORS = 64
"""Transforms of one item."""

_MAX_DEPTH = 32
"""Containers within containers, in what a planner stores for itself."""


def load_metadata(data: bytes, *, max_size: int = MAX_METADATA_SIZE) -> Metadata:
    """The metadata in `data`, the whole content of a `.metadata` or `__<rank>.metadata` file; nothing in it is run.

    What it returns is consistent: sizes and offsets are not negative and fit 64 bits, chunks lie within their tensors,
    every stored item is one that is described, and files are plain names within the checkpoint's directory.

    Raises LimitError if there are more than `max_size` bytes, TruncatedError and CorruptError for damage, and
    UnsupportedError for a file that names other classes or functions than DCP's own; all say at which byte or item.
    """
    if len(data) > max_size:
        raise LimitError(f"the metadata has {len(data)} bytes, more than {max_size}")
    try:
        with _collector_paused():
            metadata = unpickle(data, Records().names())
            if type(metadata) is not Metadata:
                raise CorruptError(f"the file holds a {type(metadata).__name__} in place of metadata")
            _check(metadata, room=len(data))
            return metadata
    except DcpxError as error:
        raise type(error)(f"the metadata can't be read: {error.cause}", error.where, error.remedy) from error.__cause__
    except MemoryError:
        pass  # and with it what was made so far
    raise LimitError(f"the metadata of {len(data)} bytes needs more memory than there is")


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without Python's cyclic garbage collector, which would look through the growing result again and again.

    It takes more than half of the time otherwise, and finds nothing.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _check(metadata: Metadata, room: int) -> None:
    """Check all that concerns several objects, or could still be changed after it was built.

    What is looked at more than once, because the file refers to it more than once, is limited by `room`.
    """
    described, stored = vars(metadata).get("state_dict_metadata"), metadata.storage_data
    if type(described) is not dict or type(stored) is not dict:
        raise CorruptError("it doesn't say which items there are and where")
    for name, item in described.items():
        if type(name) is not str:
            raise CorruptError("an item's name isn't a string")
        if type(item) is TensorStorageMetadata and vars(item):
            room -= len(item.chunks)
            if room < 0:
                raise LimitError("it lists the same chunks again and again", _at(name))
            _check_chunks(name, item)
        elif type(item) is not BytesStorageMetadata:
            raise CorruptError("an item is neither a tensor nor an object", _at(name))
    for index, info in stored.items():
        if type(index) is not MetadataIndex or type(info) is not StorageInfo or not vars(info):
            raise CorruptError("it doesn't say where an item is stored")
        item = described.get(index.fqn)
        if item is None:
            raise CorruptError("an item is stored that isn't described", _at(index.fqn))
        if type(item) is TensorStorageMetadata and (index.offset is None or len(index.offset) != len(item.size)):
            raise CorruptError("an item is stored that isn't a part of its tensor", _at(index.fqn))
        if info.transform_descriptors is not None:
            _check_descriptors(index.fqn, info.transform_descriptors)
    _check_rest(metadata, room)


def _at(name: str) -> Where:
    return Where(item=name[:200])


def _check_chunks(name: str, tensor: TensorStorageMetadata) -> None:
    size = tensor.size
    for chunk in tensor.chunks:
        if type(chunk) is not ChunkStorageMetadata or not vars(chunk) or len(chunk.sizes) != len(size):
            raise CorruptError("a tensor's chunk isn't one, or has other dimensions than the tensor", _at(name))
        if chunk.sizes != size or any(chunk.offsets):
            # An empty chunk, of a rank that got nothing, may lie anywhere.
            ends = map(add, chunk.offsets, chunk.sizes)
            if any(map(gt, ends, size)) and 0 not in chunk.sizes:
                raise CorruptError("a tensor's chunk reaches beyond the tensor", _at(name))


def _check_descriptors(name: str, descriptors: object) -> None:
    if not isinstance(descriptors, (list, tuple)) or len(descriptors) > _MAX_DESCRIPTORS:
        raise CorruptError(f"an item's transforms aren't a list of at most {_MAX_DESCRIPTORS}", _at(name))
    if any(type(descriptor) is not str for descriptor in descriptors):
        raise CorruptError("an item's transforms aren't strings", _at(name))


def _check_rest(metadata: Metadata, room: int) -> None:
    meta = metadata.storage_meta
    if meta is not None:
        if type(meta) is not StorageMeta or not vars(meta):
            raise CorruptError("it doesn't say which save it is of")
        modules = vars(meta).get("modules", [])
        if type(modules) is not list or any(type(name) is not str for name in modules):
            raise CorruptError("the names of the saved modules aren't strings")
    if not (metadata.version is None or type(metadata.version) is str):
        raise CorruptError("its version isn't a string")
    others = {name: value for name, value in vars(metadata).items() if name not in METADATA_FIELDS}
    plain = _PlainData(room)
    plain.check(metadata.planner_data)
    plain.check(others)
    if type(metadata.planner_data) is dict:
        # The paths of the items in a nested state: a planner that rebuilds it makes lists that reach to such an index.
        for path in metadata.planner_data.values():
            if type(path) is tuple and any(type(part) is int and not 0 <= part <= room for part in path):
                raise LimitError("an item's place in a list is negative or far behind the list's end")


class _PlainData:
    """Lets strings, numbers and their lists, tuples and dictionaries pass, and at most `room` of them.

    What is referred to twice counts twice: a few bytes could otherwise stand for more than can ever be looked at.
    """

    _LEAVES = frozenset({str, int, float, bool, type(None), torch.Size, torch.dtype})

    def __init__(self, room: int) -> None:
        self._room = room

    def check(self, value: object, depth: int = 0) -> None:
        values: Collection[object]
        if type(value) is dict:
            if not all(type(key) is str for key in value):
                raise CorruptError("the planner's data has keys that aren't strings")
            values = value.values()
        elif type(value) is tuple or type(value) is list:
            values = value
        elif type(value) in self._LEAVES:
            return
        else:
            raise CorruptError(f"the planner's data has a {type(value).__name__}")
        self._room -= len(values)
        if self._room < 0 or depth == _MAX_DEPTH:
            raise LimitError("the planner's data unfolds into too much")
        if not self._LEAVES.issuperset(map(type, values)):
            for part in values:
                self.check(part, depth + 1)
