"""`dcpx.async_save`: a save that goes on beside the training, once the state was copied."""

from __future__ import annotations

import logging
import os
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import Any, Literal

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlanner

from .api import beside_training, check_state, is_alone, raising, save, unfolded
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
        try:
            found = self._future.exception(timeout)
        except FutureTimeoutError:  # which is a class of its own before Python 3.11
            raise TimeoutError(f"the save to {self.path} isn't done after {timeout} s") from None
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
    initialized process group, lives as long as this one, and imports the script, whose work must stand under
    `if __name__ == "__main__":`. `threads` encode besides the one that saves, none by
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
    distributed = not is_alone(process_group, no_dist=no_dist)
    check_state(state_dict)
    if mode == "process" and not distributed:
        raise ValueError("mode='process' needs a process group: call torch.distributed.init_process_group first")
    if mode == "process" and str(path).lower().startswith("memory:"):
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
    with _turn_of(busy):
        _wait_for_last(busy)
        handle = SaveHandle(shown_path(path))
        group = _own_group(process_group) if distributed else None
        copied = _copied(state_dict, _stagers[mode])
        # What a signal's handler, or a state_dict(), has begun meanwhile is waited for as well.
        _wait_for_last("wait")
        common: dict[str, Any] = {
            "planner": planner,
            "process_group": group,
            "no_dist": no_dist,
            "use_collectives": use_collectives,
        }
        ranks = dist.get_world_size(group) if distributed and use_collectives else 1
        if mode == "process":
            writer.ranks = ranks
            with raising(SaveError, alone=False):
                chosen = common | {"planner": planner or OwnSavePlanner()}
                # Handed over here: an interpreter that ends takes no more work, but waits for what it has.
                begun = save_in_process(copied, checkpoint_id=None, storage_writer=writer, **chosen)

        def in_process() -> Metadata:
            with raising(SaveError, alone=False), _guarded():
                found: Metadata = begun.result()
            return found

        def in_thread() -> Metadata:
            if distributed and not dist.is_initialized():
                raise SaveError(_GONE, Where(handle.path), "Destroy it once the save's result() is there")
            return save(copied, path, sync=sync, **options, **common)

        _begin(handle, in_process if mode == "process" else in_thread, ranks)
        return handle


_GONE = "the process group was destroyed before the save had begun"

_turn = threading.RLock()
"""Held while a save is begun. A signal's handler may begin one within another's beginning."""

_last: SaveHandle | None = None
_stagers = {"thread": Stager(shared=False), "process": Stager(shared=True)}
_group: tuple[Callable[[], object], Callable[[], Any]] | None = None
"""The training's group and the saves' own, neither of which this keeps alive: torch destroys them."""


def _forget_parents() -> None:
    # A forked child has none of the threads, and perhaps a lock that nobody will release.
    global _last, _turn, _group
    _last, _turn, _group = None, threading.RLock(), None
    _stagers.update(thread=Stager(shared=False), process=Stager(shared=True))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


@contextmanager
def _turn_of(busy: str) -> Iterator[None]:
    """No other thread begins a save meanwhile. SaveError with `busy="refuse"` where one is doing so."""
    turn = _turn
    if not turn.acquire(blocking=busy != "refuse"):
        raise SaveError("another thread is beginning a save", remedy=_WAIT)
    try:
        yield
    finally:
        turn.release()


_WAIT = "Wait for its result(), or pass busy='wait'"


def _wait_for_last(busy: str) -> None:
    """Wait until no save is under way, and raise the error of the last one unless somebody has been told."""
    global _last
    while (last := _last) is not None:
        if busy == "refuse" and not last.done():
            raise SaveError("the save before is still under way", Where(last.path), _WAIT)
        error = last._future.exception()  # which waits, while a signal's handler may begin another
        if _last is last:
            _last = None
        if error is not None and not last._told:
            last._told = True
            raise error


@contextmanager
def _guarded() -> Iterator[None]:
    """SaveError that says why DCP's process can't have begun, where it died."""
    try:
        yield
    except RuntimeError as error:
        if "process is dead" not in str(error):
            raise
        remedy = "Put the script's work under if __name__ == '__main__': that process imports it; or see its own output"
        raise SaveError(f"DCP's process for saving has died: {error}", remedy=remedy) from error


def _begin(handle: SaveHandle, work: Callable[[], Metadata], ranks: int) -> None:
    global _last

    def run(works: list[Callable[[], Metadata]]) -> None:
        beside_training.set(ranks)  # in this thread alone
        try:
            handle._future.set_result(works.pop()())
        except BaseException as error:  # noqa: BLE001 (raised by result)
            _log.error("the save to %s in the background has failed: %s", handle.path, error)
            _let_go(error)
            handle._future.set_exception(error)

    # No daemon: the interpreter waits for its end.
    handle._thread = threading.Thread(target=run, args=([work],), name="dcpx-save", daemon=False)
    _last = handle
    handle._thread.start()


class _BackgroundError(Exception):
    """Where an error of another thread comes from, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _let_go(error: BaseException) -> None:
    """Put the text of an error's traceback in its place, and in that of its causes': a traceback holds the functions
    that it came through, these the copy of the state, and whoever keeps the error would keep it."""
    text = "".join(traceback.format_exception(error))
    seen: dict[int, BaseException] = {}
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one
        one.__traceback__ = None
        pending += [one.__context__, one.__cause__]
        if isinstance(one, CheckpointException):
            pending += [failure[0] for failure in one.failures.values()]
    last = error
    while last.__cause__ is not None:
        last = last.__cause__
    last.__cause__ = _BackgroundError(text)


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
