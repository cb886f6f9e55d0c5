"""Whatever a `.metadata` file holds, it reads as sound metadata or ends in a typed error; what is sound reads back."""

from __future__ import annotations

import pickle
import struct
from pathlib import PurePosixPath
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorStorageMetadata,
)

from dcpx.dcp.private import StorageInfo
from dcpx.errors import CorruptError, DcpxError, LimitError, UnsupportedError
from tests.support.metadata import indices_of, make_tensor, rows
from tests.support.metadata_files import assert_either_way, assert_loads
from tests.support.opcodes import named, text

REFUSALS = (CorruptError, UnsupportedError, LimitError)

HAS_VERSION = "version" in Metadata.__dataclass_fields__
"""As from torch 2.9 on."""


def outcome(data: bytes) -> Metadata | None:
    """The metadata, or None where it is refused; anything else fails the test."""
    found = assert_either_way(data)
    if isinstance(found, DcpxError):
        assert isinstance(found, REFUSALS)
        str(found)
        return None
    assert_sound(found)
    return found


def assert_sound(metadata: Metadata) -> None:
    """What a reader may rely on."""
    assert type(metadata) is Metadata
    for name, item in metadata.state_dict_metadata.items():
        assert type(name) is str
        assert type(item) in (TensorStorageMetadata, BytesStorageMetadata)
        if isinstance(item, TensorStorageMetadata):
            assert isinstance(item.properties.dtype, torch.dtype)
            for chunk in item.chunks:
                bounds = zip(chunk.offsets, chunk.sizes, item.size, strict=True)
                assert 0 in chunk.sizes or all(0 <= begin <= begin + size <= end for begin, size, end in bounds)
    for index, info in metadata.storage_data.items():
        assert index.fqn in metadata.state_dict_metadata
        assert info.offset >= 0
        assert info.length >= 0
        assert PurePosixPath("/checkpoint") / info.relative_path != PurePosixPath("/checkpoint")
        assert (PurePosixPath("/checkpoint") / info.relative_path).parent == PurePosixPath("/checkpoint")
        assert all(type(descriptor) is str for descriptor in info.transform_descriptors or ())
    pickle.dumps(metadata)


# --- sound metadata ---------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=20)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.float8_e4m3fn])
FILES = st.from_regex(r"[A-Za-z0-9_\-]{1,20}\.distcp", fullmatch=True)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 100) | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda parts: st.lists(parts, max_size=3) | st.tuples(parts, parts) | st.dictionaries(TEXT, parts, max_size=3),
    max_leaves=8,
)


@st.composite
def metadata(draw: st.DrawFn) -> Metadata:
    items: dict[str, Any] = {}
    storage: dict[MetadataIndex, StorageInfo] = {}
    # Few of them, so that some items look alike.
    files = draw(st.lists(FILES, min_size=1, max_size=2))
    shapes = draw(st.lists(st.none() | st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=3))
    shared = draw(st.lists(TEXT, max_size=2))
    for name in draw(st.lists(TEXT, max_size=10, unique=True)):
        sizes = draw(st.sampled_from(shapes))
        if sizes is None:
            items[name] = BytesStorageMetadata()
        else:
            # Cut in two along the first dimension, if there is one.
            edges = [0, draw(st.integers(0, sizes[0])), sizes[0]] if sizes else []
            items[name] = make_tensor(sizes, rows(sizes, edges), draw(DTYPES), requires_grad=draw(st.booleans()))
        for index in indices_of(name, items[name]):
            place = draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 40))
            descriptors = draw(st.none() | st.just(shared) | st.lists(TEXT, max_size=2))
            storage[index] = StorageInfo(draw(st.sampled_from(files)), *place, descriptors)
    planner = draw(st.none() | st.just({name: tuple(name.split(".")) for name in items}) | st.lists(PLAIN, max_size=3))
    meta = StorageMeta(
        draw(st.none() | TEXT.map(lambda text: PurePosixPath(text.replace("\0", ""))) | TEXT), draw(TEXT)
    )
    found = Metadata(items, planner, storage, draw(st.none() | st.just(meta)))
    written = draw(st.none() | TEXT)
    if HAS_VERSION:
        found.version = written
    vars(found).update(draw(st.dictionaries(st.sampled_from(["mcore_data", "other"]), PLAIN, max_size=2)))
    return found


@given(metadata(), st.integers(2, 5))
def test_sound_metadata_is_read_as_pickle_reads_it(expected: Metadata, protocol: int):
    found = assert_loads(pickle.dumps(expected, protocol))
    assert found == expected
    assert vars(found) == vars(expected)
    assert_sound(found)


# --- anything else ----------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes):
    outcome(data)
    outcome(b"\x80\x04" + data)
    outcome(b"\x80\x02" + data + b".")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(pickle.dumps(draw(metadata()), draw(st.sampled_from([2, 4]))))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(len(data), begin + draw(st.integers(0, 30)))
        match draw(st.sampled_from(["flip", "set", "cut", "double", "move", "insert"])):
            case "flip" if data:
                data[begin] ^= 1 << draw(st.integers(0, 7))
            case "set" if data:
                data[begin] = draw(st.integers(0, 255))
            case "cut":
                del data[begin:end]
            case "double":
                data[begin:begin] = data[begin:end]
            case "move":
                part = data[begin:end]
                del data[begin:end]
                place = draw(st.integers(0, len(data)))
                data[place:place] = part
            case "insert":
                data[begin:begin] = draw(WORDS)
    return bytes(data)


_DCP = "torch.distributed.checkpoint.metadata"
WORDS = st.one_of(
    # Opcodes that are known, without arguments; numbers; references; texts; names of what is known.
    st.sampled_from([bytes([word]) for word in b"\x94(t)\x85\x86\x87]ae}su\x93\x81RbN\x88\x89."]),
    st.binary(min_size=1, max_size=1).map(lambda number: b"K" + number),
    st.integers(-(1 << 31), (1 << 31) - 1).map(lambda number: b"J" + struct.pack("<i", number)),
    st.integers(0, 12).map(lambda index: b"h" + bytes([index])),
    st.integers(0, 12).map(lambda index: b"q" + bytes([index])),
    st.sampled_from(
        ["a", "fqn", "offset", "index", "offsets", "sizes", "size", "chunks", "properties", "relative_path", "length"]
    ).map(text),
    st.sampled_from(["state_dict_metadata", "storage_data", "planner_data", "storage_meta", "version"]).map(text),
    st.sampled_from(
        [
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "ChunkStorageMetadata",
            "TensorProperties",
            "TensorStorageMetadata",
        ]
    ).map(lambda name: named(_DCP, name)),
    st.sampled_from(
        [
            named(_DCP, "_MEM_FORMAT_ENCODING"),
            named("torch", "Size"),
            named("torch", "int8"),
            named("builtins", "getattr"),
        ]
    ),
    st.sampled_from(
        [named("torch.serialization", "_get_layout"), named("pathlib", "PosixPath"), named("os", "system")]
    ),
)


@settings(max_examples=500)
@given(damaged())
def test_damaged_metadata(data: bytes):
    outcome(data)


@settings(max_examples=500)
@given(st.lists(WORDS, max_size=60).map(b"".join), st.booleans())
def test_any_sentence_of_known_words(sentence: bytes, framed: bool):
    if framed:
        sentence = named(_DCP, "Metadata") + b")\x81}(" + text("storage_data") + b"}" + sentence + b"ub"
    outcome(b"\x80\x04" + sentence + b".")
