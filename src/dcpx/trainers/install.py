"""`install`: what asks DCP for its own writer or reader gets dcpx's.

    FileSystemWriter(...), FileSystemReader(...)    however they were imported, and only `checkpoint_id=` given
    FsspecWriter(...), FsspecReader(...)            likewise
    async_save in a thread or another process       its writer is made here, where this holds, and leaves the cores
                                                    to the training
    stock readers and subclasses of them            know dcpx's extensions, and so read what dcpx wrote

What somebody derived from these classes, what writes safetensors, and what was given extensions or a registry stays as
it is.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal

from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter

from ..dcp.stock import FsspecReader, FsspecWriter, ProcessExecutor, StockRegistry, ThreadExecutor, storage_setup
from ..extension import StreamTransformExtension
from ..extensions.chain import Chain
from ..extensions.pack import Pack
from ..pickles.trust import SafeGlobal
from ..store.address import is_address
from .stand_ins import Choices, InstalledReader, InstalledWriter, fsspec_reader, fsspec_writer, is_replaceable

__all__ = ["Installed", "install", "uninstall"]

_log = logging.getLogger("dcpx")


class Installed:
    """What `install` returns: as a context manager it ends with the block, and what held before holds again."""

    def __init__(self, choices: Choices, before: Choices | None) -> None:
        self._choices = choices
        self._before = before

    def __enter__(self) -> Installed:
        if _held is not self._choices:  # entered again, or after another
            self._before = _held
            _hold(self._choices)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _hold(self._before)


def install(
    *,
    pack: StreamTransformExtension | None = Pack(),  # noqa: B008 (immutable)
    names: Literal["dcpx", "stock"] = "dcpx",
    threads: int | None = None,
    strict: bool = True,
    safe_globals: Sequence[SafeGlobal] = (),
    trust: bool = False,
) -> Installed:
    """From now on DCP writes with dcpx's Writer and reads with dcpx's Reader wherever a call leaves the choice to DCP
    or names stock DCP's own classes; in this process, until `uninstall` or the end of a `with` block of what this
    returns.

    Stock's manners are kept: a checkpoint that is there is replaced, at one moment; other files in the directory stay.
    `pack` and `threads` are those of `save`. An object that a load would refuse is refused when it is saved, unless
    `strict=False`: `safe_globals` allows more of them, in both directions, and `trust=True` all, which runs what a
    checkpoint says. `names="stock"` gives the data files stock DCP's own names, for trainers that look for
    `__0_0.distcp`: then a save to a path that has a checkpoint writes over its files, and if it fails neither is left.
    ValueError for wrong arguments.
    """
    if names not in ("dcpx", "stock"):
        raise ValueError(f"names must be 'dcpx' or 'stock', not {names!r}")
    choices, before = Choices(pack, names, threads, strict, tuple(safe_globals), trust), _held
    _hold(choices)
    return Installed(choices, before)


def uninstall() -> None:
    """DCP's own classes are what they were; what was made meanwhile stays."""
    _hold(None)


_held: Choices | None = None
_said = False
_lock = threading.Lock()


def _hold(choices: Choices | None) -> None:
    """Let what DCP makes be made by these choices, or by stock DCP."""
    global _held, _said
    with _lock:
        _held = choices
        if choices is not None:
            InstalledWriter.choices = InstalledReader.choices = choices
            _connect()
            if not _said:
                _said = True
                _log.info(
                    "dcpx stands in for DCP's FileSystemWriter, FileSystemReader, FsspecWriter and FsspecReader, and "
                    "stock readers know its extensions"
                )


_connected = False


def _connect() -> None:
    """Put this module's functions where DCP asks; they do what was there before where nothing is held. They stay: a
    class that had a `__new__` can't be given back the lack of one."""
    global _connected
    if _connected:
        return
    _connected = True
    for kind, make in _MAKERS.items():
        kind.__new__ = _new(kind, make)
    patched: Any = StockRegistry
    patched.__init__ = _knowing(patched.__init__)
    for kind in (FsspecWriter, FsspecReader):
        patched = kind
        patched.validate_checkpoint_id = _takes_addresses(patched.validate_checkpoint_id)
    for kind in (ThreadExecutor, ProcessExecutor):
        patched = kind
        patched.execute_save = _with_writer(patched.execute_save)


def _stand_in(kind: type[Any]) -> Callable[..., Any]:
    # An instance of `kind`, whose __init__ Python calls next.
    return lambda *arguments, **options: object.__new__(kind)


_MAKERS: dict[type[Any], Callable[..., Any]] = {
    FileSystemWriter: _stand_in(InstalledWriter),
    FileSystemReader: _stand_in(InstalledReader),
    FsspecWriter: fsspec_writer,
    FsspecReader: fsspec_reader,
}


def _new(kind: type[Any], make: Callable[..., Any]) -> Callable[..., Any]:
    def new(cls: type[Any], *arguments: Any, **options: Any) -> Any:
        if cls is kind and _held is not None and is_replaceable(kind, arguments, options):
            return make(*arguments, **options)
        return object.__new__(cls)

    # Who looks for an argument by name finds stock's, also after `uninstall`.
    new.__signature__ = inspect.signature(kind.__init__)  # type: ignore[attr-defined]
    return new


def _knowing(init: Callable[[Any], None]) -> Callable[[Any], None]:
    def __init__(self: Any) -> None:  # noqa: N807
        init(self)
        if _held is not None:
            for extension in (Pack, Chain):
                self.extensions.setdefault(extension.registry_name(), extension)

    return __init__


def _takes_addresses(validate: Callable[[Any], bool]) -> Any:
    def validate_checkpoint_id(checkpoint_id: Any) -> bool:
        # fsspec may lack the package for a store that dcpx reaches without it.
        return (_held is not None and is_address(checkpoint_id)) or validate(checkpoint_id)

    return staticmethod(validate_checkpoint_id)


def _with_writer(execute: Callable[..., Any]) -> Callable[..., Any]:
    def execute_save(
        self: Any, staged: Any, *, checkpoint_id: Any = None, storage_writer: Any = None, **more: Any
    ) -> Any:
        if _held is not None and storage_writer is None and checkpoint_id is not None:
            storage_writer = storage_setup(None, checkpoint_id, reader=False)
            if isinstance(storage_writer, InstalledWriter):
                alone = more.get("no_dist", False) or not more.get("use_collectives", True)
                storage_writer.begun_beside_training(more.get("process_group"), alone=alone)
        return execute(self, staged, checkpoint_id=checkpoint_id, storage_writer=storage_writer, **more)

    return execute_save
