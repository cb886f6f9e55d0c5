"""One layout, two readers: what stock DCP writes dcpx reads, and the other way round, bit for bit."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint import _extension as torchs
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter
from torch.distributed.checkpoint.filesystem import _StorageReaderTransforms

import dcpx
from dcpx import Chain, Pack, ZStandard, default_registry

from ..conftest import PlugIn
from .states import assert_same, blank_of, make_state

KINDS: dict[str, Callable[[], Any]] = {
    "plain": lambda: None,
    "zstd": ZStandard,
    "torch's zstd": torchs.ZStandard,
    "pack": Pack,
    "pack, small chunks": lambda: Pack("zstd", chunk_size=65536),
    "chain": lambda: Chain(Pack(), ZStandard()),
    "chain, the other way": lambda: Chain(ZStandard(), Pack("raw")),
}

every_kind = pytest.mark.parametrize("kind", KINDS)
threads = pytest.mark.parametrize("thread_count", [1, 2])
STATE = make_state()


def stock_writer(path: Path | str, extensions: Any, **options: Any) -> FileSystemWriter:
    if isinstance(path, Path):
        return FileSystemWriter(path, _extensions=extensions, sync_files=False, **options)
    return FsspecWriter(path, _extensions=extensions, sync_files=False, **options)


def stock_reader(path: Path | str) -> FileSystemReader:
    if isinstance(path, Path):
        return FileSystemReader(path, _extension_registry=default_registry())
    reader = FsspecReader(path)
    # Its constructor has no parameter for the registry.
    reader.transforms = _StorageReaderTransforms(default_registry())
    return reader


def save(writer: FileSystemWriter) -> None:
    dcp.save(STATE, storage_writer=writer)


def assert_loads(reader: FileSystemReader) -> None:
    state = blank_of(STATE)
    dcp.load(state, storage_reader=reader)
    assert_same(state, STATE)


def descriptors(reader: FileSystemReader) -> set[tuple[str, ...]]:
    stored = reader.read_metadata().storage_data.values()
    return {tuple(info.transform_descriptors or ()) for info in stored}


@every_kind
@threads
def test_stock_writer(tmp_path: Path, kind: str, thread_count: int) -> None:
    extension = KINDS[kind]()
    extensions = None if extension is None else [extension]
    save(stock_writer(tmp_path, extensions, thread_count=thread_count))
    assert descriptors(stock_reader(tmp_path)) == {() if extension is None else (extension.get_descriptor(),)}
    assert_loads(stock_reader(tmp_path))
    assert_loads(dcpx.Reader(tmp_path))


@every_kind
@threads
def test_dcpx_writer(tmp_path: Path, kind: str, thread_count: int) -> None:
    extension = KINDS[kind]()
    save(dcpx.Writer(tmp_path, pack=extension, threads=thread_count, sync_files=False))
    assert descriptors(stock_reader(tmp_path)) == {() if extension is None else (extension.get_descriptor(),)}
    assert_loads(stock_reader(tmp_path))
    assert_loads(dcpx.Reader(tmp_path))


@pytest.mark.parametrize("kind", ["plain", "zstd", "torch's zstd"])
def test_stock_registry_reads_what_stock_knows(tmp_path: Path, kind: str) -> None:
    save(dcpx.Writer(tmp_path, pack=KINDS[kind](), sync_files=False))
    assert_loads(FileSystemReader(tmp_path))


@pytest.mark.parametrize("single_file", [True, False])
def test_file_layouts(tmp_path: Path, single_file: bool) -> None:
    options = {"single_file_per_rank": single_file, "sync_files": False}
    save(FileSystemWriter(tmp_path / "stock", _extensions=[Pack()], **options))
    save(dcpx.Writer(tmp_path / "dcpx", **options))
    for path in (tmp_path / "stock", tmp_path / "dcpx"):
        assert (len(list(path.glob("*.distcp"))) == 1) == single_file
        assert_loads(stock_reader(path))
        assert_loads(dcpx.Reader(path))


def test_synced_files(tmp_path: Path) -> None:
    dcp.save(STATE, storage_writer=dcpx.Writer(tmp_path))
    assert_loads(stock_reader(tmp_path))


def test_own_doors(tmp_path: Path) -> None:
    dcpx.save(STATE, tmp_path)
    assert_loads(stock_reader(tmp_path))
    state = blank_of(STATE)
    dcpx.load(state, tmp_path)
    assert_same(state, STATE)


# fsspec


@every_kind
def test_fsspec_file(tmp_path: Path, kind: str) -> None:
    extension = KINDS[kind]()
    url = f"file://{tmp_path}/stock"
    save(stock_writer(url, None if extension is None else [extension], thread_count=2))
    assert_loads(stock_reader(url))
    assert_loads(dcpx.Reader(tmp_path / "stock"))

    save(dcpx.Writer(tmp_path / "dcpx", pack=extension, sync_files=False))
    assert_loads(stock_reader(f"file://{tmp_path}/dcpx"))


@every_kind
def test_fsspec_memory(kind: str) -> None:
    extension = KINDS[kind]()
    url = f"memory://{uuid.uuid4()}"
    save(stock_writer(url, None if extension is None else [extension]))
    assert_loads(stock_reader(url))


# Several extensions of the stock writer, which the stock reader applies in the wrong order


def test_stock_reader_fails_on_several(tmp_path: Path) -> None:
    # Should torch mend its order, dcpx.Reader must learn which of the two orders a checkpoint has.
    save(stock_writer(tmp_path, [ZStandard(), Pack("raw")]))
    assert descriptors(stock_reader(tmp_path)) == {("stream.pack@dcpx/1", "stream.zstd/1")}
    with pytest.raises(dcp.api.CheckpointException):
        dcp.load(blank_of(STATE), storage_reader=stock_reader(tmp_path))


@threads
@pytest.mark.parametrize(
    "names",
    [
        ("zstd", "pack"),
        ("pack", "zstd"),
        ("torch's zstd", "pack"),
        ("pack", "torch's zstd"),
        ("chain", "zstd"),
        ("zstd", "pack, small chunks", "torch's zstd"),
    ],
    ids=" then ".join,
)
def test_several_extensions_of_the_stock_writer(tmp_path: Path, names: tuple[str, ...], thread_count: int) -> None:
    save(stock_writer(tmp_path, [KINDS[name]() for name in names], thread_count=thread_count))
    assert_loads(dcpx.Reader(tmp_path))


def test_several_extensions_of_a_plug_in(tmp_path: Path, plug_in: PlugIn) -> None:
    save(stock_writer(tmp_path, [plug_in.crc32(), plug_in.rot13(), plug_in.xor(), ZStandard()]))
    assert_loads(dcpx.Reader(tmp_path))


def test_stock_reads_what_is_stored_once(tmp_path: Path):
    """It sees nothing but two items in one place."""
    weight = torch.arange(1_500_000, dtype=torch.float32).view(1500, 1000)
    state = {"weight": weight, "tied": weight, "equal": weight.clone(), "part": weight[:3].clone()}
    dcpx.save(state, tmp_path)
    places = {index.fqn: info for index, info in dcpx.Reader(tmp_path).read_metadata().storage_data.items()}
    assert places["weight"] == places["tied"] == places["equal"] != places["part"]
    loaded = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    dcp.load(loaded, storage_reader=stock_reader(tmp_path))
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    half = {"tied": torch.zeros(1500, 1000), "equal": torch.zeros(1500, 1000)}
    dcp.load(half, storage_reader=stock_reader(tmp_path))
    assert torch.equal(half["tied"], weight)
