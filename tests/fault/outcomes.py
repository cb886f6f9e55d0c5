"""What a save leaves behind when its process is killed, or the power fails, at every point there is.

Each function yields the path after each of these, for `checkpoints.found` to say what is there: `old` and `new` are
whole. `place` is an empty directory, `old` is a checkpoint of the same writer to be overwritten, None for a first save.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from tests.fault.checkpoints import Case, attempt, fresh
from tests.fault.fork_server import ForkServer
from tests.fault.power_loss import Disk
from tests.fault.shim import Fault, read_log

__all__ = ["CHANGING", "each_kill", "each_power_loss", "each_power_loss_after_a_kill"]

_EVERY = 1 if "DCPX_STRESS" in os.environ else 2
"""By default every other one of the states is tried in which a power loss may leave the disk, with `make soak` each."""

CHANGING = ("open", "write", "fsync", "rename", "unlink", "mkdir", "truncate", "close", "link")
"""The calls that may change a disk, or what it will be after a power loss."""


def each_kill(
    server: ForkServer,
    place: Path,
    old: Path | None,
    case: Case,
    action: str = "kill",
    kinds: tuple[str, ...] = CHANGING,
) -> Iterator[Path]:
    """Kill the save of `case`, by `action`, at every call of `kinds`, one after another."""
    for number in count(1):
        path = fresh(place, old)
        ended = server.end_of(attempt, path, replace(case, fault=Fault(action, kinds, number)))
        if not ended.signal:
            assert ended.value.error is None
            return
        yield path


def each_power_loss(server: ForkServer, place: Path, old: Path | None, case: Case) -> Iterator[tuple[Path, bool]]:
    """Cut the power before every call of the save of `case`, and after the last, and let the disk hold whatever it may
    then, each once, or some of that (_EVERY). Yields also whether the save had returned."""
    path, log = fresh(place, old), _empty(place / "log")
    disk = Disk.of(path.parent)
    assert server.call(attempt, path, replace(case, log=log)).error is None
    calls = read_log(log)
    after = Disk.of(path.parent).image()
    seen: set[Content] = set()
    for call in calls:
        yield from ((path, False) for _ in _restored(disk, path.parent, seen))
        disk.apply(call)
    assert disk.image() == after, "the log doesn't say all that was done"
    yield from ((path, True) for _ in _restored(disk, path.parent, set()))


def each_power_loss_after_a_kill(server: ForkServer, place: Path, old: Path | None, case: Case) -> Iterator[Path]:
    """Kill the save of `case` before every call, save once more, and cut the power when that has returned."""
    for number in count(1):
        path, log = fresh(place, old), _empty(place / "log")
        disk = Disk.of(path.parent)
        killed = replace(case, log=log, fault=Fault("kill", CHANGING, number))
        if not server.end_of(attempt, path, killed).signal:
            return
        assert server.call(attempt, path, replace(case, log=log)).error is None
        for call in read_log(log):
            disk.apply(call)
        yield from (path for _ in _restored(disk, path.parent, set()))


def _empty(log: Path) -> Path:
    log.write_bytes(b"")
    return log


Content = frozenset[tuple[str, bytes]]


def _restored(disk: Disk, root: Path, seen: set[Content]) -> Iterator[None]:
    """Make `root` what it may be after a power loss, in every way that isn't in `seen`."""
    for image in disk.images_after_power_loss():
        content = frozenset(image.items())
        if content in seen:
            continue
        seen.add(content)
        if len(seen) % _EVERY != 1 % _EVERY:
            continue
        shutil.rmtree(root)
        root.mkdir()
        for path, data in image.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(data)
        yield
