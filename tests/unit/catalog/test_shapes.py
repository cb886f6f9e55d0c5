"""Entries that look alike are read at once, and as they are read word by word."""

from __future__ import annotations

import pickle
import pickletools
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorStorageMetadata,
)

from dcpx import CorruptError
from dcpx.catalog import shapes as _shapes
from dcpx.catalog.records import Records
from dcpx.dcp.metadata import load_metadata
from dcpx.dcp.private import StorageInfo, set_version
from tests.support.metadata import indices_of, make_tensor, rows
from tests.support.metadata_files import assert_either_way, assert_loads, assert_same, outcome, word_by_word
from tests.unit.catalog.test_metadata_writers import WRITERS

FILES = [f"__{rank}_0.distcp" for rank in range(8)]
SHARED = ["stream.pack@dcpx/1"]


def many(
    count: int = 12,
    *,
    sizes: Callable[[int], tuple[int, ...]] = lambda number: (3, 4),
    dtype: Callable[[int], torch.dtype] = lambda number: torch.float32,
    chunks: int = 1,
    length: int = 1234,
    descriptors: Callable[[], Any] = lambda: None,
    objects: Callable[[int], bool] = lambda number: False,
    name: Callable[[int], str] = lambda number: f"layers.{number}.weight",
    stored_name: Callable[[str], str] = lambda name: name,
    fields: Callable[[StorageInfo], dict[str, Any]] = vars,
) -> Metadata:
    """Metadata of many items, each cut along its first dimension into chunks of that size."""
    items: dict[str, Any] = {}
    storage: dict[MetadataIndex, StorageInfo] = {}

    def store(index: MetadataIndex, file: str) -> None:
        storage[index] = info = StorageInfo(file, len(storage) * length, length, descriptors())
        info.__dict__ = fields(info)

    for item in map(name, range(count)):
        number = len(items)
        if objects(number):
            items[item] = BytesStorageMetadata()
        else:
            size = sizes(number)
            edges = [chunk * size[0] for chunk in range(chunks + 1)] if size else [0]
            whole = (edges[-1], *size[1:]) if size else ()
            items[item] = make_tensor(whole, rows(whole, edges), dtype(number))
        for index in indices_of(item, items[item]):
            store(replace(index, fqn=stored_name(item)), FILES[(index.index or 0) % 8])
    paths = {item: ("model", *item.split(".", 1)) for item in items}
    metadata = Metadata(items, paths, storage, StorageMeta("/checkpoints/1", "save"))
    set_version(metadata)
    return metadata


def another(text: str) -> str:
    """The same, as an object of its own: so names are that came from another rank."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")


KINDS: dict[str, Metadata] = {
    "tensors": many(),
    "of all dimensions": many(sizes=lambda number: tuple(range(2, 2 + number % 6))),
    "large": many(sizes=lambda number: (1 << 9, 1 << 20), length=1 << 33),
    "of several dtypes": many(dtype=lambda number: [torch.float32, torch.bfloat16, torch.int8][number % 3]),
    "in two chunks": many(chunks=2),
    "in many chunks": many(chunks=40),
    "in chunks with names of their own": many(chunks=3, stored_name=another),
    "in chunks with one name": many(chunks=3, stored_name=cache(another)),
    "objects": many(objects=lambda number: True),
    "objects among tensors": many(objects=lambda number: number % 4 == 3),
    "with one list of descriptors": many(descriptors=lambda: SHARED),
    "with lists of one descriptor": many(descriptors=lambda: SHARED[:]),
    "with descriptors of their own": many(descriptors=lambda: [another("stream.zstd/1")]),
    "with two descriptors": many(descriptors=lambda: [another("stream.zstd/1"), *SHARED]),
    "with no descriptors": many(descriptors=list),
    "with names of every kind": many(
        name=lambda number: ["", "Grüße", "\ud800", "ub\x8c", "x" * 250][number % 5] + f"{number}"
    ),
}


LOOKS_DIFFERENT = {
    "a file an item": many(8, fields=lambda info: vars(info) | {"relative_path": f"{info.offset}.distcp"}),
    "fields in another order": many(8, fields=lambda info: dict(reversed(vars(info).items()))),
    "length before offset": many(8, fields=lambda i: {n: vars(i)[n] for n in ("relative_path", "length", "offset")}),
    "no descriptors, said so": many(8, fields=lambda info: vars(info) | {"transform_descriptors": ()}),
    "descriptors in a tuple": many(8, descriptors=lambda: ("stream.zstd/1", "stream.pack@dcpx/1")),
    "long descriptors": many(8, descriptors=lambda: [another("x" * 100)]),
    "names of 300 letters": many(8, name=lambda number: f"{number}" + "x" * 300),
    "tensors of 4097 chunks": many(2, chunks=4097),
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many items and places were copies of a model."""
    counts = {"items": 0, "places": 0}

    def counted(name: str, copy: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            counts[name] += 1
            return copy(*arguments)

        return count

    monkeypatch.setattr(_shapes._Item, "copy", counted("items", _shapes._Item.copy))
    monkeypatch.setattr(_shapes._Place, "copy", counted("places", _shapes._Place.copy))
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_entries_alike_are_copies(kind: str, read: dict[str, int]):
    """All but those whose words are the first to name something."""
    metadata = KINDS[kind]
    load_metadata(pickle.dumps(metadata))
    if kind == "objects":
        assert read["items"] == 0  # of a name and three words each
    else:
        assert read["items"] >= len(metadata.state_dict_metadata) - 4
    assert read["places"] >= len(metadata.storage_data) - len(FILES) - 1


@pytest.mark.parametrize("writer", [writer for writer in WRITERS if writer != "stock, a file an item"])
def test_files_of_every_writer_look_alike(writer: str, tmp_path: Any, read: dict[str, int]):
    state = {"model": {f"{number}": torch.ones(number % 3 + 1) for number in range(30)}}
    dcp.save(state, storage_writer=WRITERS[writer](tmp_path))
    read.update(items=0, places=0)  # dcpx reads its own before it is published
    load_metadata((tmp_path / ".metadata").read_bytes())
    assert read["items"] == 29
    assert read["places"] >= 28 - len(list(tmp_path.glob("*.distcp")))  # as many files as there are cores


@pytest.mark.parametrize("kind", KINDS | LOOKS_DIFFERENT)
def test_same_with_and_without(kind: str):
    for protocol in (2, 3, 4, 5) if kind in KINDS else (4,):
        data = pickle.dumps((KINDS | LOOKS_DIFFERENT)[kind], protocol)
        assert_loads(data)
        assert_loads(pickletools.optimize(data))


def test_same_when_cut():
    few = many(4, name=lambda number: f"Größe {number}", stored_name=another, descriptors=lambda: [another("zstd")])
    for metadata in (few, many(20)):
        data = _without_frame(pickle.dumps(metadata))
        for size in range(max(0, len(data) - 1000), len(data)):
            assert isinstance(assert_either_way(data[:size]), CorruptError)


def test_same_when_damaged():
    """Sound or not, whatever becomes of a file, it is read as it is word by word."""
    rng = random.Random(1)
    for metadata in KINDS.values():
        data = _without_frame(pickle.dumps(metadata))
        for _ in range(120):
            damaged = bytearray(data)
            begin, end = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
            end = min(end, begin + 60)
            match rng.randrange(4):
                case 0:
                    damaged[begin] ^= 1 << rng.randrange(8)
                case 1:
                    del damaged[begin:end]
                case 2:
                    damaged[begin:begin] = data[begin:end]
                case 3:
                    damaged[begin:begin] = rng.choice([b"\x94", b"(", b"u", b"b", b"a", b"e", b"N", b"h\0", b"]", b"}"])
            assert_either_way(bytes(damaged))


# --- what models must not change --------------------------------------------------------------------------------------


def tensors(metadata: Metadata) -> list[TensorStorageMetadata]:
    return [item for item in metadata.state_dict_metadata.values() if isinstance(item, TensorStorageMetadata)]


def tie(metadata: Metadata) -> None:
    metadata.state_dict_metadata["tied"] = tensors(metadata)[5]


def share_chunks(metadata: Metadata) -> None:
    tensors(metadata)[6].chunks = tensors(metadata)[5].chunks


def share_a_chunk(metadata: Metadata) -> None:
    tensors(metadata)[7].chunks = [tensors(metadata)[5].chunks[0]]


def share_properties(metadata: Metadata) -> None:
    tensors(metadata)[-1].properties = tensors(metadata)[-4].properties


def share_sizes(metadata: Metadata) -> None:
    first = tensors(metadata)[5]
    for tensor in tensors(metadata)[6:]:
        tensor.size = tensor.chunks[0].sizes = first.size


def refer_to_sizes(metadata: Metadata) -> None:
    vars(metadata)["sizes"] = [tensor.size for tensor in tensors(metadata)]
    vars(metadata)["offsets"] = [index.offset for index in metadata.storage_data]


@pytest.mark.parametrize("change", [tie, share_chunks, share_a_chunk, share_properties, share_sizes, refer_to_sizes])
def test_what_the_file_refers_to_again(change: Callable[[Metadata], None]):
    """What was made as a part of a copy is the same object everywhere."""
    metadata = many()
    change(metadata)
    assert_loads(pickle.dumps(metadata))


def test_copies_are_apart():
    """Changing one item changes no other."""
    found = load_metadata(pickle.dumps(many(descriptors=lambda: SHARED[:])))
    seen: set[int] = set()
    for item in tensors(found):
        seen |= {id(item), id(item.properties), id(item.chunks), *map(id, item.chunks)}
    for index, info in found.storage_data.items():
        seen |= {id(index), id(info), id(info.transform_descriptors)}
    assert len(seen) == 12 * 4 + 12 * 3


def test_a_list_that_all_share_and_that_changes_later():
    """The list is one object in the file, and grows after the last item that refers to it."""
    metadata = many(descriptors=lambda: SHARED)
    vars(metadata)["later"] = SHARED
    data = pickle.dumps(metadata)
    assert data.endswith(b"ub.")
    forged = _without_frame(data)[:-3] + b"K\x05aub."
    with pytest.raises(CorruptError, match="transforms aren't strings"):
        load_metadata(forged)
    assert_either_way(forged)


def test_whatever_the_file_refers_to():
    """Each thing that was made on the way, like the dictionaries that objects are filled from, as another field."""
    data = _without_frame(pickle.dumps(many(8)))
    made = sum(opcode.name == "MEMOIZE" for opcode, _, _ in pickletools.genops(data))
    loaded = 0
    for number in range(made):
        forged = data[:-3] + b"\x8c\x05otherj" + number.to_bytes(4, "little") + b"ub."
        found = assert_either_way(forged)
        if isinstance(found, Metadata):
            loaded += 1
            assert_same(found, pickle.loads(forged))
    assert 0 < loaded < made


def test_limits_within_a_run():
    for change in ({"offset": 1 << 62, "length": 1 << 62}, {"length": -1}, {"offset": -5}, {"offset": True}):
        metadata = many()
        vars(list(metadata.storage_data.values())[7]).update(change)
        with pytest.raises(CorruptError, match="wrong offset or length"):
            load_metadata(pickle.dumps(metadata))
        assert_either_way(pickle.dumps(metadata))


@pytest.mark.parametrize("kind", ["in many chunks", "objects"])
def test_every_index_is_counted(kind: str, monkeypatch: pytest.MonkeyPatch):
    """Else a dictionary of many of the same hash would take forever."""
    counted: set[Any] = set()
    monkeypatch.setattr(Records, "count", lambda self, indices: counted.update(indices))
    found = load_metadata(pickle.dumps(KINDS[kind]))
    assert counted >= {(index.fqn, index.offset) for index in found.storage_data}


@pytest.mark.parametrize("name", ["left out", "lists that end late", "objects"])
def test_files_that_fit_no_shape_in_the_end(name: str):
    """They take no longer than being read twice."""
    metadata = many(600, chunks=20)
    if name == "left out":
        metadata.state_dict_metadata["tied"] = tensors(metadata)[-1]
    if name == "objects":
        metadata = many(5000, objects=lambda number: number > 3)
    data = pickle.dumps(metadata)
    if name == "lists that end late":
        data = data.replace(b"ubeub", b"ubNeub")  # NONE as the last of the chunks
    begin = time.process_time()
    outcome(data)
    middle = time.process_time()
    with word_by_word():
        outcome(data)
    assert middle - begin < 3 * (time.process_time() - middle)


def test_the_same_entry_twice():
    data = _without_frame(pickle.dumps(many()))
    item = (
        data.rindex(b"\x8c\x10layers.10.weight", 0, data.index(b"planner_data")),
        data.index(b"\x8c\x10layers.11.weight"),
    )
    ends = [position + 1 for opcode, _, position in pickletools.genops(data) if opcode.name == "BUILD"]
    place = ends[-5], ends[-3]
    for begin, end in (item, place):
        doubled = data[:end] + data[begin:end] + data[end:]
        with pytest.raises(CorruptError, match="same key twice"):
            load_metadata(doubled)
        assert_either_way(doubled)


def _without_frame(data: bytes) -> bytes:
    """So that it can be made longer, or shorter without being refused at once."""
    return data[:2] + data[11:]
