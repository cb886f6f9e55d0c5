"""Metadata of all kinds is read as `pickle.load` reads it, and what it says is checked."""

from __future__ import annotations

import copyreg
import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
import torch
from torch.distributed._shard.sharded_tensor.metadata import TensorProperties as OldTensorProperties
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from dcpx import CorruptError, DcpxError, LimitError, TruncatedError, UnsupportedError
from dcpx.dcp.metadata import load_metadata
from dcpx.dcp.private import StorageInfo
from tests.support.metadata import make_chunk
from tests.support.metadata_files import assert_either_way, assert_loads, small

# --- what there is in the world ---------------------------------------------------------------------------------------


class EnumsByName(pickle.Pickler):
    """Pickles members of enums as the first releases of Python 3.11 do."""

    def reducer_override(self, value: Any) -> Any:
        return (getattr, (type(value), value.name)) if isinstance(value, Enum) else NotImplemented


def test_of_every_protocol_and_pickler():
    for protocol in (2, 3, 4, 5):
        data = pickle.dumps(small(), protocol)
        assert_loads(data)
        assert_loads(pickletools.optimize(data))
        slow, by_name = io.BytesIO(), io.BytesIO()
        pickle._Pickler(slow, protocol).dump(small())
        EnumsByName(by_name, protocol).dump(small())
        assert_loads(slow.getvalue())
        assert_loads(by_name.getvalue())


def test_of_older_and_newer_python():
    modern = pickle.dumps(small()).replace(b"\x8c\x07pathlib", b"\x8c\x0epathlib._local")
    assert load_metadata(modern.replace(modern[2:11], b"", 1)) == small()  # without the frame, whose length changed


def test_of_every_path():
    for path in ("a string", PurePosixPath("/a"), PureWindowsPath("C:/a"), Path("x") / ("y" * 200), None):
        metadata = small()
        metadata.storage_meta = StorageMeta(path)
        assert_loads(pickle.dumps(metadata))


def test_of_older_torch():
    """Fields that came later are missing, and a tensor's properties are of another module."""
    metadata = small()
    for name in ("storage_meta", "version"):
        vars(metadata).pop(name, None)
    for info in metadata.storage_data.values():
        del vars(info)["transform_descriptors"]
    tensor = metadata.state_dict_metadata["layer.weight"]
    assert isinstance(tensor, TensorStorageMetadata)
    tensor.properties = OldTensorProperties(  # type: ignore[assignment]
        torch.float16, torch.sparse_coo, True, torch.channels_last, True
    )
    found = assert_loads(pickle.dumps(metadata))
    assert vars(found).get("version") is None
    assert found.storage_meta is None


def with_properties(metadata: Metadata, *more: Any, count: int = 5) -> bytes:
    """The metadata, whose tensors' properties have the first `count` of five fields, as all torches know them, and
    these."""

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if type(value) is not TensorProperties:
                return NotImplemented
            return copyreg.__newobj__, (TensorProperties,), (*value.__getstate__()[:count], *more)  # type: ignore[attr-defined]

    output = io.BytesIO()
    Pickler(output).dump(metadata)
    return output.getvalue()


HAS_STRIDES = "strides" in TensorProperties.__dataclass_fields__


@pytest.mark.parametrize("strides", [None, (), (3, 1), (1, 4), (0, 1 << 40), (1, 2, 3, 4, 5)])
def test_of_torch_2_15(strides: tuple[int, ...] | None):
    """Which stores a tensor's strides; another torch drops them."""
    data = with_properties(small(), strides)
    found = assert_either_way(data)
    assert isinstance(found, Metadata)
    assert found == pickle.loads(data) if HAS_STRIDES else found == small()


def test_of_torch_before_2_15():
    found = assert_either_way(with_properties(small()))
    assert isinstance(found, Metadata)
    assert found == small()
    if HAS_STRIDES:
        assert tensor(found).properties.strides is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "strides", ["text", (1.0, 1), (-1, 1), [1, 1], (True, 1), (1 << 63,), (1,) * 255, torch.Size([1])]
)
def test_strides_that_are_none(strides: Any):
    with pytest.raises(CorruptError, match="strides"):
        load_metadata(with_properties(small(), strides))


def test_properties_of_a_torch_that_is_not_known():
    with pytest.raises(UnsupportedError, match="7 fields") as caught:
        load_metadata(with_properties(small(), None, "new"))
    assert "Upgrade dcpx" in caught.value.remedy
    with pytest.raises(CorruptError):
        load_metadata(with_properties(small(), count=4))


def test_of_all_properties():
    formats = (torch.contiguous_format, torch.channels_last, torch.preserve_format)
    layouts = {value for value in vars(torch).values() if isinstance(value, torch.layout)}
    dtypes = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}
    tensors = {
        f"{index}": TensorStorageMetadata(TensorProperties(*properties), torch.Size([]), [])
        for index, properties in enumerate(
            [
                *((dtype, torch.strided, False, formats[0], False) for dtype in dtypes),
                *((torch.int8, layout, True, formats[0], False) for layout in layouts),
                *((torch.bool, torch.strided, False, memory_format, True) for memory_format in formats),
            ]
        )
    }
    assert_loads(pickle.dumps(Metadata(tensors, storage_data={})))


def test_of_planners_that_store_more():
    """Megatron's sets an attribute of its own; another may put any plain data where DCP's has the items' paths."""
    metadata = small()
    shape = {"nd_reformulated_orig_global_shape": (2, 3)}
    vars(metadata)["mcore_data"] = {"layer.weight": shape, "size": torch.Size([1]), "dtype": torch.int8}
    assert assert_loads(pickle.dumps(metadata)).mcore_data["layer.weight"] == shape  # type: ignore[attr-defined]
    for data in (None, [], {"a": [1, -2.5, True, None, (1 << 70, ("b",))]}, "text", {"list": ("list", 0)}):
        metadata.planner_data = data
        assert_loads(pickle.dumps(metadata))


def test_shared_objects():
    """The pickle refers to the same object twice; so does what is read."""
    metadata = small()
    metadata.state_dict_metadata["tied"] = metadata.state_dict_metadata["layer.weight"]
    found = assert_loads(pickle.dumps(metadata))
    assert found.state_dict_metadata["tied"] is found.state_dict_metadata["layer.weight"]


# --- what is checked --------------------------------------------------------------------------------------------------


def tensor(metadata: Metadata) -> TensorStorageMetadata:
    found = metadata.state_dict_metadata["layer.weight"]
    assert isinstance(found, TensorStorageMetadata)
    return found


def storage(metadata: Metadata, number: int = 0) -> dict[str, Any]:
    return vars(list(metadata.storage_data.values())[number])


def properties(metadata: Metadata, **changes: Any) -> None:
    tensor(metadata).properties = replace(tensor(metadata).properties, **changes)


def chunk(metadata: Metadata, offsets: list[int], sizes: list[int]) -> None:
    tensor(metadata).chunks[1] = make_chunk(offsets, sizes)


def stored_as(metadata: Metadata, index: MetadataIndex) -> None:
    metadata.storage_data[index] = StorageInfo("a", 0, 0)


def with_fields(item: MetadataIndex, **changes: Any) -> MetadataIndex:
    vars(item).update(changes)
    return item


NAMES = ("../x", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "a\0b", ".metadata", "__3.metadata", ".metadata.tmp")
WRONG: dict[str, Callable[[Metadata], Any]] = {
    **{f"file name {name!r}": lambda m, name=name: storage(m).update(relative_path=name) for name in NAMES},
    "file name of 300 letters": lambda m: storage(m).update(relative_path="x" * 300),
    "file name of 255 letters, 510 bytes": lambda m: storage(m).update(relative_path="é" * 255),
    "file name that no system has": lambda m: storage(m).update(relative_path="\ud800"),
    "manifest as data": lambda m: storage(m).update(relative_path="1.manifest.json"),
    "file name of bytes": lambda m: storage(m).update(relative_path=5),
    "negative offset": lambda m: storage(m).update(offset=-1),
    "offset of true": lambda m: storage(m).update(offset=True),
    "float offset": lambda m: storage(m).update(offset=1.0),
    "no length": lambda m: storage(m).pop("length"),
    "negative length": lambda m: storage(m).update(length=-1),
    "end beyond 64 bits": lambda m: storage(m).update(offset=1 << 62, length=1 << 62),
    "length of 300 bits": lambda m: storage(m).update(length=1 << 300),
    "unknown field of storage": lambda m: storage(m).update(mode=0o777),
    "transforms in a string": lambda m: storage(m).update(transform_descriptors="stream.pack@dcpx/1"),
    "transform that is a number": lambda m: storage(m).update(transform_descriptors=["a", 1]),
    "1000 transforms": lambda m: storage(m).update(transform_descriptors=["a"] * 1000),
    "chunk beyond the tensor": lambda m: chunk(m, [3, 0], [2, 3]),
    "chunk beside the tensor": lambda m: chunk(m, [0, 3], [2, 1]),
    "whole tensor, further on": lambda m: chunk(m, [1, 0], [4, 3]),
    "larger chunk": lambda m: chunk(m, [0, 0], [4, 4]),
    "negative chunk": lambda m: chunk(m, [0, 0], [-1, 3]),
    "negative chunk offset": lambda m: chunk(m, [-1, 0], [2, 3]),
    "chunk that overlaps another": lambda m: chunk(m, [1, 0], [2, 3]),
    "chunk within another": lambda m: chunk(m, [0, 1], [1, 1]),
    "chunk of another's offsets": lambda m: chunk(m, [0, 0], [1, 3]),
    "chunk of other dimensions": lambda m: chunk(m, [0], [2]),
    "chunk of two dimensionalities": lambda m: chunk(m, [0, 0], [2]),
    "chunk of 255 dimensions": lambda m: chunk(m, [0] * 255, [1] * 255),
    "chunk that is none": lambda m: tensor(m).chunks.append(None),  # type: ignore[arg-type]
    "chunk that is an object": lambda m: tensor(m).chunks.append(BytesStorageMetadata()),  # type: ignore[arg-type]
    "chunk without fields": lambda m: tensor(m).chunks.append(object.__new__(ChunkStorageMetadata)),
    "chunk offsets in a list": lambda m: vars(tensor(m).chunks[0]).update(offsets=[0, 0]),
    "chunk without sizes": lambda m: vars(tensor(m).chunks[0]).pop("sizes"),
    "chunks in a tuple": lambda m: vars(tensor(m)).update(chunks=()),
    "tensor's size in a list": lambda m: vars(tensor(m)).update(size=[4, 3]),
    "tensor's size beyond 64 bits": lambda m: vars(tensor(m)).update(size=torch.Size([1 << 40, 1 << 40]), chunks=[]),
    "tensor's size in halves": lambda m: vars(tensor(m)).update(size=torch.Size([1 << 62]), chunks=[]),
    "tensor without properties": lambda m: vars(tensor(m)).update(properties=None),
    "tensor without fields": lambda m: m.state_dict_metadata.update(x=object.__new__(TensorStorageMetadata)),
    "item that is a string": lambda m: m.state_dict_metadata.update(x="x"),
    "item that is a list": lambda m: m.state_dict_metadata.update(x=[]),
    "item named by a number": lambda m: m.state_dict_metadata.update({1: BytesStorageMetadata()}),
    "item named by a tuple": lambda m: m.state_dict_metadata.update({("a",): BytesStorageMetadata()}),
    "item named by an index": lambda m: m.state_dict_metadata.update({MetadataIndex("a"): BytesStorageMetadata()}),
    "dtype as a string": lambda m: properties(m, dtype="bfloat16"),
    "gradient as a number": lambda m: properties(m, requires_grad=1),
    "stored item that isn't described": lambda m: stored_as(m, MetadataIndex("other")),
    "stored item without an offset": lambda m: stored_as(m, MetadataIndex("layer.weight")),
    "stored item of other dimensions": lambda m: stored_as(m, MetadataIndex("layer.weight", [0])),
    "stored item with a negative offset": lambda m: stored_as(m, MetadataIndex("layer.weight", [0, -1])),
    "stored item with a negative hint": lambda m: stored_as(m, MetadataIndex("layer.weight", [1, 0], -1)),
    "stored item with a hint of text": lambda m: stored_as(
        m, with_fields(MetadataIndex("layer.weight", [1, 0]), index="0")
    ),
    "stored item with an offset in a list": lambda m: stored_as(m, with_fields(MetadataIndex("step"), offset=(0,))),
    "stored item named by a number": lambda m: stored_as(m, with_fields(MetadataIndex("step"), fqn=1)),
    "stored item with another field": lambda m: stored_as(
        m, with_fields(MetadataIndex("layer.weight", [1, 0]), other=1)
    ),
    "stored item by its name": lambda m: m.storage_data.update(step=StorageInfo("a", 0, 0)),
    "place that is a string": lambda m: m.storage_data.update({MetadataIndex("step"): "__0_0.distcp"}),
    "no storage": lambda m: vars(m).update(storage_data=None),
    "no items": lambda m: vars(m).update(state_dict_metadata=[]),
    "no fields": lambda m: vars(m).clear(),
    "private field": lambda m: vars(m).update(__reduce__="x"),
    "field that is no name": lambda m: vars(m).update({"a b": 1}),
    "field of a class": lambda m: vars(m).update(other=BytesStorageMetadata()),
    "version that is a number": lambda m: vars(m).update(version=1),
    "save that is a string": lambda m: vars(m).update(storage_meta="x"),
    "save without fields": lambda m: vars(m).update(storage_meta=object.__new__(StorageMeta)),
    "save's id that is a number": lambda m: vars(m.storage_meta).update(save_id=1),
    "save's path that is a number": lambda m: vars(m.storage_meta).update(checkpoint_id=1),
    "save's path with NUL": lambda m: vars(m.storage_meta).update(checkpoint_id=PurePosixPath("a\0b")),
    "save's path without end": lambda m: vars(m.storage_meta).update(checkpoint_id=PurePosixPath("x" * 40_000)),
    "save's modules that are numbers": lambda m: vars(m.storage_meta).update(modules=[1]),
    "save's modules in a string": lambda m: vars(m.storage_meta).update(modules="x"),
    "save with another field": lambda m: vars(m.storage_meta).update(other=1),
    "planner's data with a class": lambda m: vars(m).update(planner_data={"a": StorageMeta()}),
    "planner's data with numbers as keys": lambda m: vars(m).update(planner_data={"a": {1: 2}}),
    "planner's data with indices as keys": lambda m: vars(m).update(planner_data={"a": {MetadataIndex("a"): 2}}),
    "place far behind a list's end": lambda m: m.planner_data.update(step=("step", 1 << 40)),
    "negative place in a list": lambda m: m.planner_data.update(step=("step", -1)),
}


@pytest.mark.parametrize("change", WRONG)
def test_wrong_fields_are_refused(change: str):
    metadata = small()
    WRONG[change](metadata)
    with pytest.raises((CorruptError, UnsupportedError, LimitError), match="the metadata can't be read"):
        load_metadata(pickle.dumps(metadata))


def test_what_the_error_names():
    """The item where one is wrong; the byte where the file is; and what to do."""
    metadata = small()
    chunk(metadata, [3, 0], [2, 3])
    with pytest.raises(CorruptError) as caught:
        load_metadata(pickle.dumps(metadata))
    assert caught.value.where.item == "layer.weight"

    data = pickle.dumps(small())
    at = data.index(b"bfloat16")
    with pytest.raises(UnsupportedError, match=r"torch\.bfloat19") as unsupported:
        load_metadata(data.replace(b"bfloat16", b"bfloat19"))
    assert unsupported.value.where.offset in range(at, at + 20)
    assert "otherwise don't trust it" in unsupported.value.remedy
    for error in (caught.value, unsupported.value):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert str(error.located(file=".metadata"))


def test_what_is_not_metadata():
    for value in ({}, [small()], None, StorageMeta(), "text", 1 << 100):
        with pytest.raises(DcpxError):
            load_metadata(pickle.dumps(value))
    for data in (b"{}", b"\x89PNG", b"not a pickle", pickle.dumps(small(), 0), pickle.dumps(small(), 1)):
        with pytest.raises(CorruptError):
            load_metadata(data)


def test_more_or_less_than_a_file():
    data = pickle.dumps(small())
    for size in range(len(data)):
        with pytest.raises(CorruptError) as caught:
            load_metadata(data[:size])
        assert size == 1 or isinstance(caught.value, TruncatedError)
    for more in (b"\0", b".", data):
        with pytest.raises(CorruptError, match="bytes follow its end"):
            load_metadata(data + more)


def test_size_limit():
    data = pickle.dumps(small())
    assert load_metadata(data, max_size=len(data)) == small()
    with pytest.raises(LimitError, match="more than"):
        load_metadata(data, max_size=len(data) - 1)


def test_every_field_of_the_real_classes_is_known():
    """A torch with more of them shows here first; one with fewer is older."""
    known = {
        Metadata: "state_dict_metadata planner_data storage_data storage_meta version",
        MetadataIndex: "fqn offset index",
        TensorStorageMetadata: "properties size chunks",
        BytesStorageMetadata: "",
        ChunkStorageMetadata: "offsets sizes",
        TensorProperties: "dtype layout requires_grad memory_format pin_memory strides",
        StorageInfo: "relative_path offset length transform_descriptors",
        StorageMeta: "checkpoint_id save_id load_id modules",
    }
    for cls, names in known.items():
        found = [field.name for field in fields(cls)]
        assert found == names.split()[: len(found)]
        assert set(names.split()[len(found) :]) <= {"version", "strides"}
