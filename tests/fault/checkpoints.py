"""The checkpoints that faults are tried on, how they are saved by dcpx and by stock DCP, and which of them is there."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from tests.fault.shim import Calls, Fault, armed
from tests.support.leaks import nothing_left
from tests.support.tensors import blank, weights
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.api import CheckpointException

import dcpx

__all__ = [
    "STATES",
    "Attempt",
    "Case",
    "attempt",
    "attempt_load",
    "every_attempt",
    "every_load",
    "found",
    "fresh",
    "memory",
    "names",
    "save_again",
    "save_old",
    "warm_up",
]


def _state(seed: int) -> dict[str, Any]:
    """Of one layout, so that parts of two could be mixed; large enough for several writes."""
    tensors = {f"small {number}": weights(torch.float32, (40, 50), 10 * seed + number) for number in range(3)}
    return tensors | {"large": weights(torch.float32, (720, 720), 10 * seed + 9), "object": ["saved", seed]}


STATES = {"old": _state(1), "new": _state(2), "later": _state(3)}


def _save_stock(state: dict[str, Any], path: Path, overwrite: bool, sync: bool, threads: int) -> None:
    writer = FileSystemWriter(path, overwrite=overwrite, sync_files=sync, thread_count=threads)
    dcp.save(state, storage_writer=writer, no_dist=True)


def _save_plain(state: dict[str, Any], path: Path, overwrite: bool, sync: bool, threads: int) -> None:
    dcpx.save(state, path, pack=None, overwrite=overwrite, sync=sync, threads=threads)


def _save_dcpx(state: dict[str, Any], path: Path, overwrite: bool, sync: bool, threads: int) -> None:
    dcpx.save(state, path, overwrite=overwrite, sync=sync, threads=threads)


def _load_stock(state: dict[str, Any], path: Path) -> None:
    dcp.load(state, storage_reader=FileSystemReader(path), no_dist=True)


def _load_dcpx(state: dict[str, Any], path: Path) -> None:
    dcpx.load(state, path, threads=1)


# Plain items, as those of a stream extension, go to a file for each thread, and have no checksums.
_SAVES: dict[str, Callable[..., None]] = {"dcpx": _save_dcpx, "dcpx, plain": _save_plain, "stock": _save_stock}
_LOADS: dict[str, Callable[..., None]] = {"dcpx": _load_dcpx, "dcpx, plain": _load_dcpx, "stock": _load_stock}


@dataclass(frozen=True)
class Case:
    """How the state `new` is saved, or a checkpoint loaded."""

    threads: int = 1
    overwrite: bool = True
    sync: bool = True
    writer: str = "dcpx"
    fault: Fault | None = None
    log: Path | None = None

    def at(self, number: int) -> Case:
        """The same, with the fault at another call."""
        assert self.fault is not None
        return replace(self, fault=replace(self.fault, number=number))


@dataclass(frozen=True)
class Attempt:
    """How a save ended whose process lived on: `names` are the directory's afterwards."""

    error: BaseException | None
    warnings: list[str]
    calls: Calls
    found: str
    names: list[str]


def attempt(path: Path, case: Case) -> Attempt:
    """Save as `case` says, with its fault; calls below the parent of `path` count."""
    raised: BaseException | None = None
    with warnings.catch_warnings(record=True) as told, nothing_left():
        warnings.simplefilter("always")
        with armed(path.parent, case.fault, case.log) as calls:
            try:
                _SAVES[case.writer](STATES["new"], path, case.overwrite, case.sync, case.threads)
            except (Exception, CheckpointException) as error:  # noqa: BLE001 (for the test to judge)
                raised = error if isinstance(error, dcpx.DcpxError) else RuntimeError(repr(error))
    texts = [str(warning.message) for warning in told]
    return Attempt(raised, texts, calls, found(path, case.writer), names(path))


def every_attempt(place: Path, old: Path | None, case: Case) -> list[Attempt]:
    """Every save that meets the case's fault, at its first call, its second and so on, over a copy of `old` each time.

    As in a training loop one process goes on, and saves over whatever a failure has left.
    """
    attempts = []
    for number in count(1):
        path = fresh(place, old)
        attempted = attempt(path, case.at(number))
        if not attempted.calls.hits:
            assert attempted.found == "new", attempted
            break
        assert save_again(path, case.writer) == "later", attempted
        attempts.append(attempted)
    return attempts


def every_load(path: Path, case: Case) -> list[Attempt]:
    """Every load that meets the case's fault, as `every_attempt`."""
    attempts = (attempt_load(path, case.at(number)) for number in count(1))
    return list(takewhile(lambda attempted: attempted.calls.hits, attempts))


def attempt_load(path: Path, case: Case) -> Attempt:
    """Load by dcpx as `case` says, with its fault."""
    raised: BaseException | None = None
    loaded = _blanks()
    with nothing_left(), armed(path.parent, case.fault) as calls:
        try:
            dcpx.load(loaded, path, threads=case.threads)
        except Exception as error:  # noqa: BLE001 (for the test to judge)
            raised = error
    return Attempt(raised, [], calls, _name_of(loaded), names(path))


def save_again(path: Path, writer: str = "dcpx") -> str:
    """Save the state `later` over whatever is there; returns what is found then."""
    _SAVES[writer](STATES["later"], path, True, False, 1)
    return found(path, writer)


def save_old(path: Path, writer: str = "dcpx", threads: int = 1) -> None:
    """Save the state `old`."""
    _SAVES[writer](STATES["old"], path, False, True, threads)


def found(path: Path, writer: str = "dcpx") -> str:
    """Which state is there, bit for bit: `old`, `new`, `later`; `none` without `.metadata`, or `lost` and the state if
    all else of a checkpoint is there; or what is wrong."""
    if not (path / ".metadata").exists():
        return _found_lost(path) if writer != "stock" else "none"
    loaded = _blanks()
    try:
        _LOADS[writer](loaded, path)
    except (Exception, CheckpointException) as error:  # noqa: BLE001 (whatever it is, nothing was loaded)
        return f"damaged: {type(error).__name__}: {error}"
    return _name_of(loaded)


def _found_lost(path: Path) -> str:
    """`none`, or what is found once the pointer is restored, which is then taken away again."""
    try:
        dcpx.load(_blanks(), path)
    except dcpx.NotFoundError:
        return "none"
    except dcpx.LostPointerError:
        before = names(path)
        dcpx.restore_pointer(path)
        state = found(path)
        (path / ".metadata").unlink()
        assert {*names(path)} >= {name for name in before if not name.endswith(".saving")}
        return f"lost {state}"
    return "a load without a pointer"


def _blanks() -> dict[str, Any]:
    return {name: blank(value) if isinstance(value, torch.Tensor) else None for name, value in STATES["old"].items()}


def _name_of(loaded: dict[str, Any]) -> str:
    same = [name for name, state in STATES.items() if all(_same(loaded[item], state[item]) for item in state)]
    return same[0] if same else "mixed"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one.view(torch.int32), other.view(torch.int32))
    return bool(one == other)


def names(path: Path) -> list[str]:
    """The names in the directory, in order."""
    return sorted(file.name for file in path.iterdir()) if path.exists() else []


@contextmanager
def memory() -> Iterator[Path]:
    """An empty directory in memory, if there is such a place: fsync costs nothing there, and proves nothing anywhere
    as long as the power stays on."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="dcpx-fault-") as directory:
        yield Path(directory).resolve()


def fresh(directory: Path, before: Path | None) -> Path:
    """A path in `directory` to save to: nothing is there or, with `before`, a copy of that checkpoint."""
    shutil.rmtree(directory / "work", ignore_errors=True)
    path = directory / "work" / "checkpoint"
    path.parent.mkdir(parents=True)
    if before is not None:
        shutil.copytree(before, path)
    return path


def warm_up(directory: Path) -> None:
    """Do everything once, so that children find it loaded."""
    for writer in _SAVES:
        save_old(directory / writer, writer)
        attempt(directory / writer, Case(threads=2, writer=writer))
