"""The codecs that dcpx is measured against, each behind the same two calls.

A peer that isn't installed, or can't code a dtype, appears in the table as missing with the reason.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["PEERS", "Peer"]

Array = npt.NDArray[np.uint8]


class Peer(Protocol):
    """One codec; `whole` where it wants all tensors as one, `alone` where it can't be used by two threads at once."""

    version: str
    whole: bool
    alone: bool

    def encode(self, tensor: Array) -> Any:
        """The coded tensor: something with a length in bytes."""

    def decode(self, coded: Any, size: int) -> Any:
        """The tensor's `size` bytes as a buffer."""


class _Zstd:
    whole = False
    alone = False

    def __init__(self, level: int) -> None:
        self._module = importlib.import_module("zstandard")
        self._level = level
        self.version = importlib.metadata.version("zstandard")

    def encode(self, tensor: Array) -> bytes:
        coded: bytes = self._module.ZstdCompressor(level=self._level).compress(tensor)
        return coded

    def decode(self, coded: bytes, size: int) -> Any:
        return self._module.ZstdDecompressor().decompress(coded, max_output_size=size)


class _ZipNN:
    whole = False
    alone = True  # two threads corrupt each other's output, and at times the process

    def __init__(self, dtype: str) -> None:
        names = {"bfloat16": "bfloat16", "float16": "float16", "float32": "float32"}
        if dtype not in names:
            raise NotImplementedError(f"not for {dtype}")
        module = importlib.import_module("zipnn")
        self._codec = module.ZipNN(input_format="byte", bytearray_dtype=names[dtype], threads=1)
        self.version = importlib.metadata.version("zipnn")

    def encode(self, tensor: Array) -> Any:
        return self._codec.compress(bytearray(tensor))  # it works in place, so it needs a copy

    def decode(self, coded: Any, size: int) -> Any:
        return self._codec.decompress(coded)


class _OpenZL:
    whole = False
    alone = False

    def __init__(self, dtype: str, entropy: str) -> None:
        self._zl = importlib.import_module("openzl.ext")
        nodes, graphs = self._zl.nodes, self._zl.graphs
        splits = {
            "bfloat16": (nodes.BFloat16Deconstruct, nodes.ConvertSerialToNumLE16),
            "float16": (nodes.Float16Deconstruct, nodes.ConvertSerialToNumLE16),
            "float32": (nodes.Float32Deconstruct, nodes.ConvertSerialToNumLE32),
        }
        if dtype not in splits:
            raise NotImplementedError(f"not for {dtype}")
        split, convert = splits[dtype]
        compressor = self._zl.Compressor()
        coded = split()(compressor, sign_frac=graphs.Store(), exponent=getattr(graphs, entropy)())
        compressor.select_starting_graph(convert()(compressor, successor=coded))
        self._compressor = compressor
        self.version = importlib.metadata.version("openzl")

    def encode(self, tensor: Array) -> bytes:
        context = self._zl.CCtx()
        context.ref_compressor(self._compressor)
        context.set_parameter(self._zl.CParam.FormatVersion, self._zl.MAX_FORMAT_VERSION)
        coded: bytes = context.compress([self._zl.Input(self._zl.Type.Serial, tensor)])
        return coded

    def decode(self, coded: bytes, size: int) -> Any:
        return self._zl.DCtx().decompress(coded)[0].content.as_bytes()


class _Blosc2:
    whole = False
    alone = False

    def __init__(self, width: int) -> None:
        self._module = importlib.import_module("blosc2")
        self._module.set_nthreads(1)
        self._width = width
        self.version = importlib.metadata.version("blosc2")

    def encode(self, tensor: Array) -> Any:
        m = self._module
        return m.compress2(tensor, typesize=self._width, codec=m.Codec.ZSTD, clevel=1, filters=[m.Filter.SHUFFLE])

    def decode(self, coded: Any, size: int) -> Any:
        return self._module.decompress2(coded)


class _Lmz:
    """lmzip codes files only: safetensors files in a memory file system, whose reading and writing are in its times."""

    whole = True
    alone = False

    def __init__(self, dtype: str) -> None:
        names = {"bfloat16": "BF16", "float16": "F16", "float32": "F32", "int32": "I32"}
        if dtype not in names:
            raise NotImplementedError(f"not for {dtype}")
        self._module = importlib.import_module("lmz")
        self._name, self._width = names[dtype], 4 if dtype.endswith("32") else 2
        self.version = importlib.metadata.version("lmzip")
        self._folder = tempfile.TemporaryDirectory(dir="/dev/shm")

    def encode(self, tensor: Array) -> bytes:
        plain, packed = self._path("plain"), self._path("packed")
        entry = {"dtype": self._name, "shape": [tensor.nbytes // self._width], "data_offsets": [0, tensor.nbytes]}
        header = json.dumps({"x": entry}).encode()
        with plain.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.write(tensor.data)
        self._module.compress(str(plain), str(packed), workers=1)
        return packed.read_bytes()

    def decode(self, coded: bytes, size: int) -> Any:
        packed, plain = self._path("packed"), self._path("back")
        packed.write_bytes(coded)
        self._module.decompress(str(packed), str(plain), workers=1, overwrite=True)
        return memoryview(plain.read_bytes())[-size:]

    def _path(self, name: str) -> Path:
        # A name for each thread: they code side by side.
        return Path(self._folder.name) / f"{name}-{threading.get_ident()}.safetensors"


PEERS: dict[str, Callable[[str, int], Peer]] = {
    "zstd -1": lambda dtype, width: _Zstd(-1),
    "zstd 1": lambda dtype, width: _Zstd(1),
    "zstd 3": lambda dtype, width: _Zstd(3),
    "zipnn": lambda dtype, width: _ZipNN(dtype),
    "openzl huffman": lambda dtype, width: _OpenZL(dtype, "Huffman"),
    "openzl fse": lambda dtype, width: _OpenZL(dtype, "Fse"),
    "blosc2 shuffle+zstd1": lambda dtype, width: _Blosc2(width),
    "lmzip": lambda dtype, width: _Lmz(dtype),
}
