"""Saves during which the power fails, at every call: whatever the disk has kept, a whole checkpoint is there.

By default every other one of the states that a disk may be in then is tried; all with `make soak`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fault.checkpoints import Case, found, save_again, save_old
from tests.fault.fork_server import ForkServer
from tests.fault.outcomes import each_power_loss, each_power_loss_after_a_kill

CASES = {
    "first, 1 thread": Case(1, overwrite=False),
    "first, 2 threads": Case(2, overwrite=False),
    "first, 4 threads": Case(4, overwrite=False),
    "1 thread": Case(1),
    "2 threads": Case(2),
    "4 threads": Case(4),
    "plain": Case(2, writer="dcpx, plain"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_power_lost_before_every_call(case: Case, server: ForkServer, scratch: Path, old: Path):
    # Where nothing was, a whole checkpoint may be there that lacks only its pointer, and is given one.
    expected = {"old", "new"} if case.overwrite else {"none", "lost new", "new"}
    outcomes = set()
    for path, has_returned in each_power_loss(server, scratch, old if case.overwrite else None, case):
        outcome, again = found(path), save_again(path)
        assert outcome == "new" or (outcome in expected and not has_returned), outcome
        assert again == "later", again
        outcomes.add(outcome)
    assert outcomes == expected


def test_power_lost_after_a_killed_save_and_a_whole_one(server: ForkServer, scratch: Path):
    for path in each_power_loss_after_a_kill(server, scratch, None, Case(2)):
        assert found(path) == "new"


def test_stock_loses_the_old_checkpoint(server: ForkServer, scratch: Path, tmp_path: Path):
    """What these tests are able to see: also a save that returned, and isn't on the disk."""
    save_old(tmp_path / "old", "stock")
    outcomes = {False: [], True: []}
    for path, has_returned in each_power_loss(server, scratch, tmp_path / "old", Case(writer="stock")):
        outcomes[has_returned].append(found(path, "stock"))
    assert any(outcome not in ("old", "new") for outcome in outcomes[False])
    assert any(outcome != "new" for outcome in outcomes[True])
