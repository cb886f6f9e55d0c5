"""The essence of upstream's own tests of extensions, with dcpx's classes in the place of torch's.

Upstream saves a small module and a stateful blob with one or two writer threads, through its example extension or
ZStandard, and loads them into another module. Its example comes with torch: it derives from torch's contract, its
streams say neither that they are writable nor what a short write took, and closing them doesn't reach the output.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint import _extension as torchs
from torch.testing._internal.distributed.checkpoint_utils import Rot13Example

import dcpx

EXTENSIONS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "rot13": Rot13Example,
    "zstd": dcpx.ZStandard,
    "pack": dcpx.Pack,
    "zstd, rot13": lambda: dcpx.Chain(dcpx.ZStandard(), Rot13Example()),
    "rot13, zstd": lambda: dcpx.Chain(Rot13Example(), dcpx.ZStandard()),
    "rot13, pack": lambda: dcpx.Chain(Rot13Example(), dcpx.Pack()),
    "rot13, torch's zstd": lambda: dcpx.Chain(Rot13Example(), torchs.ZStandard()),
    "torch's zstd, pack": lambda: dcpx.Chain(torchs.ZStandard(), dcpx.Pack()),
}


class Module(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(5, 5)
        self.second = torch.nn.Linear(5, 1)
        self.embedding = torch.nn.EmbeddingBag(5, 10)


class Blob:
    """A stateful object, which DCP asks for its state when saving and hands it back when loading."""

    def __init__(self, value: bytes) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"blob": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["blob"]


def registry() -> dcpx.ExtensionRegistry:
    made = dcpx.ExtensionRegistry()
    made.register(Rot13Example)
    return made


def make_writer(kind: str, path: Path, extension: Any, thread_count: int) -> FileSystemWriter:
    if kind == "dcpx":
        return dcpx.Writer(path, pack=extension, threads=thread_count)
    return FileSystemWriter(path, _extensions=None if extension is None else [extension], thread_count=thread_count)


@pytest.mark.parametrize("writer", ["stock", "dcpx"])
@pytest.mark.parametrize(("name", "thread_count"), list(itertools.product(EXTENSIONS, (1, 2))))
def test_read_write_tensors_and_blob(tmp_path: Path, name: str, thread_count: int, writer: str) -> None:
    saved = {**Module().state_dict(), "blob": Blob(b"SomeBlobForTesting")}
    dcp.save(saved, storage_writer=make_writer(writer, tmp_path, EXTENSIONS[name](), thread_count))

    # No extension is named when loading: the metadata says which.
    stock = FileSystemReader(tmp_path, _extension_registry=registry())
    for reader in (stock, dcpx.Reader(tmp_path, registry=registry())):
        loaded = {**Module().state_dict(), "blob": Blob(b"")}
        assert not torch.equal(loaded["first.weight"], saved["first.weight"])
        dcp.load(loaded, storage_reader=reader)
        assert loaded["blob"].value == b"SomeBlobForTesting"
        for key in saved.keys() - {"blob"}:
            assert torch.equal(loaded[key], saved[key]), key


def test_checkpoint_without_extensions_needs_no_registry(tmp_path: Path) -> None:
    saved = Module().state_dict()
    dcp.save(saved, storage_writer=dcpx.Writer(tmp_path, pack=None))
    loaded = Module().state_dict()
    dcp.load(loaded, storage_reader=FileSystemReader(tmp_path))
    assert all(torch.equal(loaded[key], saved[key]) for key in saved)


def test_unregistered_extension_is_an_error(tmp_path: Path) -> None:
    dcp.save(Module().state_dict(), storage_writer=FileSystemWriter(tmp_path, _extensions=[Rot13Example()]))
    with pytest.raises(dcp.api.CheckpointException, match=r"unknown extension 'stream\.rot13'"):
        dcp.load(Module().state_dict(), storage_reader=dcpx.Reader(tmp_path))
