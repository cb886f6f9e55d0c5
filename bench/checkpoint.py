"""How fast are saving and loading a checkpoint, and how large is it? dcpx beside stock DCP and what users would pick.

Sections, each of one or more tables: `disk` and `tmpfs` with every state of bench/states.py, `store` behind a link of
200 MB/s, 1 and 3 GB/s, `resharded` (slices of one stored tensor) and `memory` (the peak beyond the state, in processes
of their own). `--sections disk/large,store` runs some of them.

The rows of a table are measured in one process by turns, in another order each round; figures are medians over the
rounds. Every save goes to a fresh folder and is on disk when it ends ("no fsync" and `store` excepted); every load
finds targets in which each bit is wrong, and is compared bit for bit. Rates are of raw data. "of plain" is times the
rate of stock DCP without an extension, at the number of threads that suits it best.

There are three loads. "load" is a process's first: the files are in the page cache, and memory that was free has gone
back to the system, as before a save. "next" is the next load into the same targets, which finds the memory that the
one before has freed. "cold" is a first load from the disk, with the page cache dropped.

Other work on the machine falsifies more than it slows: torch copies with every core, and stock DCP loads eight times
slower when one of two is busy. The titles of `disk`, `tmpfs` and `store` say how many cores something else had.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from . import checkpoint_memory, resharded
from .checkpoint_peers import Checkpointer, Maker, other_packs, peers, through_dcp
from .states import STATES, State, check_exact, nbytes, one, spoil, spoilt
from .store import ThrottledFileSystem, drop_page_cache, stored_bytes

Row = dict[str, object]

DISK = Path(__file__).parents[1] / "tmp"
TMPFS = Path("/dev/shm")
RATES = {"200MB": 200e6, "1GB": 1e9, "3GB": 3e9}
ROUNDS = 5
FEW = 3
SLOW = 60.0
"""Seconds after which a table makes do with FEW rounds, unless their number was asked for."""
PHASES = ("save", "load", "next", "cold")
PLAIN = ("DCP plain, 1 thread", "DCP plain, 2 threads")


@dataclass
class Contender:
    """A row of a table, with the wall and the CPU seconds of each round so far by phase."""

    name: str
    make: Maker
    """Raises ImportError where a peer isn't installed."""
    fsync: bool = True
    phases: Sequence[str] = PHASES
    is_peer: bool = False
    stored: int = 0
    missing: str = ""
    wall: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    cpu: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})

    @property
    def is_plain(self) -> bool:
        return self.name.startswith(PLAIN)

    @cached_property
    def checkpointer(self) -> Checkpointer:
        return self.make()

    def measure(self, phase: str, work: Callable[[], None]) -> None:
        gc.collect()
        if phase != "next":  # which follows "load", and finds what that has freed
            ctypes.CDLL(None).malloc_trim(0)
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        self.wall[phase].append(time.perf_counter() - wall)
        self.cpu[phase].append(time.process_time() - cpu)


def run(sections: Sequence[str] = (), rounds: int | None = None) -> list[Row]:
    """The rows of every table that is one of `sections` or belongs to one; of all when none is named.

    `rounds` is how often each figure is measured, in the place of the defaults.
    """
    tables = _tables(rounds)
    unknown = [section for section in sections if not any(_within(table, section) for table in tables)]
    if unknown:
        raise SystemExit(f"There is no section {', '.join(unknown)}, only {', '.join(tables)}")
    DISK.mkdir(exist_ok=True)
    rows: list[Row] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "torch.distributed is disabled", at every save and load
        for table, measure in tables.items():
            if not sections or any(_within(table, section) for section in sections):
                rows += [{"section": table, **row} for row in measure()]
    return rows


def _tables(rounds: int | None) -> dict[str, Callable[[], list[Row]]]:
    tables: dict[str, Callable[[], list[Row]]] = {}
    for place, states in (("disk", STATES), ("tmpfs", [state for state in STATES if state != "tiny"])):
        # Tiny tensors keep the interpreter busy for minutes, wherever they are stored.
        tables |= {f"{place}/{state}": partial(_local, place, state, rounds) for state in states}
    tables |= {f"store/{rate}": partial(_store, rate, rounds or FEW) for rate in RATES}
    tables["resharded"] = partial(resharded.run, DISK, rounds or FEW)
    tables |= {f"memory/{state}": partial(checkpoint_memory.run, state, TMPFS) for state in checkpoint_memory.MEASURED}
    return tables


def _within(table: str, section: str) -> bool:
    return table == section or table.startswith(section + "/")


def _local(place: str, name: str, rounds: int | None) -> list[Row]:
    phases = PHASES if place == "disk" and name != "tiny" else PHASES[:2]
    dcp = through_dcp()
    contenders = [Contender(key, make, phases=phases) for key, make in {**dcp, **other_packs()}.items()]
    contenders += [Contender(key, make, phases=phases, is_peer=True) for key, make in peers().items()]
    if place == "disk" and name in ("many", "large"):
        contenders += [
            Contender(f"{key}, no fsync", dcp[key], fsync=False, phases=PHASES[:1]) for key in (*PLAIN, "dcpx")
        ]
    return _compare(f"{place}/{name}", STATES[name](), contenders, DISK if place == "disk" else TMPFS, rounds)


def _store(rate: str, rounds: int) -> list[Row]:
    """A memory file system behind the link; what has arrived needs no fsync."""
    link = ThrottledFileSystem(RATES[rate])
    contenders = [Contender(key, make, fsync=False, phases=PHASES[:2]) for key, make in through_dcp(link).items()]
    return _compare(f"store/{rate}", STATES["many"](), contenders, TMPFS, rounds, link)


def _compare(
    title: str,
    state: State,
    contenders: list[Contender],
    root: Path,
    rounds: int | None,
    link: ThrottledFileSystem | None = None,
) -> list[Row]:
    targets = spoilt(state)
    with tempfile.TemporaryDirectory(dir=root, prefix="bench-") as name:
        folder = Path(name) / "checkpoint"
        for contender in contenders:
            _guarded(contender, partial(_warm_up, contender, folder), folder)
        start, others, done = time.perf_counter(), _others_cpu(), 0
        while done < (rounds or ROUNDS) and (rounds or done < FEW or time.perf_counter() - start < SLOW):
            for contender in random.Random(done).sample(contenders, len(contenders)):
                if not contender.missing:
                    _guarded(contender, partial(_round, contender, state, targets, folder, link), folder)
            done += 1
        others_cores = (_others_cpu() - others) / (time.perf_counter() - start)
    raw = nbytes(state)
    rows = [{**_row(contender, contenders, raw), "others_cores": round(others_cores, 3)} for contender in contenders]
    head = f"{title}: {len(state):,} tensors, {raw:,} bytes, {done} rounds; other work: {others_cores:.2f} cores"
    _show(head, rows, raw)
    return rows


def _guarded(contender: Contender, work: Callable[[], None], folder: Path) -> None:
    """Work, and leave no folder behind. A peer's failure is a finding, and not the end of the run."""
    try:
        work()
    except Exception as error:
        if not contender.is_peer:
            raise
        contender.missing = f"{type(error).__name__}: {error}"[:120]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _warm_up(contender: Contender, folder: Path) -> None:
    state = one(rows=64)
    contender.checkpointer.save(state, folder, contender.fsync)
    contender.checkpointer.load(spoilt(state), folder)


def _round(contender: Contender, state: State, targets: State, folder: Path, link: ThrottledFileSystem | None) -> None:
    checkpointer = contender.checkpointer
    for phase in contender.phases:
        carried = link.carried if link is not None else 0
        if phase == "save":
            contender.measure(phase, partial(checkpointer.save, state, folder, contender.fsync))
            contender.stored = stored_bytes(folder)
        else:
            spoil(targets, state)
            if phase == "cold":
                drop_page_cache(folder)
            contender.measure(phase, partial(checkpointer.load, targets, folder))
            check_exact(targets, state)
        if link is not None and link.carried - carried < contender.stored / 2:
            raise ValueError(f"{contender.name}: a {phase} of {contender.stored} bytes got past the throttled link")


def _row(contender: Contender, contenders: list[Contender], raw: int) -> Row:
    row: Row = {"contender": contender.name, "raw": raw}
    if contender.missing:
        return {**row, "missing": contender.missing}
    row |= {"bytes": contender.stored, "of_raw": contender.stored / raw}
    for phase in contender.phases:
        seconds = median(contender.wall[phase])
        plain = min(median(c.wall[phase]) for c in contenders if c.is_plain and c.fsync == contender.fsync)
        row |= {
            f"{phase}_gbps": raw / seconds / 1e9,
            f"{phase}_of_plain": plain / seconds,
            f"{phase}_cpu_s": median(contender.cpu[phase]),
            f"{phase}_s": [round(second, 4) for second in contender.wall[phase]],
        }
    return row


def _show(title: str, rows: list[Row], raw: int) -> None:
    unit, scale = ("GB/s", 1.0) if raw > 1e8 else ("MB/s", 1e3)
    phases = [phase for phase in PHASES if any(f"{phase}_gbps" in row for row in rows)]
    missing = [f"{row['contender']} is missing: {row['missing']}" for row in rows if "missing" in row]
    table = Table(title=title, caption="\n".join(missing), caption_justify="left")
    table.add_column("saved with", no_wrap=True)
    for heading in [f"{phase}\n{key}" for phase in phases for key in (unit, "of plain", "CPU s")]:
        table.add_column(heading, justify="right")
    for heading in ("bytes", "of raw"):
        table.add_column(heading, justify="right")
    for row in rows:
        if "missing" not in row:
            cells = [cell for phase in phases for cell in _rate(row, phase, scale)]
            table.add_row(str(row["contender"]), *cells, f"{row['bytes']:,}", f"{row['of_raw']:.3f}")
    Console(width=190).print(table)


def _rate(row: dict[str, Any], phase: str, scale: float) -> list[str]:
    if f"{phase}_gbps" not in row:
        return ["-"] * 3
    rate, of_plain, cpu = (row[f"{phase}_{key}"] for key in ("gbps", "of_plain", "cpu_s"))
    return [f"{rate * scale:.2f}", f"{of_plain:.2f}", f"{cpu:.2f}"]


def _others_cpu() -> float:
    """Seconds that the machine's cores have spent on other processes and the kernel's own threads since it started."""
    user, nice, system, _idle, _waiting, interrupts, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK") - time.process_time()
