"""What happens when ...: stock DCP beside dcpx, each answer found by doing it.

`make faults` prints the table, and fails if dcpx doesn't answer as promised.

Everything that may crash, hang or take all memory runs in a child of its own.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing as mp
import os
import pickle
import random
import re
import resource
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from tests.fault.checkpoints import STATES, Case, found, fresh, save_old
from tests.fault.fork_server import ForkServer
from tests.fault.outcomes import each_kill, each_power_loss
from tests.fault.shim import Fault, armed, build_shim
from tests.support.extensions import Passing
from tests.support.tensors import bits, blank, weights
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint._extension import ZStandard as TorchZStandard
from torch.distributed.checkpoint.api import CheckpointException

import dcpx

__all__ = ["ROWS", "Place", "Row"]

Values = dict[str, Any]


class Place(NamedTuple):
    """Where a row may work: an empty directory, and a server of children under the shim."""

    directory: Path
    server: ForkServer


class Row(NamedTuple):
    """A question and what answers it for `stock` or `dcpx`; `promised` is what dcpx must answer, N being any number."""

    question: str
    answer: Callable[[str, Place], str]
    promised: str

    def keeps_promise(self, answer: str) -> bool:
        """Whether this answer is the promised one."""
        return re.sub(r"\d+", "N", answer) == re.sub(r"\d+", "N", self.promised) and answer.startswith(self.promised[0])


def state(step: int) -> Values:
    return {
        "a": weights(torch.float32, (60, 50), step),
        "b": weights(torch.float32, (60, 50), 10 + step),
        "object": ["saved at", step],
    }


def save(kind: str, values: Values, path: Path, extension: Any = None, threads: int = 1, overwrite: bool = False):
    if kind == "stock":
        extensions = [extension] if extension is not None else None
        writer: Any = FileSystemWriter(path, thread_count=threads, overwrite=overwrite, _extensions=extensions)
        dcp.save(values, storage_writer=writer, no_dist=True)
    else:
        dcpx.save(values, path, pack=extension or dcpx.Pack(), threads=threads, overwrite=overwrite)


def load(kind: str, path: Path, expected: Values) -> str:
    """`right`, `wrong`, or the name of the error."""
    values = {name: blank(value) if isinstance(value, torch.Tensor) else None for name, value in expected.items()}
    try:
        if kind == "stock":
            dcp.load(values, storage_reader=FileSystemReader(path), no_dist=True)
        else:
            dcpx.load(values, path)
    except (Exception, CheckpointException) as error:  # noqa: BLE001 (its name is the answer)
        return type(error).__name__
    same = all(
        bits(values[name]) == bits(value) if isinstance(value, torch.Tensor) else values[name] == value
        for name, value in expected.items()
    )
    return "right" if same else "wrong"


def in_child(function: Callable[..., Any], *arguments: Any, memory: int = 3 << 30) -> Any:
    """What `function` returns in a child that may take so much more memory; None if it dies or hangs."""
    context = mp.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run() -> None:
        most = memory + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        theirs.send(function(*arguments))

    process = context.Process(target=run)
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(120) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()


# --- damage -----------------------------------------------------------------------------------------------------------

FLIPS = 300


def data_file(path: Path) -> Path:
    return min(path.glob("*.distcp"))


def _loads_of_flips(kind: str, file: Path, path: Path) -> dict[str, int]:
    counted: dict[str, int] = {}
    chance, content = random.Random(1), file.read_bytes()
    for _ in range(FLIPS):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        outcome = in_child(load, kind, path, state(1)) or "crash"
        counted[outcome] = counted.get(outcome, 0) + 1
    file.write_bytes(content)
    return counted


def flipped_data(extension: Callable[[], Any]) -> Callable[[str, Place], str]:
    def answer(kind: str, place: Place) -> str:
        save(kind, state(1), place.directory / "c", extension() if kind == "stock" else None)
        counted = _loads_of_flips(kind, data_file(place.directory / "c"), place.directory / "c")
        return f"{counted.get('wrong', 0)} of {FLIPS} load wrong values, without a word"

    return answer


def flipped_metadata(kind: str, place: Place) -> str:
    save(kind, state(1), place.directory / "c")
    counted = _loads_of_flips(kind, place.directory / "c" / ".metadata", place.directory / "c")
    unnoticed = counted.get("wrong", 0) + counted.get("right", 0)
    crashed = f", {counted['crash']} crash" if "crash" in counted else ""
    return f"{unnoticed} of {FLIPS} go unnoticed{crashed}"


def swapped_items(kind: str, place: Place) -> str:
    path = place.directory / "c"
    save(kind, state(1), path)
    metadata = pickle.loads((path / ".metadata").read_bytes())
    one, other = (index for index in metadata.storage_data if index.fqn in ("a", "b"))
    stored = metadata.storage_data
    stored[one], stored[other] = stored[other], stored[one]
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    return _refused(load(kind, path, state(1)), "each loads as the other")


def older_data(kind: str, place: Place) -> str:
    for step in (1, 2):
        save(kind, state(step), place.directory / str(step))
    shutil.copy(data_file(place.directory / "1"), data_file(place.directory / "2"))
    return _refused(load(kind, place.directory / "2", state(2)), "the old values load")


def _refused(outcome: str, otherwise: str) -> str:
    return {"right": "loads", "wrong": otherwise}.get(outcome, "refused")


# --- failed saves -----------------------------------------------------------------------------------------------------


class Failing(Passing):
    """Fails in any thread but the main one."""

    descriptor = "failing@tests/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("out of luck")
        return output


def failing_extension(kind: str, place: Place) -> str:
    successes = 0
    for number in range(5):
        values = {str(tensor): torch.full((2000,), float(tensor)) for tensor in range(8)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                save(kind, values, place.directory / str(number), Failing(), threads=2)
            successes += 1
        except (Exception, CheckpointException):  # noqa: BLE001 (as it should)
            pass
    return f"{successes} of 5 saves report success"


def failing_writes(kind: str, place: Place) -> str:
    old = place.directory / "old"
    save_old(old, kind)
    attempts = place.server.call(each_failing_call, kind, place.directory, old)
    raised = sum(failed for failed, _ in attempts)
    kept = sum(there in ("old", "new") for _, there in attempts)
    return f"{_all(raised, attempts)} raise, {_all(kept, attempts)} leave a whole checkpoint"


def each_failing_call(kind: str, place: Path, old: Path) -> list[tuple[bool, str]]:
    """Of a save for every call that may fail: whether it raised, and what was there afterwards."""
    outcomes = []
    for number in count(1):
        path, raised = fresh(place, old), False
        with armed(path.parent, Fault("fail", ("write", "fsync", "rename"), number)) as calls:
            try:
                save(kind, STATES["new"], path, threads=2, overwrite=True)
            except (Exception, CheckpointException):  # noqa: BLE001 (as it should)
                raised = True
        if not calls.hits:
            break
        outcomes.append((raised, found(path, kind)))
    return outcomes


def killed(kind: str, place: Place) -> str:
    old = place.directory / "old"
    save_old(old, kind)
    outcomes = [found(path, kind) for path in each_kill(place.server, place.directory, old, Case(1, writer=kind))]
    return f"{_all(sum(one in ('old', 'new') for one in outcomes), outcomes)} leave a whole checkpoint"


def power_lost(kind: str, place: Place) -> str:
    old = place.directory / "old"
    save_old(old, kind)
    case = Case(1, writer=kind)
    outcomes = [found(path, kind) for path, _ in each_power_loss(place.server, place.directory, old, case)]
    return f"{_all(sum(one in ('old', 'new') for one in outcomes), outcomes)} states of the disk are a whole checkpoint"


def _all(count: int, of: list[Any]) -> str:
    return f"all {len(of)}" if count == len(of) else f"{count} of {len(of)}"


# --- enemies ----------------------------------------------------------------------------------------------------------


class Command:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def command_in_metadata(kind: str, place: Place) -> str:
    path, mark = place.directory / "c", place.directory / "mark"
    save(kind, state(1), path)
    (path / ".metadata").write_bytes(pickle.dumps(Command(mark)))
    outcome = load(kind, path, state(1))
    return "it is run" if mark.exists() else f"not run, {_refused(outcome, '')}"


def command_in_object(kind: str, place: Place) -> str:
    path, mark = place.directory / "c", place.directory / "mark"
    save(kind, {"object": Command(mark)}, path)
    shutil.rmtree(mark, ignore_errors=True)
    outcome = load(kind, path, {"object": None})
    return "it is run" if mark.exists() else f"not run, {_refused(outcome, '')}"


def bomb(kind: str, place: Place) -> str:
    path = place.directory / "c"
    dcp.save(
        {"object": bytearray(1 << 30)},
        storage_writer=FileSystemWriter(path, _extensions=[TorchZStandard()]),
        no_dist=True,
    )
    outcome, peak = in_child(_load_measured, kind, path, memory=16 << 30) or ("crash", 0)
    return f"{_refused(outcome, 'loads')}, having taken {peak >> 20 if peak < 1 << 30 else 'more than 1,000'} MiB"


def _load_measured(kind: str, path: Path) -> tuple[str, int]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = load(kind, path, {"object": None})
    return outcome, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10


def outside(kind: str, place: Place) -> str:
    path = place.directory / "c"
    save(kind, state(1), path)
    data_file(path).rename(place.directory / "secret.distcp")
    metadata = pickle.loads((path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.relative_path = "../secret.distcp"
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    return {"right": "it is read"}.get(load(kind, path, state(1)), "refused")


def metadata_of_another_kind(kind: str, place: Place) -> str:
    path = place.directory / "c"
    old: Any = FileSystemWriter(path) if kind == "stock" else dcpx.Writer(path)
    turned = dict(reversed(list(state(1).items())))  # so that items lie elsewhere
    dcp.save(turned, storage_writer=old, use_collectives=False)
    save(kind, state(2), path, overwrite=True)
    os.truncate(path / ".metadata", 100)
    return _refused(load(kind, path, state(2)), "that is used, and wrong values load")


def stacked(kind: str, place: Place) -> str:
    path, values = place.directory / "c", {"a": state(1)["a"]}
    if kind == "stock":
        pair: Any = [dcpx.Pack(), TorchZStandard()]
        dcp.save(values, storage_writer=FileSystemWriter(path, _extensions=pair), no_dist=True)
        loaded, registry = {"a": blank(values["a"])}, dcpx.default_registry()
        try:
            reader: Any = FileSystemReader(path, _extension_registry=registry)  # type: ignore[arg-type]
            dcp.load(loaded, storage_reader=reader, no_dist=True)
        except (Exception, CheckpointException):  # noqa: BLE001 (as measured)
            return "it never loads again"
        return "loads"
    save(kind, values, path, dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()))
    return "loads" if load(kind, path, values) == "right" else "it never loads again"


NEVER_WRONG = "0 of N load wrong values, without a word"
ROWS = [
    Row("a bit of the data flips", flipped_data(lambda: None), NEVER_WRONG),
    Row("a bit of the data flips that stock DCP's ZStandard wrote", flipped_data(TorchZStandard), NEVER_WRONG),
    Row("a bit of `.metadata` flips", flipped_metadata, "0 of N go unnoticed"),
    Row("two tensors change places in `.metadata`", swapped_items, "refused"),
    Row("a data file is restored from an earlier step", older_data, "refused"),
    Row("`.metadata` is cut short, beside one of an earlier, rank-local save", metadata_of_another_kind, "refused"),
    Row("an extension fails in a writer's thread", failing_extension, "0 of N saves report success"),
    Row(
        "a write, fsync or rename fails while it overwrites, each in turn",
        failing_writes,
        "all N raise, all N leave a whole checkpoint",
    ),
    Row("the process is killed while it overwrites, at every call", killed, "all N leave a whole checkpoint"),
    Row(
        "the power fails while it overwrites, at any time",
        power_lost,
        "all N states of the disk are a whole checkpoint",
    ),
    Row("`.metadata` holds a command", command_in_metadata, "not run, refused"),
    Row("an object holds a command", command_in_object, "not run, refused"),
    Row("an object of 33 KB unfolds into 1 GiB", bomb, "refused, having taken N MiB"),
    Row("an item is said to lie in `../secret.distcp`", outside, "refused"),
    Row("two extensions are stacked", stacked, "loads"),
]


def answers(row: Row, server: ForkServer) -> Iterator[str]:
    """What stock DCP and dcpx do."""
    for kind in ("stock", "dcpx"):
        with tempfile.TemporaryDirectory() as directory:
            yield row.answer(kind, Place(Path(os.path.realpath(directory)), server))


def main() -> int:
    """Print the table; 1 if a promise was not kept."""
    warnings.simplefilter("ignore")
    broken = 0
    with tempfile.TemporaryDirectory() as directory, ForkServer(build_shim(Path(directory))) as server:
        print("| what happens when ... | stock DCP | dcpx |\n| --- | --- | --- |")
        for row in ROWS:
            stock, own = answers(row, server)
            print(f"| {row.question} | {stock} | {own} |", flush=True)
            broken += not row.keeps_promise(own)
    return min(broken, 1)


if __name__ == "__main__":
    logging.disable()
    # By its own name: children look for its functions there.
    sys.exit(importlib.import_module("tests.fault.what_happens").main())
