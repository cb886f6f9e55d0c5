"""Upstream's own tests of extensions (test_file_system_checkpoint_cpu.py) with dcpx's classes in the place of torch's.

The model, the sizes and the assertions are upstream's; the rotation is its Rot13Example, which here derives from
dcpx's contract and knows nothing of torch.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import IO, Any, cast

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter

import dcpx

_TABLE = bytes((byte + 13) % 256 for byte in range(256))
_BACK = bytes((byte - 13) % 256 for byte in range(256))


class Rot13Example(dcpx.StreamTransformExtension):
    """Adds 13 to each byte; upstream's, with its chunked writing."""

    def __init__(self, chunk_size: int = 2) -> None:
        self._chunk_size = chunk_size

    @staticmethod
    def from_descriptor(version: str) -> Rot13Example:
        if version.partition(".")[0] != "1":
            raise ValueError(f"Unknown extension {version=}")
        return Rot13Example()

    @staticmethod
    def registry_name() -> str:
        return "stream.rot13"

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        chunk_size = self._chunk_size

        class Writer(io.RawIOBase):
            def writable(self) -> bool:
                return True

            def write(self, data: Any, /) -> int:
                rotated = bytes(data).translate(_TABLE)
                for start in range(0, len(rotated), 1 << 10 * chunk_size):
                    output.write(rotated[start : start + (1 << 10 * chunk_size)])
                return len(rotated)

            def flush(self) -> None:
                output.flush()

        return cast(IO[bytes], Writer())

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        class Reader(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def readinto(self, buffer: Any, /) -> int:
                data = input.read(len(buffer)).translate(_BACK)
                buffer[: len(data)] = data
                return len(data)

        return cast(IO[bytes], Reader())


class MyTestModule(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear_1 = torch.nn.Linear(5, 5)
        self.linear_2 = torch.nn.Linear(5, 1)
        self.emb = torch.nn.EmbeddingBag(5, 10)


def assert_state_dicts_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


EXTENSIONS: dict[str, dcpx.StreamTransformExtension | None] = {
    "none": None,
    "rot13": Rot13Example(),
    "zstd": dcpx.ZStandard(),
    "pack": dcpx.Pack(),
    "rot13, zstd": dcpx.Chain(Rot13Example(), dcpx.ZStandard()),
    "zstd, rot13": dcpx.Chain(dcpx.ZStandard(), Rot13Example()),
}


@pytest.mark.parametrize(("name", "thread_count"), list(itertools.product(EXTENSIONS, (1, 2))))
def test_read_write_only_tensor(tmp_path: Path, name: str, thread_count: int) -> None:
    extension = EXTENSIONS[name]
    registry = dcpx.ExtensionRegistry()
    registry.register(Rot13Example)

    state_dict_to_save = MyTestModule().state_dict()
    writer = FileSystemWriter(
        tmp_path, thread_count=thread_count, _extensions=None if extension is None else [extension]
    )
    dcp.save(state_dict=state_dict_to_save, storage_writer=writer)

    readers = (FileSystemReader(tmp_path, _extension_registry=registry), dcpx.Reader(tmp_path, registry=registry))
    for reader in readers:
        state_dict_to_load_to = MyTestModule().state_dict()
        with pytest.raises(AssertionError):
            assert_state_dicts_equal(state_dict_to_load_to, state_dict_to_save)
        dcp.load(state_dict=state_dict_to_load_to, storage_reader=reader)
        assert_state_dicts_equal(state_dict_to_load_to, state_dict_to_save)


def test_registry_of_torchs_is_ours_in_signature() -> None:
    # FileSystemReader asks for nothing but this of its registry.
    registry = dcpx.ExtensionRegistry()
    assert [type(extension) for extension in registry.from_descriptor_list(["stream.zstd/1"])] == [dcpx.ZStandard]
    assert registry.extensions["stream.zstd"] is dcpx.ZStandard
    with pytest.raises(ValueError, match="stream.rot13"):
        registry.from_descriptor_list(["stream.rot13/1"])
