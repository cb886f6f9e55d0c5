"""One rank of a save fails, at every step: every rank learns it and which it was, and the old checkpoint stays."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist

import dcpx
from dcpx import DcpxError
from dcpx.catalog.names import is_pointer, save_of
from tests.dist.faults import FAULTS, Fault, killed_while_writing
from tests.dist.ranks import COLLECTIVE_SECONDS, run
from tests.support.versions import gloo

pytestmark = [
    gloo,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPT_SECONDS = 10
"""A rank learns of the failure of another within this, on a busy machine; it must not take a collective's timeout."""

SHORT_SECONDS = 2
"""The timeout of the group in which ranks wait in vain."""

KILLED = {2: 0, 4: 2}
"""Which of so many ranks is killed: once the coordinator."""

ALONE = (
    "planner.create_local_plan",
    "planner.resolve_data",
    "fsync of a data file",
    "writing the manifest",
    "the move",
)
"""Faults of a rank that saves without collectives."""


class Case(NamedTuple):
    """Which ranks fail, and how."""

    faults: dict[int, str]

    def __str__(self) -> str:
        return "; ".join(f"{fault} on rank {rank}" for rank, fault in self.faults.items())

    @contextlib.contextmanager
    def applied(self, rank: int, directory: Path) -> Iterator[None]:
        with FAULTS[self.faults[rank]].applied(directory) if rank in self.faults else contextlib.nullcontext():
            yield

    @property
    def first(self) -> tuple[int, Fault]:
        """Who is named, and for which fault."""
        rank = min(self.faults)
        fault = FAULTS[self.faults[rank]]
        return (rank if fault.noticed_by is None else fault.noticed_by), fault


def cases(world: int) -> list[Case]:
    """All that fails among so many ranks with collectives."""
    found = [
        Case({rank: name})
        for name, fault in FAULTS.items()
        for rank in ([0] if fault.only_coordinator else [0, world - 1])
    ]
    found.append(Case({0: "planner.resolve_data", 1: "fsync of a data file"}))
    if world == 4:
        found.append(Case({1: "planner.create_local_plan", 2: "mkdir"}))
        found.append(Case({1: "writing a data file", 2: "Pack's choice", 3: "opening a data file"}))
        found.append(Case(dict.fromkeys(range(4), "planner.finish_plan")))
    return found


def cases_alone(world: int) -> list[Case]:
    """All that fails where each rank has a checkpoint of its own."""
    return [Case({rank: name}) for name in ALONE for rank in (0, world - 1)]


class Outcome(NamedTuple):
    """What one rank saw of one case."""

    error: BaseException | None
    seconds: float
    names: list[str]  # in the directory, once all have raised
    loaded: str  # "old", "new", or what happened instead; in a fresh directory once the same ranks have saved again


# --- what the ranks do ------------------------------------------------------------------------------------------------


def state(rank: int, world: int, age: str) -> dict[str, Any]:
    """Some that is this rank's, some that is everyone's; `age` is "old", "new" or "blank"."""
    seed = {"blank": 0, "old": 1, "new": 2}[age]
    numbers = torch.Generator().manual_seed(seed)
    mine = {f"large {rank}": torch.randn(40_000, generator=numbers), f"object {rank}": (age, rank)}
    return mine | {f"shared {number}": torch.randn(20, generator=numbers) for number in range(2 * world)}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


def age_of(path: Path, rank: int, world: int, **options: Any) -> str:
    """Which state a checkpoint holds, as this rank loads it."""
    found = state(rank, world, "blank")
    try:
        dcpx.load(found, path, **options)
    except DcpxError as error:
        return str(error)
    return next((age for age in ("old", "new") if same(found, state(rank, world, age))), "a mixture")


def failed_save(
    case: Case, rank: int, world: int, path: Path, **options: Any
) -> tuple[BaseException | None, float, list[str]]:
    """The error, after how many seconds, and the directory's names once every rank has come to that point."""
    dist.barrier()
    begin, error = time.monotonic(), None
    with case.applied(rank, path):
        try:
            dcpx.save(state(rank, world, "new"), path, overwrite=True, threads=2, pack=case.first[1].pack(), **options)
        except BaseException as raised:  # noqa: BLE001 (the test looks at it)
            error = raised.with_traceback(None)
    seconds = time.monotonic() - begin
    dist.barrier()
    return error, seconds, sorted(os.listdir(path)) if path.exists() else []


def together(rank: int, world: int, path: Path) -> dict[str, Outcome]:
    dcpx.save(state(rank, world, "old"), path / "old")
    found = {}
    for number, case in enumerate(cases(world)):
        fresh, replaced = path / f"{number} fresh", path / f"{number} replaced"
        if rank == 0:
            shutil.copytree(path / "old", replaced)
        failed = failed_save(case, rank, world, replaced)
        found[str(case)] = Outcome(*failed, age_of(replaced, rank, world))
        failed = failed_save(case, rank, world, fresh)
        dcpx.save(state(rank, world, "new"), fresh, overwrite=case.first[1].committed)
        found[f"{case}, fresh"] = Outcome(*failed, age_of(fresh, rank, world))
    return found


def alone(rank: int, world: int, path: Path) -> dict[str, Outcome]:
    """Each rank has a checkpoint of its own. DCP ends such a save with a barrier, to which a failed one has to come."""
    own: dict[str, Any] = {"use_collectives": False}
    dcpx.save(state(rank, world, "old"), path / "own", **own)
    found = {}
    for number, case in enumerate(cases_alone(world)):
        replaced = path / f"{number} own"
        if rank == 0:
            shutil.copytree(path / "own", replaced)
        failed = failed_save(case, rank, world, replaced, **own)
        found[str(case)] = Outcome(*failed, age_of(replaced, rank, world, rank_local=True))
        dcpx.save(state(rank, world, "new"), replaced, overwrite=True, **own)
        found[f"{case}, again"] = Outcome(None, 0, [], age_of(replaced, rank, world, rank_local=True))
    return found


def killed(rank: int, world: int, path: Path) -> Outcome:
    big = {f"random {rank}": torch.randn(4_000_000)}
    if rank == 0:
        shutil.copytree(path / "old", path / "killed")
    dist.barrier()
    begin, error = time.monotonic(), None
    with killed_while_writing() if rank == KILLED[world] else contextlib.nullcontext():
        try:
            dcpx.save(big, path / "killed", overwrite=True)
        except BaseException as raised:  # noqa: BLE001 (the test looks at it)
            error = raised.with_traceback(None)
    return Outcome(error, time.monotonic() - begin, [], "")


def work(rank: int, world: int, path: Path) -> None:
    for number, part in enumerate((together, alone, killed)):
        dist.barrier()
        outcomes = part(rank, world, path)
        (path / f"outcomes.{number}.{rank}").write_bytes(pickle.dumps(outcomes))


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran() -> Iterator[Callable[[int], Path]]:
    """Where so many ranks have left their outcomes; they run once. In memory if possible, where fsync costs nothing."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="dcpx-ranks-") as directory:

        @functools.cache
        def path_of(world: int) -> Path:
            path = Path(directory) / str(world)
            run(work, world, path, killed=KILLED[world])
            return path

        yield path_of


def outcomes(path: Path, part: int, name: str = "") -> dict[int, Any]:
    """Each rank's outcome of one case."""
    found = {int(file.suffix[1:]): pickle.loads(file.read_bytes()) for file in path.glob(f"outcomes.{part}.*")}
    return {rank: every[name] if name else every for rank, every in sorted(found.items())}


def names_of(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def of_every_world(make: Callable[[int], list[Case]]) -> pytest.MarkDecorator:
    found = [(world, case) for world in KILLED for case in make(world)]
    return pytest.mark.parametrize(("world", "case"), found, ids=str)


@of_every_world(cases)
@pytest.mark.parametrize("directory", ["replaced", "fresh"])
def test_a_rank_fails(ran: Callable[[int], Path], world: int, case: Case, directory: str):
    path = ran(world)
    found = outcomes(path, 0, str(case) if directory == "replaced" else f"{case}, fresh")
    culprit, fault = case.first
    assert len(found) == world
    assert len({str(outcome.error) for outcome in found.values()}) == 1, "every rank raises the same"
    for outcome in found.values():
        assert isinstance(outcome.error, DcpxError)
        assert fault.says in outcome.error.cause
        assert outcome.error.where.rank == culprit
        assert outcome.seconds < PROMPT_SECONDS
        assert outcome.loaded == ("old" if directory == "replaced" and not fault.committed else "new")
        if not fault.committed:
            assert outcome.names == (names_of(path / "old") if directory == "replaced" else [])


@of_every_world(lambda world: [case for case in cases(world) if len(case.faults) > 1])
def test_several_ranks_fail(ran: Callable[[int], Path], world: int, case: Case):
    others = len(case.faults) - 1
    for outcome in outcomes(ran(world), 0, str(case)).values():
        assert f"(and {others} more {'rank' if others == 1 else 'ranks'} failed)" in str(outcome.error)


@of_every_world(cases_alone)
def test_a_rank_with_a_checkpoint_of_its_own_fails(ran: Callable[[int], Path], world: int, case: Case):
    path = ran(world)
    (culprit,) = case.faults
    for rank, outcome in outcomes(path, 1, str(case)).items():
        if rank == culprit:
            assert isinstance(outcome.error, DcpxError)
            assert FAULTS[case.faults[rank]].says in outcome.error.cause
        else:
            assert outcome.error is None
        assert outcome.seconds < PROMPT_SECONDS
        assert outcome.loaded == ("old" if rank == culprit else "new")
        # A save of each rank, as before; nothing is left of the one that failed.
        assert len(outcome.names) == len(names_of(path / "own"))


@pytest.mark.parametrize("world", KILLED)
def test_ranks_with_checkpoints_of_their_own_save_again(ran: Callable[[int], Path], world: int):
    for case in cases_alone(world):
        assert {outcome.loaded for outcome in outcomes(ran(world), 1, f"{case}, again").values()} == {"new"}


@pytest.mark.parametrize("world", KILLED)
def test_a_rank_is_killed(ran: Callable[[int], Path], world: int):
    path = ran(world)
    found = outcomes(path, 2)
    assert found.keys() == set(range(world)) - {KILLED[world]}
    for rank, outcome in found.items():
        assert isinstance(outcome.error, DcpxError)
        assert outcome.seconds < COLLECTIVE_SECONDS + PROMPT_SECONDS
        assert age_of(path / "killed", rank, world) == "old"
    old = names_of(path / "old")
    left = set(names_of(path / "killed"))
    assert left >= set(old)
    assert [name for name in left if is_pointer(name)] == [".metadata"]
    assert len({save_of(name) for name in left if not is_pointer(name)} - {save_of(name) for name in old}) <= 1
