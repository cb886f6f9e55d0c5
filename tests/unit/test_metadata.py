"""Every metadata file that DCP writes is read as `pickle.load` reads it, and what it says is checked."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch.distributed._shard.sharded_tensor.metadata import TensorProperties as OldTensorProperties
from torch.distributed.checkpoint import DefaultSavePlanner, FileSystemWriter
from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

import dcpx
from dcpx import CorruptError, DcpxError, LimitError, TruncatedError, UnsupportedError
from dcpx.checkpoint.metadata import load_metadata
from tests.interop.states import make_state

JOIN_SECONDS = 90


def assert_same(found: Any, expected: Any) -> None:
    """Equal, and of the same classes with the same fields all the way down."""
    assert type(found) is type(expected)
    if is_dataclass(expected):
        assert vars(found).keys() == vars(expected).keys()
        for name in vars(expected):
            assert_same(getattr(found, name), getattr(expected, name))
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for (key, value), (expected_key, expected_value) in zip(found.items(), expected.items(), strict=True):
            assert_same(key, expected_key)
            assert_same(value, expected_value)
    elif isinstance(expected, (list, tuple)) and not isinstance(expected, torch.Size):
        assert len(found) == len(expected)
        for part, expected_part in zip(found, expected, strict=True):
            assert_same(part, expected_part)
    else:
        assert found == expected


def assert_loads(data: bytes) -> Metadata:
    expected = pickle.loads(data)
    found = load_metadata(data)
    assert_same(found, expected)
    assert found == expected
    assert_same(load_metadata(pickle.dumps(found)), expected)
    return found


# --- what DCP writes --------------------------------------------------------------------------------------------------


def nested_state() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optim": optimizer.state_dict(),
        "list": [torch.ones(2), {"deep": [torch.zeros(1), "text"]}, [torch.ones(1)]],
        "tuple": (torch.ones(1), 2),
        "objects": {"step": 3, "name": "Grüße \N{SNOWMAN}", "none": None, "numbers": [1, 2.5]},
        "dotted.name": 1,
        "": "an empty name",
        "x" * 300: "a long name",
    }


WRITERS: dict[str, Callable[[Path], Any]] = {
    "stock": lambda path: FileSystemWriter(path),
    "stock, a string as path": lambda path: FileSystemWriter(str(path)),
    "stock, threads": lambda path: FileSystemWriter(path, thread_count=2),
    "stock, a file an item": lambda path: FileSystemWriter(path, single_file_per_rank=False),
    "stock, one extension": lambda path: FileSystemWriter(path, _extensions=[dcpx.Pack()]),
    "stock, two extensions": lambda path: FileSystemWriter(path, _extensions=[dcpx.ZStandard(), dcpx.Pack()]),
    "stock, fsspec": lambda path: FsspecWriter(f"file://{path}"),
    "dcpx": lambda path: dcpx.Writer(path),
    "dcpx, plain": lambda path: dcpx.Writer(path, pack=None),
    "dcpx, chain": lambda path: dcpx.Writer(path, pack=dcpx.Chain(dcpx.Pack(), dcpx.ZStandard())),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("state", [make_state, nested_state, dict], ids=["all dtypes", "nested", "empty"])
def test_of_every_writer(writer: str, state: Callable[[], dict[str, Any]], tmp_path: Path):
    dcp.save(state(), storage_writer=WRITERS[writer](tmp_path))
    found = assert_loads((tmp_path / ".metadata").read_bytes())
    assert found.storage_meta is not None
    assert str(found.storage_meta.checkpoint_id).endswith(str(tmp_path))


def test_of_a_planner_that_does_not_flatten(tmp_path: Path):
    planner = DefaultSavePlanner(flatten_state_dict=False)
    state = {"tensor": torch.ones(2), "object": {"a": 1}}
    dcp.save(state, storage_writer=FileSystemWriter(tmp_path), planner=planner)
    assert assert_loads((tmp_path / ".metadata").read_bytes()).planner_data is None


def test_of_a_rank_of_its_own(tmp_path: Path):
    """Without collectives every rank writes metadata of its own."""
    writer = FileSystemWriter(tmp_path)
    dcp.save(nested_state(), storage_writer=writer, use_collectives=False)
    (path,) = tmp_path.glob("*.metadata")
    assert_loads(path.read_bytes())


def sharded_ranks(rank: int, world: int, path: Path) -> None:
    """Save what sharded training does: DTensors, ShardedTensors and a model that is fully sharded."""
    from torch.distributed._shard.sharded_tensor import init_from_local_shards
    from torch.distributed._shard.sharded_tensor.shard import Shard as LocalShard
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (world,))
    plane = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("replicas", "shards"))
    rows = LocalShard.from_tensor_and_offsets(torch.full((2, 3), float(rank)), [2 * rank, 0], rank)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3))
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 5)).sum().backward()
    optimizer.step()
    weights, moments = get_state_dict(model, optimizer)
    state = {
        "rows": distribute_tensor(torch.ones(10, 6), mesh, [Shard(0)]),
        "columns": distribute_tensor(torch.ones(5, 301), mesh, [Shard(1)]),
        "fewer rows than ranks": distribute_tensor(torch.ones(3, 4), mesh, [Shard(0)]),
        "a row": distribute_tensor(torch.ones(1, 4), mesh, [Shard(0)]),
        "everywhere": distribute_tensor(torch.ones(7), mesh, [Replicate()]),
        "both": distribute_tensor(torch.ones(9, 4), plane, [Replicate(), Shard(0)]),
        "plane": distribute_tensor(torch.ones(9, 5), plane, [Shard(0), Shard(1)]),
        "twice": distribute_tensor(torch.ones(9, 5), plane, [Shard(0), Shard(0)]),
        "sharded tensor": init_from_local_shards([rows], 2 * world, 3),
        "plain": torch.ones(3),
        f"rank {rank}": ("object of", rank),
        "model": weights,
        "optim": moments,
    }
    dcp.save(state, storage_writer=FileSystemWriter(path / "stock"))
    dcp.save(state, storage_writer=dcpx.Writer(path / "dcpx"))
    dcp.save(state, storage_writer=FileSystemWriter(path / "alone"), use_collectives=False)


def _rank(rank: int, world: int, path: Path) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = f"file://{path}/.rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world, timeout=timedelta(seconds=30))
    try:
        sharded_ranks(rank, world, path)
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo")
@pytest.mark.timeout(120)
def test_of_sharded_states(tmp_path: Path):
    context = mp.spawn(_rank, (4, tmp_path), 4, join=False)
    end = time.monotonic() + JOIN_SECONDS
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < end, "the ranks hang"
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
            process.join()
    files = sorted(tmp_path.glob("*/*.metadata")) + sorted(tmp_path.glob("*/.metadata"))
    assert {path.parent.name for path in files} == {"stock", "dcpx", "alone"}
    for path in files:
        found = assert_loads(path.read_bytes())
        if path.parent.name != "alone":
            assert len(found.state_dict_metadata["sharded tensor"].chunks) == 4
            assert len(found.state_dict_metadata["fewer rows than ranks"].chunks) == 4


# --- what else there is in the world ----------------------------------------------------------------------------------


def small() -> Metadata:
    """Metadata of one tensor in two chunks and one object."""
    properties = TensorProperties(torch.bfloat16)
    chunks = [ChunkStorageMetadata(torch.Size([row, 0]), torch.Size([2, 3])) for row in (0, 2)]
    storage = {
        MetadataIndex("layer.weight", [0, 0], 0): _StorageInfo("__0_0.distcp", 0, 1000),
        MetadataIndex("layer.weight", [2, 0], 1): _StorageInfo("__1_0.distcp", 0, 1 << 33, ["stream.pack@dcpx/1"]),
        MetadataIndex("step"): _StorageInfo("__0_0.distcp", 1000, 500),
    }
    return Metadata(
        {
            "layer.weight": TensorStorageMetadata(properties, torch.Size([4, 3]), chunks),
            "step": BytesStorageMetadata(),
        },
        {"layer.weight": ("layer", "weight"), "step": ("step",)},
        storage,
        StorageMeta(Path("/a/b"), "save", None, ["x"]),
        "1.0.0",
    )


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
        del vars(metadata)[name]
    for info in metadata.storage_data.values():
        del vars(info)["transform_descriptors"]
    tensor = metadata.state_dict_metadata["layer.weight"]
    assert isinstance(tensor, TensorStorageMetadata)
    tensor.properties = OldTensorProperties(  # type: ignore[assignment]
        torch.float16, torch.sparse_coo, True, torch.channels_last, True
    )
    found = assert_loads(pickle.dumps(metadata))
    assert found.version is None
    assert found.storage_meta is None


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
    tensor(metadata).chunks[1] = ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))


def stored_as(metadata: Metadata, index: MetadataIndex) -> None:
    metadata.storage_data[index] = _StorageInfo("a", 0, 0)


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
    "larger chunk": lambda m: chunk(m, [0, 0], [4, 4]),
    "negative chunk": lambda m: chunk(m, [0, 0], [-1, 3]),
    "negative chunk offset": lambda m: chunk(m, [-1, 0], [2, 3]),
    "chunk of other dimensions": lambda m: chunk(m, [0], [2]),
    "chunk of two dimensionalities": lambda m: chunk(m, [0, 0], [2]),
    "chunk of 65 dimensions": lambda m: chunk(m, [0] * 65, [1] * 65),
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
    "stored item by its name": lambda m: m.storage_data.update(step=_StorageInfo("a", 0, 0)),
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
    """A torch with more of them shows here first."""
    known = {
        Metadata: "state_dict_metadata planner_data storage_data storage_meta version",
        MetadataIndex: "fqn offset index",
        TensorStorageMetadata: "properties size chunks",
        BytesStorageMetadata: "",
        ChunkStorageMetadata: "offsets sizes",
        TensorProperties: "dtype layout requires_grad memory_format pin_memory",
        _StorageInfo: "relative_path offset length transform_descriptors",
        StorageMeta: "checkpoint_id save_id load_id modules",
    }
    for cls, names in known.items():
        assert [field.name for field in fields(cls)] == names.split()
