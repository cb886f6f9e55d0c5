"""Two extensions in a chain load back in either order, third parties' included, through both readers."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import IO

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter

import dcpx
from dcpx import Chain, Pack, StreamTransformExtension, ZStandard, default_registry
from dcpx.extension import Item

from ..conftest import PlugIn
from .states import raw

NAMES = ("zstd", "pack", "rot13", "xor", "crc32")


def make(name: str, plug_in: PlugIn) -> StreamTransformExtension:
    makers = {"zstd": ZStandard, "pack": Pack, "rot13": plug_in.rot13, "xor": plug_in.xor, "crc32": plug_in.crc32}
    return makers[name]()


def make_tensors() -> dict[str, object]:
    return {
        "weight": torch.randn(300, 500, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16),
        "text": torch.frombuffer(bytearray(b"Hello, World " * 1000), dtype=torch.uint8),
        "empty": torch.empty(0),
        "scalar": torch.tensor(-0.0),
        "object": "Hello, World",
    }


def assert_loads(reader: FileSystemReader) -> None:
    saved = make_tensors()
    loaded = {key: torch.ones_like(value) if isinstance(value, torch.Tensor) else None for key, value in saved.items()}
    dcp.load(loaded, storage_reader=reader)
    for key, value in saved.items():
        if isinstance(value, torch.Tensor):
            assert raw(loaded[key]) == raw(value), key
        else:
            assert loaded[key] == value


@pytest.mark.parametrize("names", list(itertools.permutations(NAMES, 2)), ids=" then ".join)
@pytest.mark.parametrize("writer", ["dcpx", "stock"])
def test_pair(tmp_path: Path, plug_in: PlugIn, names: tuple[str, str], writer: str) -> None:
    chain = Chain(*(make(name, plug_in) for name in names))
    if writer == "dcpx":
        dcp.save(make_tensors(), storage_writer=dcpx.Writer(tmp_path, pack=chain, sync_files=False))
    else:
        dcp.save(make_tensors(), storage_writer=FileSystemWriter(tmp_path, _extensions=[chain], sync_files=False))
    assert_loads(dcpx.Reader(tmp_path))
    assert_loads(FileSystemReader(tmp_path, _extension_registry=default_registry()))


def test_order_is_data_flow_order(plug_in: PlugIn, tmp_path: Path) -> None:
    """The first one sees the data first, which shows in what is stored."""
    path = tmp_path / "item"
    with path.open("wb") as file, Chain(plug_in.rot13(), plug_in.crc32()).transform_to(file) as stream:
        stream.write(b"Hello")
    stored = path.read_bytes()
    assert stored[:-4] == b"Uryyb"
    with path.open("wb") as file, Chain(plug_in.crc32(), plug_in.rot13()).transform_to(file) as stream:
        stream.write(b"Hello")
    assert path.read_bytes()[:-4] == b"Uryyb"
    assert path.read_bytes() != stored  # here the checksum, of the plain bytes, was rotated as well


def test_all_five_in_one_chain(tmp_path: Path, plug_in: PlugIn) -> None:
    chain = Chain(*(make(name, plug_in) for name in NAMES))
    dcp.save(make_tensors(), storage_writer=dcpx.Writer(tmp_path, pack=chain, threads=2, sync_files=False))
    assert_loads(dcpx.Reader(tmp_path))
    assert_loads(FileSystemReader(tmp_path, _extension_registry=default_registry()))


def test_versions_with_separators_survive(plug_in: PlugIn) -> None:
    inner = Chain(plug_in.xor(), Chain(ZStandard()), Chain())
    outer = Chain(inner, plug_in.rot13())
    (rebuilt,) = default_registry().from_descriptor_list([outer.get_descriptor()])
    assert rebuilt.get_descriptor() == outer.get_descriptor()
    assert isinstance(rebuilt, Chain)
    assert [type(extension) for extension in rebuilt.extensions] == [Chain, plug_in.rot13]


class ToldOfItem(ZStandard):
    """Keeps what it was told of the items it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str | None]] = []

    def transform_item_to(self, output: IO[bytes], item: Item) -> IO[bytes]:
        self.told.append((item.fqn, item.dtype))
        return self.transform_to(output)


def test_only_the_first_sees_the_item_as_it_is(plug_in: PlugIn) -> None:
    """The others see other bytes, of which only the name is true."""
    whole, name = ("layer.weight", "float32"), ("layer.weight", None)
    item = Item("layer.weight", (0,), "float32", (3,), True)
    for chain, expected in (
        (lambda a, b: Chain(a, b), ([whole], [name])),
        (lambda a, b: Chain(plug_in.rot13(), a, b), ([name], [name])),
        (lambda a, b: Chain(Chain(), Chain(a), b), ([whole], [name])),
        (lambda a, b: Chain(a, a), ([name, whole], [])),
    ):
        first, second = ToldOfItem(), ToldOfItem()
        chain(first, second).transform_item_to(io.BytesIO(), item)
        assert (first.told, second.told) == expected
