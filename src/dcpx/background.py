"""`dcpx.async_save`: a save that goes on beside the training, once the state was copied."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Literal

import torch.distributed as dist
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlanner

from .api import beside_training, raising, save, unfolded
from .dcp.background import Stager, save_in_process
from .errors import SaveError, Where
from .extension import StreamTransformExtension
from .extensions.pack import Pack
from .parallel import DEFAULT_BUDGET
from .progress import OnProgress
from .saving.planner import OwnSavePlanner
from .saving.writer import Writer
from .store.address import StorageOptions, shown_path

__all__ = ["SaveHandle", "async_save"]

_log = logging.getLogger("dcpx")


class SaveHandle:
    """A save that goes on in the background."""

    def __init__(self, path: str) -> None:
        self.path = path
        """Where it saves to, as it may be shown."""
        self._future: Future[Metadata] = Future()
        self._told = False
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        state = "under way" if not self.done() else "failed" if self._future.exception() else "saved"
        return f"<SaveHandle of {self.path!r}, {state}>"

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> Metadata:
        """Wait until the checkpoint is there, and return DCP's metadata. SaveError, or another DcpxError that says
        more, if it can't be saved; TimeoutError after `timeout` seconds, and then it goes on."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self._future.result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until it has ended, and return its error; None if the checkpoint is there."""
        found = self._future.exception(timeout)
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do
        self._told = True
        return found


def async_save(
    state_dict: dict[str, Any],
    path: str | os.PathLike[str],
    *,
    mode: Literal["thread", "process"] = "thread",
    busy: Literal["wait", "refuse"] = "wait",
    threads: int | None = 0,
    process_group: dist.ProcessGroup | None = None,
    pack: StreamTransformExtension | None = Pack(),  # noqa: B008 (immutable)
    overwrite: bool = False,
    user: Mapping[str, Any] | None = None,
    strict: bool = False,
    sync: bool = True,
    budget: int = DEFAULT_BUDGET,
    progress: OnProgress | None = None,
    planner: SavePlanner | None = None,
    no_dist: bool = False,
    use_collectives: bool = True,
    storage_options: StorageOptions | None = None,
) -> SaveHandle:
    """Copy `state_dict` and return; save the copy in the background. Every rank calls it, as with `save`, of which the
    other arguments are.

    The copy is all that the caller waits for: once this has returned the state may change. It is saved in a thread, or
    with `mode="process"` in a process of DCP's, which takes nothing from the training's interpreter; that needs an
    initialized process group, and lives as long as this one. `threads` encode besides the one that saves, none by
    default, which leaves the cores to the training. One save is under way at a time: the next waits for it, or is
    refused with `busy="refuse"`.

    The ranks agree over a gloo group of their own, made with the first call, unless `process_group` names one: on the
    group that the training uses, both would take each other's messages.

    An error is raised by the handle's `result`, and where nobody asked for it, by the next call; it is logged besides.
    An interpreter that ends waits for the save. Destroying the process group before the save has ended makes it fail.
    Raises SaveError for what can't be copied and, with `busy="refuse"`, for a save that is under way; ValueError for
    wrong arguments.
    """
    if mode not in ("thread", "process") or busy not in ("wait", "refuse"):
        raise ValueError(f"mode must be 'thread' or 'process', busy 'wait' or 'refuse', not {mode!r} and {busy!r}")
    distributed = dist.is_available() and dist.is_initialized() and not no_dist
    if mode == "process" and not distributed:
        raise ValueError("mode='process' needs a process group: call torch.distributed.init_process_group first")
    if mode == "process" and str(path).startswith("memory:"):
        raise ValueError("what another process saves to memory:// is gone with it: save in a thread")
    options: dict[str, Any] = {
        "pack": pack,
        "overwrite": overwrite,
        "user": user,
        "strict": strict,
        "threads": threads,
        "budget": budget,
        "progress": progress,
        "storage_options": storage_options,
    }
    writer = Writer(path, sync_files=sync, **options)  # wrong arguments are the caller's to know, at once
    with _turn:
        _wait_for_last(busy)
        handle = SaveHandle(shown_path(path))
        group = _own_group(process_group) if distributed else None
        copied = _copied(state_dict, _stagers[mode])
        common: dict[str, Any] = {
            "planner": planner,
            "process_group": group,
            "no_dist": no_dist,
            "use_collectives": use_collectives,
        }

        def in_process() -> Metadata:
            with raising(SaveError, alone=not distributed):
                chosen = common | {"planner": planner or OwnSavePlanner()}
                found: Metadata = save_in_process(copied, checkpoint_id=None, storage_writer=writer, **chosen).result()
            return found

        def in_thread() -> Metadata:
            return save(copied, path, sync=sync, **options, **common)

        _begin(handle, in_process if mode == "process" else in_thread)
        return handle


_turn = threading.Lock()
_last: SaveHandle | None = None
_stagers = {"thread": Stager(shared=False), "process": Stager(shared=True)}
_group: tuple[Callable[[], object], Callable[[], Any]] | None = None
"""The training's group and the saves' own, neither of which this keeps alive: torch destroys them."""


def _wait_for_last(busy: str) -> None:
    """Wait until no save is under way, and raise the error of the last one unless somebody has been told."""
    global _last
    last = _last
    if last is None:
        return
    if busy == "refuse" and not last.done():
        remedy = "Wait for its result(), or pass busy='wait'"
        raise SaveError("the save before is still under way", Where(last.path), remedy)
    error = last._future.exception()  # which waits
    _last = None
    if error is not None and not last._told:
        raise error


def _begin(handle: SaveHandle, work: Callable[[], Metadata]) -> None:
    global _last

    def run() -> None:
        beside_training.set(True)  # in this thread alone
        try:
            handle._future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised by result)
            _log.error("the save to %s in the background has failed: %s", handle.path, error)
            handle._future.set_exception(error)

    # No daemon: the interpreter waits for its end.
    handle._thread = threading.Thread(target=run, name="dcpx-save", daemon=False)
    handle._thread.start()
    _last = handle


def _copied(state_dict: dict[str, Any], stager: Stager) -> dict[str, Any]:
    state = {name: unfolded(name, value) for name, value in state_dict.items()}
    try:
        return stager.copy(state)
    except Exception as error:
        for name, value in state.items():
            try:
                stager.copy({name: value})
            except Exception as cause:
                text = f"it can't be copied: {type(cause).__name__}: {cause}"
                raise SaveError(text, Where(item=str(name)), "Leave it out of the state") from cause
        raise SaveError(f"the state can't be copied: {type(error).__name__}: {error}") from error


def _own_group(process_group: dist.ProcessGroup | None) -> Any:
    """The group that was asked for, or one that all ranks have made for their saves."""
    global _group
    if process_group is not None:
        return process_group
    world = dist.group.WORLD
    found = _group[1]() if _group is not None and _group[0]() is world else None
    if found is None:
        found = dist.new_group(backend="gloo")
        _group = weakref.ref(world), weakref.ref(found)
    return found
