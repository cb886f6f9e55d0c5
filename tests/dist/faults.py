"""Ways in which one rank of a save fails, one for each step that the save takes there."""

from __future__ import annotations

import errno
import functools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from torch.distributed.checkpoint import DefaultSavePlanner

import dcpx
from dcpx.saving import writer
from dcpx.store.contract import ObjectWriter
from dcpx.store.local import LocalStore

__all__ = ["FAULTS", "Fault", "killed_while_writing"]


class Fault(NamedTuple):
    """What fails, while `applied(directory)` is entered in one process, with an error that contains `says`.

    `only_coordinator`: no other rank takes this step. `noticed_by`: the rank that reports it, where that isn't the
    failing one. `committed`: it comes too late to undo the save. `pack` is what stores the items.
    """

    applied: Callable[[Path], AbstractContextManager[object]]
    says: str
    only_coordinator: bool = False
    noticed_by: int | None = None
    committed: bool = False
    pack: Callable[[], dcpx.StreamTransformExtension] = dcpx.Pack


def _call(owner: object, name: str, error: type[Exception] = RuntimeError) -> Fault:
    """Calls of a function raise."""
    text = f"{name} failed"

    def applied(directory: Path) -> AbstractContextManager[object]:
        @functools.wraps(getattr(owner, name))  # DCP looks at the parameters
        def fail(*args: Any, **kwargs: Any) -> None:
            raise error(errno.EIO, text) if error is OSError else error(text)

        return mock.patch.object(owner, name, fail)

    return Fault(applied, text)


def _opening(suffix: str) -> Fault:
    """Files of such names can't be opened for writing."""

    @contextmanager
    def applied(directory: Path) -> Iterator[None]:
        stock = LocalStore.create

        def create(self: LocalStore, name: str, **options: bool) -> ObjectWriter:
            if name.endswith(suffix):
                raise OSError(errno.EIO, "no such file today")
            return stock(self, name, **options)

        with mock.patch.object(LocalStore, "create", create):
            yield

    return Fault(applied, "no such file today")


def _system_call(call: str, suffix: str, number: int = 1) -> Fault:
    """From the `number`-th on, such calls fail for files of such names, or for the directory if `suffix` is empty."""

    @contextmanager
    def applied(directory: Path) -> Iterator[None]:
        stock, count = getattr(os, call), 0

        def function(descriptor: int, *rest: Any) -> Any:
            nonlocal count
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if name.endswith(suffix) if suffix else name == str(directory):
                count += 1
                if count >= number:
                    raise OSError(errno.EIO, f"{call} failed")
            return stock(descriptor, *rest)

        with mock.patch.object(os, call, function):
            yield

    return Fault(applied, f"{call} failed")


def _afterwards(change: Callable[[Path], None], says: str) -> Fault:
    """Once the rank has written its data files, something happens to them."""

    @contextmanager
    def applied(directory: Path) -> Iterator[None]:
        stock = dcpx.Writer.write_data

        def write_data(self: dcpx.Writer, plan: Any, planner: Any) -> Any:
            future = stock(self, plan, planner)
            for file in future.value().files:
                change(directory / file.name)
            return future

        with mock.patch.object(dcpx.Writer, "write_data", write_data):
            yield

    return Fault(applied, says, noticed_by=0)


@contextmanager
def _answer_lost(directory: Path) -> Iterator[None]:
    """The move takes place, but is reported to have failed, as over a network."""
    stock = LocalStore.move

    def move(self: LocalStore, temporary: str, name: str, *, replace: bool) -> None:
        stock(self, temporary, name, replace=replace)
        raise OSError(errno.EIO, "no answer")

    with mock.patch.object(LocalStore, "move", move):
        yield


@contextmanager
def killed_while_writing() -> Iterator[None]:
    """The process dies as soon as some of a data file is written."""
    stock, parts = os.writev, 0

    def writev(descriptor: int, buffers: Any) -> int:
        nonlocal parts
        parts += os.readlink(f"/proc/self/fd/{descriptor}").endswith(".distcp")
        if parts == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return stock(descriptor, buffers)

    with mock.patch.object(os, "writev", writev):
        yield


def _on_coordinator(fault: Fault, **more: Any) -> Fault:
    return fault._replace(only_coordinator=True, **more)


FAULTS: dict[str, Fault] = {
    # planning
    "planner.set_up_planner": _call(DefaultSavePlanner, "set_up_planner"),
    "planner.create_local_plan": _call(DefaultSavePlanner, "create_local_plan"),
    "mkdir": _call(LocalStore, "make", OSError),
    "looking for a checkpoint": _call(writer, "check_free", OSError),
    "planner.create_global_plan": _on_coordinator(_call(DefaultSavePlanner, "create_global_plan")),
    "opening the owner's file": _on_coordinator(_opening(".saving")),
    "writing the owner's file": _on_coordinator(_system_call("writev", ".saving")),
    # writing
    "planner.finish_plan": _call(DefaultSavePlanner, "finish_plan", ValueError),
    "planner.resolve_data": _call(DefaultSavePlanner, "resolve_data", TypeError),
    "Pack's choice": _call(dcpx.Pack, "choose", KeyError),
    "an extension": _call(dcpx.ZStandard, "transform_to")._replace(pack=dcpx.ZStandard),
    "opening a data file": _opening(".distcp"),
    "writing a data file": _system_call("writev", ".distcp"),
    "writing a data file of an extension": _system_call("writev", ".distcp")._replace(pack=dcpx.ZStandard),
    "fsync of a data file": _system_call("fsync", ".distcp"),
    "fsync of the directory after the data": _system_call("fsync", ""),
    # committing
    "a data file vanishes": _afterwards(Path.unlink, "isn't there"),
    "a data file shrinks": _afterwards(lambda path: os.truncate(path, path.stat().st_size - 1), "bytes were written"),
    "a data file grows": _afterwards(lambda path: os.truncate(path, path.stat().st_size + 1), "bytes were written"),
    "opening the manifest": _on_coordinator(_opening(".manifest.json")),
    "writing the manifest": _on_coordinator(_system_call("writev", ".manifest.json")),
    "fsync of the manifest": _on_coordinator(_system_call("fsync", ".manifest.json")),
    "fsync of the directory after the manifest": _on_coordinator(_system_call("fsync", "", 2)),
    "opening the new pointer": _on_coordinator(_opening(".metadata.tmp")),
    "writing the new pointer": _on_coordinator(_system_call("writev", ".metadata.tmp")),
    "fsync of the new pointer": _on_coordinator(_system_call("fsync", ".metadata.tmp")),
    "the move": _on_coordinator(_call(LocalStore, "move", OSError)),
    "the move's answer": _on_coordinator(Fault(_answer_lost, "the new checkpoint may be in place"), committed=True),
    "fsync of the directory after the move": _on_coordinator(
        _system_call("fsync", "", 3), committed=True, says="the new checkpoint is in place"
    ),
}
