"""Reads DCP's `.metadata`, a pickle, without running it; spec/metadata.md says what is in the file.

The result equals that of `pickle.load` for every file that DCP writes. Whatever else is in the file is refused.
"""

from __future__ import annotations

from contextlib import suppress
from operator import add, gt
from typing import Any, TypeVar

from ..errors import CorruptError, DcpxError, LimitError, Where
from ..pickles.unpickle import LeftOutError, Unpickler
from .collector import paused_collector
from .records import METADATA_FIELDS, Classes, Records
from .shapes import Shapes
from .shards import overlap

__all__ = ["MAX_METADATA_SIZE", "load_metadata"]

M = TypeVar("M")

MAX_METADATA_SIZE = 1 << 30
"""Bytes of a `.metadata` file that are read by default: some four million items."""

_MAX_DESCRIPTORS = 64
"""Transforms of one item."""

_MAX_DEPTH = 32
"""Containers within containers, in what a planner stores for itself."""


def load_metadata(data: bytes, classes: Classes[M], *, max_size: int = MAX_METADATA_SIZE) -> M:
    """The metadata in `data`, the whole content of a `.metadata` or `__<rank>.metadata` file; nothing in it is run.

    It is made of `classes`: the plain records of `catalog.plain`, or DCP's own (`dcp.metadata`).

    What it returns is consistent: sizes and offsets are not negative and fit 64 bits, chunks lie within their tensors
    and don't overlap, every stored item is one that is described, and files are plain names within the checkpoint's
    directory.

    Raises LimitError if there are more than `max_size` bytes, TruncatedError and CorruptError for damage, and
    UnsupportedError for a file that names other classes or functions than DCP's own; all say at which byte or item.
    """
    if len(data) > max_size:
        raise LimitError(f"the metadata has {len(data)} bytes, more than {max_size}")
    try:
        with paused_collector:
            metadata = _unpickle(data, classes)
            if not isinstance(metadata, classes.metadata):
                raise CorruptError(f"the file holds a {type(metadata).__name__} in place of metadata")
            _check_metadata(metadata, classes, len(data))
            return metadata
    except DcpxError as error:
        raise type(error)(f"the metadata can't be read: {error.cause}", error.where, error.remedy) from error.__cause__
    except MemoryError:
        pass  # and with it what was made so far
    raise LimitError(f"the metadata of {len(data)} bytes needs more memory than there is")


def _unpickle(data: bytes, classes: Classes[Any]) -> object:
    with suppress(LeftOutError):
        records = Records(classes)
        return Unpickler(data, records.names(), Shapes(classes, records.count).then()).load()
    return Unpickler(data, Records(classes).names()).load()


def _check_metadata(metadata: Any, classes: Classes[Any], size: int) -> None:
    """Check all that concerns several objects, or could still be changed after it was built.

    What is looked at more than once, because the file of `size` bytes refers to it more than once, is limited by that.
    Raises CorruptError and LimitError.
    """
    room = size
    tensor, chunk_class, other = classes.tensor, classes.chunk, classes.object
    described, stored = vars(metadata).get("state_dict_metadata"), vars(metadata).get("storage_data")
    if type(described) is not dict or type(stored) is not dict:
        raise CorruptError("it doesn't say which items there are and where")
    last: Any = None
    for name, item in described.items():
        if type(name) is not str:
            raise CorruptError("an item's name isn't a string")
        if type(item) is tensor:
            room -= len(item.chunks)
            if room < 0:
                raise LimitError("it lists the same chunks again and again", _at(name))
            if item is last:
                continue
            last = item
            for chunk in item.chunks:
                if type(chunk) is not chunk_class or not _lies_within(chunk, item.size):
                    raise CorruptError("a tensor's chunk isn't one, or reaches beyond the tensor", _at(name))
            if len(item.chunks) > 1 and _overlap(item.chunks, name):
                raise CorruptError("a tensor's shards overlap", _at(name))
        elif type(item) is not other:
            raise CorruptError("an item is neither a tensor nor an object", _at(name))
    index_class, info_class = classes.index, classes.storage_info
    for index, info in stored.items():
        if type(index) is not index_class or type(info) is not info_class:
            raise CorruptError("it doesn't say where an item is stored")
        item = described.get(index.fqn)
        if item is None:
            raise CorruptError("an item is stored that isn't described", _at(index.fqn))
        if type(item) is tensor and (index.offset is None or len(index.offset) != len(item.size)):
            raise CorruptError("an item is stored that isn't a part of its tensor", _at(index.fqn))
        if info.transform_descriptors is not None:
            _check_descriptors(index.fqn, info.transform_descriptors)
    _check_rest(metadata, classes, room)


def _at(name: str) -> Where:
    return Where(item=name[:200])


def _overlap(chunks: list[Any], name: str) -> bool:
    try:
        return overlap(chunks)
    except LimitError as error:
        raise error.located(item=name[:200]) from None


def _lies_within(chunk: Any, size: tuple[int, ...]) -> bool:
    if chunk.sizes == size and not any(chunk.offsets):
        return True
    # An empty chunk, of a rank that got nothing, may lie anywhere.
    return len(chunk.sizes) == len(size) and (
        0 in chunk.sizes or not any(map(gt, map(add, chunk.offsets, chunk.sizes), size))
    )


def _check_descriptors(name: str, descriptors: object) -> None:
    if not isinstance(descriptors, (list, tuple)) or len(descriptors) > _MAX_DESCRIPTORS:
        raise CorruptError(f"an item's transforms aren't a list of at most {_MAX_DESCRIPTORS}", _at(name))
    if any(type(descriptor) is not str for descriptor in descriptors):
        raise CorruptError("an item's transforms aren't strings", _at(name))


def _check_rest(metadata: Any, classes: Classes[Any], room: int) -> None:
    meta = metadata.storage_meta
    if meta is not None:
        if type(meta) is not classes.storage_meta or not vars(meta):
            raise CorruptError("it doesn't say which save it is of")
        modules = vars(meta).get("modules", [])
        if type(modules) is not list or any(type(name) is not str for name in modules):
            raise CorruptError("the names of the saved modules aren't strings")
    if type(vars(metadata).get("version")) not in (str, type(None)):
        raise CorruptError("its version isn't a string")
    others = {name: value for name, value in vars(metadata).items() if name not in METADATA_FIELDS}
    _check_plain([metadata.planner_data, others], classes, room)
    if type(metadata.planner_data) is dict:
        # The paths of the items in a nested state: a planner that rebuilds it makes lists that reach to such an index.
        paths = (path for path in metadata.planner_data.values() if type(path) is tuple)
        places = [part for path in paths for part in path if type(part) is int]
        if places and not 0 <= min(places) <= max(places) <= room:
            raise LimitError("an item's place in a list is negative or far behind the list's end")


_CONTAINERS = {dict, list, tuple}
_LEAVES = {str, int, float, bool, type(None)}


def _check_plain(values: list[object], classes: Classes[Any], room: int) -> None:
    """Let strings, numbers and their lists, tuples and dictionaries pass, and at most `room` of them.

    What is referred to twice counts twice: a few bytes could otherwise stand for more than can ever be looked at.
    """
    leaves = {*_LEAVES, classes.size, classes.dtype}
    for _ in range(_MAX_DEPTH):
        types = set(map(type, values)) - leaves
        if not types:
            return
        if not types <= _CONTAINERS:
            raise CorruptError(f"the planner's data has a {(types - _CONTAINERS).pop().__name__}")
        containers: list[Any] = [value for value in values if type(value) in types]
        room -= sum(map(len, containers))
        if room < 0:
            raise LimitError("the planner's data unfolds into too much")
        values = []
        for container in containers:
            if type(container) is not dict:
                values += container
            elif all(type(key) is str for key in container):
                values += container.values()
            else:
                raise CorruptError("the planner's data has keys that aren't strings")
    if not leaves.issuperset(map(type, values)):
        raise LimitError("the planner's data nests too deep")
