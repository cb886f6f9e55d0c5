"""What stands in for stock DCP's writers and readers: dcpx's, with the arguments and the manners of stock's."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from ..dcp.stock import FsspecReader, FsspecWriter
from ..dcp.store import Storage
from ..extension import StreamTransformExtension
from ..extensions.pack import Pack
from ..loading.reader import Reader
from ..pickles.trust import SafeGlobal
from ..saving.writer import Writer
from ..store.address import is_address

__all__ = ["Choices", "InstalledReader", "InstalledWriter", "fsspec_reader", "fsspec_writer", "is_replaceable"]


@dataclass(frozen=True)
class Choices:
    """What `install` was told, for the writers and readers that are made while it holds."""

    pack: StreamTransformExtension | None = field(default_factory=Pack)
    names: Literal["dcpx", "stock"] = "dcpx"
    threads: int | None = None
    strict: bool = True
    safe_globals: tuple[SafeGlobal, ...] = ()
    trust: bool = False


_writer = inspect.signature(FileSystemWriter.__init__)


def is_replaceable(kind: type, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether a stock writer or reader with these arguments writes or reads what dcpx does as well: no extensions or
    registry of somebody's choice, and torch's own serialization, not safetensors."""
    names = list(inspect.signature(kind.__init__).parameters)[1:]  # type: ignore[misc]
    options = {**dict(zip(names, arguments, strict=False)), **options}
    form = options.get("serialization_format")
    return (
        options.get("_extensions") is None
        and options.get("_extension_registry") is None
        and (form is None or form.name == "TORCH_SAVE")
    )


class InstalledWriter(Writer):
    """`Writer` with the arguments of stock's FileSystemWriter. A checkpoint that is there is replaced, as stock does it
    by default, but at one moment. How many threads there are and what is copied ahead is dcpx's own affair."""

    choices = Choices()

    def __init__(self, *arguments: Any, _storage: Storage | None = None, **options: Any) -> None:
        given = _writer.bind(self, *arguments, **options)
        given.apply_defaults()
        chosen = self.choices
        super().__init__(
            given.arguments["path"],
            pack=chosen.pack,
            threads=chosen.threads,
            single_file_per_rank=given.arguments["single_file_per_rank"] or chosen.names == "stock",
            sync_files=given.arguments["sync_files"],
            cache_staged_state_dict=given.arguments["cache_staged_state_dict"],
            overwrite=given.arguments["overwrite"],
            strict=chosen.strict and not chosen.trust,
            safe_globals=chosen.safe_globals,
            names=chosen.names,
            storage_options=_storage or _storage_for({}),
        )

    def begun_beside_training(self, process_group: Any, *, alone: bool) -> None:
        """The save goes on in the background: the cores are left to the training, and the ranks that began it must all
        be there when it is gone through."""
        self.threads = 0 if self.threads is None else self.threads
        if not alone and dist.is_available() and dist.is_initialized():
            self.ranks = dist.get_world_size(process_group)


class InstalledFsspecWriter(InstalledWriter):
    """The same in the place of an FsspecWriter, and one for whoever asks."""


class InstalledReader(Reader):
    """`Reader` with the arguments of stock's FileSystemReader."""

    choices = Choices()

    def __init__(self, path: Any, _extension_registry: None = None, *, _storage: Storage | None = None) -> None:
        chosen = self.choices
        super().__init__(
            path,
            threads=chosen.threads,
            safe_globals=chosen.safe_globals,
            trust=chosen.trust,
            storage_options=_storage or _storage_for({}),
        )


class InstalledFsspecReader(InstalledReader):
    """The same in the place of an FsspecReader, and one for whoever asks."""


FsspecWriter.register(InstalledFsspecWriter)
FsspecReader.register(InstalledFsspecReader)


def fsspec_writer(path: Any, *arguments: Any, **options: Any) -> InstalledFsspecWriter:
    """In the place of an FsspecWriter."""
    own = {name: value for name, value in options.items() if name in _writer.parameters}
    others = {name: value for name, value in options.items() if name not in own}
    return InstalledFsspecWriter(path, *arguments, **own, _storage=_storage_for(others if is_address(path) else {}))


def fsspec_reader(path: Any, **options: Any) -> InstalledFsspecReader:
    """In the place of an FsspecReader."""
    return InstalledFsspecReader(path, _storage=_storage_for(options if is_address(path) else {}))


def _storage_for(options: dict[str, Any]) -> Storage:
    """Whatever is told about a file system goes to fsspec, and so does all where there is nothing better."""
    return Storage(options or None, through_fsspec=bool(options) or find_spec("obstore") is None)
