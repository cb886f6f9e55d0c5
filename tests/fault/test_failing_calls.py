"""Saves in which a system call fails, each one in its turn: they raise, and what was there stays, bit for bit.

By default each case is tried either where nothing was or over a checkpoint, and so is each error of a directory; with
`make soak` each is tried with both.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from unittest import mock

import pytest
from tests.fault.checkpoints import STATES, Attempt, Case, attempt, every_attempt, found, fresh, names
from tests.fault.fork_server import ForkServer
from tests.fault.outcomes import CHANGING
from tests.fault.shim import Fault, armed

import dcpx
from dcpx import SaveError
from dcpx.saving.commit import Commit

CASES = {"1 thread": Case(1), "2 threads": Case(2), "4 threads": Case(4), "plain": Case(3, writer="dcpx, plain")}
LONG = "DCPX_STRESS" in os.environ
PAIRS = [("1 thread", "none"), ("2 threads", "old"), ("4 threads", "old"), ("plain", "none")]
every_case = pytest.mark.parametrize(("case", "before"), list(product(CASES, ("none", "old"))) if LONG else PAIRS)
two_threads = pytest.mark.parametrize("case", ["2 threads"])
first_and_overwriting = pytest.mark.parametrize("before", ["none", "old"])
once_and_for_good = pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])


class Trial:
    """Saves over `before`, a state's name, as `case` says."""

    def __init__(self, server: ForkServer, scratch: Path, old: Path, before: str, case: Case) -> None:
        self._server, self._scratch, self._case = server, scratch, case
        self._old = old if before == "old" else None
        self.before, self.names = before, names(old) if self._old else []

    def attempts(
        self, action: str, *kinds: str, for_good: bool = False, times: int = 1, error: int = errno.EIO
    ) -> list[Attempt]:
        """A save for every call of these kinds, which meets the fault: at least one."""
        case = replace(self._case, fault=Fault(action, kinds, for_good=for_good, times=times, error=error))
        attempts = self._server.call(every_attempt, self._scratch, self._old, case)
        assert attempts, "no such call"
        return list(attempts)

    def assert_failed(self, attempt: Attempt, cause: str = "Input/output error") -> None:
        """It raised, naming the cause and the place, and nothing is left of it."""
        assert isinstance(attempt.error, SaveError), attempt
        assert cause in attempt.error.cause
        assert "/checkpoint" in str(attempt.error)
        assert attempt.found == self.before, attempt
        assert attempt.names == self.names, attempt

    def assert_saved(self, attempt: Attempt) -> None:
        assert attempt.error is None
        assert attempt.found == "new", attempt


@pytest.fixture
def trial(server: ForkServer, scratch: Path, old: Path, before: str, case: str) -> Trial:
    return Trial(server, scratch, old, before, replace(CASES[case], overwrite=before == "old"))


@every_case
@pytest.mark.parametrize("kind", ["open", "write", "fsync", "rename", "mkdir", "close"])
def test_a_call_that_fails(kind: str, trial: Trial):
    unsure = []
    for tried in trial.attempts("fail", kind):
        hit = tried.calls.hit
        if hit.moved and hit.is_read_only:
            # Whether others have replaced it meanwhile is only looked at.
            trial.assert_saved(tried)
        elif hit.moved:
            # The new checkpoint is in place already. That this is durable can't be promised, and so isn't.
            unsure.append(hit)
            assert isinstance(tried.error, SaveError), tried
            assert tried.found == "new", tried
        elif tried.error is None and trial.before == "old" and (hit.is_read_only or kind == "mkdir"):
            # What is overwritten is only looked at: it needn't be readable. Its directory exists already.
            trial.assert_saved(tried)
        else:
            trial.assert_failed(tried)
    assert len(unsure) <= 1, "after the move there is but one fsync, of the directory"
    assert all(os.path.basename(hit.path) == "checkpoint" for hit in unsure)


@two_threads
@first_and_overwriting
@pytest.mark.parametrize("kind", ["open", "fsync", "rename", "mkdir", "unlink"])
def test_a_call_that_reports_an_error_but_was_done(kind: str, trial: Trial):
    """As over a network. Above all it mustn't be the new checkpoint that is cleaned up once it is in place."""
    for tried in trial.attempts("fail after", kind):
        if tried.error is None:
            trial.assert_saved(tried)
        else:
            assert isinstance(tried.error, SaveError), tried
            moved = kind == "rename" or tried.calls.hit.moved
            assert tried.found == ("new" if moved else trial.before), tried


@every_case
def test_a_removal_that_fails(trial: Trial):
    """The save has succeeded by then; a warning tells what is left."""
    for tried in trial.attempts("fail", "unlink"):
        trial.assert_saved(tried)
        assert tried.calls.hit.moved
        left = os.path.basename(tried.calls.hit.path)
        assert left in tried.names
        assert any(left in text and "Input/output error" in text for text in tried.warnings), tried


@every_case
@once_and_for_good
def test_a_disk_that_is_full(for_good: bool, trial: Trial):
    for tried in trial.attempts("fail", "write", for_good=for_good, error=errno.ENOSPC):
        trial.assert_failed(tried, "No space left on device")


@two_threads
@first_and_overwriting
def test_a_disk_that_goes_away(trial: Trial):
    """From some call on nothing works any more, cleaning up included."""
    for tried in trial.attempts("fail", *CHANGING, for_good=True):
        if tried.error is None:
            assert tried.calls.hit.moved
            assert tried.warnings
            trial.assert_saved(tried)
        else:
            assert isinstance(tried.error, SaveError), tried
            assert "Input/output error" in str(tried.error)
            assert tried.found == ("new" if tried.calls.hit.moved else trial.before), tried


@every_case
@once_and_for_good
def test_short_writes(for_good: bool, trial: Trial):
    for tried in trial.attempts("short", "write", for_good=for_good):
        trial.assert_saved(tried)


@two_threads
@first_and_overwriting
def test_a_question_that_fails(trial: Trial):
    """No wrong answer is taken for granted: the save raises, or does without."""
    for tried in trial.attempts("fail", "read", "stat", "list"):
        if tried.error is None:
            trial.assert_saved(tried)
        else:
            trial.assert_failed(tried)


def test_a_question_that_fails_overwrites_nothing(server: ForkServer, scratch: Path, old: Path):
    """A checkpoint is there and must not be replaced, whatever can't be seen."""
    for number in count(1):
        fault = Fault("fail", ("read", "stat", "list"), number)
        tried = server.call(attempt, fresh(scratch, old), Case(2, overwrite=False, fault=fault))
        assert isinstance(tried.error, SaveError), tried
        assert tried.found == "old", tried
        assert tried.names == names(old)
        if not tried.calls.hits:
            break


# --- file systems that lack a call ------------------------------------------------------------------------------------

REFUSALS = ("EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM", "EACCES", "EBADF", "ENOTTY", "EISDIR")
every_refusal = pytest.mark.parametrize("error", [getattr(errno, name) for name in REFUSALS], ids=REFUSALS)
UNSYNCED = [
    pytest.param(before, kind, getattr(errno, name), id=f"{before}-{kind}-{name}")
    for number, name in enumerate(REFUSALS)
    for before, kind in (("none", "open"), ("old", "fsync"), ("old", "open"), ("none", "fsync"))
    if LONG or (before == "old") is (number % 2 == (kind == "open"))
]


@pytest.mark.parametrize("before", ["none"])
@pytest.mark.parametrize("case", ["1 thread"])
@pytest.mark.parametrize("lacking", [("rename",), ("rename", "link")], ids=" and ".join)
@every_refusal
def test_a_move_that_the_file_system_lacks(error: int, lacking: tuple[str, ...], trial: Trial):
    """A rename that replaces nothing, and a link in its place."""
    tried, *_ = trial.attempts("fail", *lacking, times=len(lacking), error=error)
    assert tried.calls.hits == len(lacking)
    trial.assert_saved(tried)
    assert len(tried.names) == 3, "nothing is left of the detour"


@pytest.mark.parametrize("case", ["1 thread"])
@pytest.mark.parametrize("lacking", [("rename",), ("rename", "link")], ids=" and ".join)
def test_a_move_that_the_file_system_lacks_replaces_nothing(
    lacking: tuple[str, ...], case: str, server: ForkServer, scratch: Path, old: Path
):
    """Another save is faster, and its checkpoint stays."""
    fault = Fault("fail", lacking, times=len(lacking), error=errno.EINVAL)
    error, state, left = server.call(_save_beside_a_faster_one, fresh(scratch, None), old, fault)
    assert isinstance(error, SaveError)
    assert "exists already" in str(error)
    assert (state, left) == ("old", names(old))


def _save_beside_a_faster_one(path: Path, old: Path, fault: Fault) -> tuple[BaseException | None, str, list[str]]:
    move = Commit._move

    def late(self: Commit, content: bytes) -> None:
        for file in old.iterdir():
            shutil.copy(file, path)
        with armed(path.parent, fault):
            move(self, content)

    with mock.patch.object(Commit, "_move", late):
        try:
            dcpx.save(STATES["new"], path)
        except SaveError as error:
            return error, found(path), names(path)
    return None, found(path), names(path)


@pytest.mark.parametrize("case", ["2 threads"])
@pytest.mark.parametrize(("before", "kind", "error"), UNSYNCED)
def test_a_directory_that_cannot_be_synced(error: int, kind: str, trial: Trial):
    directories = 0
    for tried in trial.attempts("fail", kind, error=error):
        hit = tried.calls.hit
        if hit.flags & os.O_DIRECTORY:
            directories += 1
            trial.assert_saved(tried)
        elif not hit.is_read_only:
            assert isinstance(tried.error, SaveError), tried
    assert directories >= 2


@pytest.mark.parametrize("case", ["2 threads"])
@first_and_overwriting
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_directory_whose_sync_fails(error: int, trial: Trial):
    for tried in trial.attempts("fail", "fsync", error=error):
        assert isinstance(tried.error, SaveError), tried
