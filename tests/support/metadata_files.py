"""Contents of `.metadata` files, and what their readers are compared by."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata, StorageMeta

from dcpx.catalog.metadata import load_metadata as load_plain
from dcpx.catalog.plain import PLAIN, Dtype, Layout, MemoryFormat, Size
from dcpx.catalog.shapes import Shapes
from dcpx.dcp.metadata import DCP, load_metadata
from dcpx.dcp.private import StorageInfo, set_version
from dcpx.errors import DcpxError
from tests.support.metadata import indices_of, make_tensor, rows


def small() -> Metadata:
    """Metadata of one tensor in two chunks and one object."""
    items = {
        "layer.weight": make_tensor((4, 3), rows((4, 3), (0, 2, 4)), torch.bfloat16),
        "step": BytesStorageMetadata(),
    }
    places = (
        StorageInfo("__0_0.distcp", 0, 1000),
        StorageInfo("__1_0.distcp", 0, 1 << 33, ["stream.pack@dcpx/1"]),
        StorageInfo("__0_0.distcp", 1000, 500),
    )
    indices = [index for name, item in items.items() for index in indices_of(name, item)]
    metadata = Metadata(
        items,
        {"layer.weight": ("layer", "weight"), "step": ("step",)},
        dict(zip(indices, places, strict=True)),
        StorageMeta(Path("/a/b"), "save", None, ["x"]),
    )
    set_version(metadata)
    return metadata


def assert_same(found: Any, expected: Any) -> None:
    """Equal, of the same classes with the same fields all the way down, and the same objects in the same places."""
    _assert_same(found, expected, {}, {})


def _assert_same(found: Any, expected: Any, pairs: dict[int, int], back: dict[int, int]) -> None:
    assert type(found) is type(expected)
    if is_dataclass(expected) or isinstance(expected, (dict, list)):
        assert pairs.setdefault(id(found), id(expected)) == id(expected)
        assert back.setdefault(id(expected), id(found)) == id(found)
    parts: Any = ()
    if is_dataclass(expected):
        assert vars(found).keys() == vars(expected).keys()
        parts = [(value, vars(expected)[name]) for name, value in vars(found).items()]
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        parts = zip([*found, *found.values()], [*expected, *expected.values()], strict=True)
    elif isinstance(expected, (list, tuple)) and not isinstance(expected, torch.Size):
        parts = zip(found, expected, strict=True)
    else:
        assert found == expected or found != found  # NaN
    for part, expected_part in parts:
        _assert_same(part, expected_part, pairs, back)


def assert_loads(data: bytes) -> Metadata:
    """As pickle reads it, with and without shapes, and what was read is read again once it is pickled."""
    expected = pickle.loads(data)
    found = load_metadata(data)
    assert_same(found, expected)
    assert found == expected
    assert_same(load_metadata(pickle.dumps(found)), expected)
    assert_either_way(data)
    return found


def assert_either_way(data: bytes) -> Metadata | DcpxError:
    """The same result, or the same error, with and without shapes, and as plain records."""
    found, expected = outcome(data), None
    assert_plain(data, found)
    with word_by_word():
        expected = outcome(data)
    if isinstance(expected, DcpxError):
        assert type(found) is type(expected), found
        assert str(found.cause) == str(expected.cause)
    else:
        assert_same(found, expected)
    return found


def assert_plain(data: bytes, expected: Metadata | DcpxError) -> None:
    """Plain records say the same as DCP's classes, or are refused for the same reason."""
    try:
        found: Any = load_plain(data, PLAIN)
    except DcpxError as error:
        found = error
    if isinstance(expected, DcpxError):
        assert (type(found), found.where) == (type(expected), expected.where)  # the text may name a class
    else:
        for item in found.state_dict_metadata.values():
            if hasattr(item, "properties") and not DCP.has_strides:
                item.properties.strides = None
        assert found == plain(expected)


def plain(value: Any) -> Any:
    """What DCP's classes and torch's values are in the catalog's plain records."""
    if isinstance(value, torch.Size):
        return Size(value)
    if isinstance(value, torch.dtype):
        return Dtype(str(value).removeprefix("torch."))
    if isinstance(value, torch.layout):
        return Layout(str(value))
    if isinstance(value, torch.memory_format):
        return MemoryFormat(str(value).removeprefix("torch."))
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    if is_dataclass(value):
        cls = PLAIN_CLASSES[type(value)]
        made = cls.__new__(cls)
        for name, one in vars(value).items():
            object.__setattr__(made, name, plain(one))
        return made
    return value


PLAIN_CLASSES = {getattr(DCP, name): getattr(PLAIN, name) for name in vars(DCP) if isinstance(getattr(DCP, name), type)}


def outcome(data: bytes) -> Any:
    """What is read, or the error in its place."""
    try:
        return load_metadata(data)
    except DcpxError as error:
        return error


@contextmanager
def word_by_word() -> Iterator[None]:
    """Read without shapes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shapes, "then", lambda self: {})
        yield
