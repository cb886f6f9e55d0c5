"""The private parts of stock DCP that `dcpx.install` takes hold of."""

from __future__ import annotations

from torch.distributed.checkpoint import (
    _async_process_executor,
    _async_thread_executor,
    _extension,
    _fsspec_filesystem,
    _storage_utils,
)

__all__ = ["FsspecReader", "FsspecWriter", "ProcessExecutor", "StockRegistry", "ThreadExecutor", "storage_setup"]

FsspecWriter = _fsspec_filesystem.FsspecWriter
FsspecReader = _fsspec_filesystem.FsspecReader
ProcessExecutor = _async_process_executor._ProcessBasedAsyncCheckpointExecutor
ThreadExecutor = _async_thread_executor._ThreadBasedAsyncCheckpointExecutor
StockRegistry = _extension.ExtensionRegistry
storage_setup = _storage_utils._storage_setup
