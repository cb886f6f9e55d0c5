"""Saves whose process is killed, at every call: the whole old or the whole new checkpoint is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fault.checkpoints import Case, found, save_again, save_old
from tests.fault.fork_server import ForkServer
from tests.fault.outcomes import each_kill

CASES = {
    "first, 1 thread": Case(1, overwrite=False),
    "first, 2 threads": Case(2, overwrite=False),
    "1 thread": Case(1),
    "2 threads": Case(2),
    "no sync": Case(2, sync=False),
    "plain": Case(2, writer="dcpx, plain"),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_case
def test_killed_before_every_call(case: Case, server: ForkServer, scratch: Path, old: Path):
    # Where nothing was, a whole checkpoint may be there that lacks only its pointer, and is given one.
    expected = {"old", "new"} if case.overwrite else {"none", "lost new", "new"}
    outcomes = set()
    for path in each_kill(server, scratch, old if case.overwrite else None, case):
        outcome, again = found(path), save_again(path)
        assert outcome in expected, outcome
        assert again == "later", again
        outcomes.add(outcome)
    assert outcomes == expected


@every_case
def test_killed_within_every_write(case: Case, server: ForkServer, scratch: Path, old: Path):
    expected = {"old"} if case.overwrite else {"none", "lost new"}
    outcomes = set()
    for path in each_kill(server, scratch, old if case.overwrite else None, case, "tear", ("write",)):
        outcome, again = found(path), save_again(path)
        assert again == "later", again
        outcomes.add(outcome)
    assert outcomes == expected


def test_stock_loses_the_old_checkpoint(server: ForkServer, scratch: Path, tmp_path: Path):
    """What these tests are able to see."""
    save_old(tmp_path / "old", "stock")
    case = Case(writer="stock")
    outcomes = [found(path, "stock") for path in each_kill(server, scratch, tmp_path / "old", case)]
    assert any(outcome not in ("old", "new") for outcome in outcomes)
