"""What a state can be checkpointed with, each behind the same two calls: stock DCP, dcpx, and what is no DCP at all.

A peer that isn't installed, or can't store a state, appears in the tables as missing with the reason.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint._extension import ZStandard
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.planner import LoadPlanner

import dcpx

from .states import State
from .store import sync

__all__ = ["Checkpointer", "Dcpx", "Maker", "Stock", "other_packs", "peers", "through_dcp"]


class Checkpointer(Protocol):
    """`folder` is an absolute path; with `fsync` the files are on disk when `save` returns."""

    def save(self, state: State, folder: Path, fsync: bool) -> None:
        """Store the state below `folder`, which doesn't exist yet."""

    def load(self, targets: State, folder: Path) -> None:
        """Fill the targets in place."""


Maker = Callable[[], Checkpointer]


class Stock:
    """DCP as torch ships it, plain or with torch's own ZStandard extension; `fs` is the store, None local files."""

    def __init__(self, threads: int = 1, zstd: bool = False, fs: FileSystem | None = None) -> None:
        self._threads = threads
        self._extensions = [ZStandard()] if zstd else []
        self._fs = fs

    def save(self, state: State, folder: Path, fsync: bool) -> None:
        writer = FileSystemWriter(folder, thread_count=self._threads, sync_files=fsync, _extensions=self._extensions)
        writer.fs = self._fs or writer.fs
        dcp.save(state, storage_writer=writer)

    def load(self, targets: State, folder: Path, planner: LoadPlanner | None = None) -> None:
        reader = FileSystemReader(folder)
        reader.fs = self._fs or reader.fs
        dcp.load(targets, storage_reader=reader, planner=planner)


class Dcpx:
    """dcpx with its defaults but for `pack`; `fs` is the store, None local files."""

    def __init__(self, pack: dcpx.Pack, fs: FileSystem | None = None) -> None:
        self._pack = pack
        self._fs = fs

    def save(self, state: State, folder: Path, fsync: bool) -> None:
        if self._fs is None:
            dcpx.save(state, folder, pack=self._pack, sync=fsync)
            return
        writer = dcpx.Writer(folder, pack=self._pack, sync_files=fsync)
        writer.fs = self._fs
        dcp.save(state, storage_writer=writer)

    def load(self, targets: State, folder: Path, planner: LoadPlanner | None = None) -> None:
        if self._fs is None:
            dcpx.load(targets, folder, planner=planner)
            return
        reader = dcpx.Reader(folder)
        reader.fs = self._fs
        dcp.load(targets, storage_reader=reader, planner=planner)


class _Safetensors:
    def save(self, state: State, folder: Path, fsync: bool) -> None:
        folder.mkdir()
        save_file(state, folder / "state.safetensors")
        if fsync:
            sync(folder)

    def load(self, targets: State, folder: Path) -> None:
        _copy(load_file(folder / "state.safetensors"), targets)


class _TorchSave:
    def save(self, state: State, folder: Path, fsync: bool) -> None:
        folder.mkdir()
        torch.save(state, folder / "state.pt")
        if fsync:
            sync(folder)

    def load(self, targets: State, folder: Path) -> None:
        _copy(torch.load(folder / "state.pt", weights_only=True), targets)


class _Orbax:
    """Orbax with its defaults (tensorstore, OCDBT) on the tensors' memory as NumPy arrays."""

    def __init__(self) -> None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self._bfloat16 = importlib.import_module("ml_dtypes").bfloat16
        self._checkpointer = importlib.import_module("orbax.checkpoint").PyTreeCheckpointer()

    def save(self, state: State, folder: Path, fsync: bool) -> None:
        self._checkpointer.save(folder, {name: self._array(tensor) for name, tensor in state.items()})
        if fsync:
            sync(folder)

    def load(self, targets: State, folder: Path) -> None:
        loaded = self._checkpointer.restore(folder)
        for name, target in targets.items():
            self._array(target)[...] = loaded[name]

    def _array(self, tensor: torch.Tensor) -> Any:
        if tensor.dtype == torch.bfloat16:  # which NumPy doesn't know
            return tensor.view(torch.int16).numpy().view(self._bfloat16)
        return tensor.numpy()


def through_dcp(fs: FileSystem | None = None) -> dict[str, Maker]:
    """How to make stock DCP and dcpx, by the names that the tables give them."""
    return {
        "DCP plain, 1 thread": partial(Stock, 1, fs=fs),
        "DCP plain, 2 threads": partial(Stock, 2, fs=fs),
        "DCP ZStandard, 1 thread": partial(Stock, 1, zstd=True, fs=fs),
        "DCP ZStandard, 2 threads": partial(Stock, 2, zstd=True, fs=fs),
        "dcpx": partial(Dcpx, dcpx.Pack(), fs),
    }


def other_packs() -> dict[str, Maker]:
    """How to make dcpx with other levels than its default."""
    return {"dcpx small": partial(Dcpx, dcpx.Pack(level="small")), "dcpx raw": partial(Dcpx, dcpx.Pack("raw"))}


def peers() -> dict[str, Maker]:
    """How to make what is no DCP, by name and version; a peer that isn't installed raises ImportError."""
    makers: dict[str, tuple[str, Maker]] = {
        "safetensors": ("safetensors", _Safetensors),
        "torch.save": ("torch", _TorchSave),
        "orbax": ("orbax-checkpoint", _Orbax),
    }
    return {f"{name} {_version(package)}".strip(): make for name, (package, make) in makers.items()}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _copy(loaded: Mapping[str, torch.Tensor], targets: State) -> None:
    for name, target in targets.items():
        target.copy_(loaded[name])
