"""Loads in which a system call fails or reads too little: an error that names the file, or every bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fault.checkpoints import Case, every_load, fresh
from tests.fault.fork_server import ForkServer
from tests.fault.shim import Fault

from dcpx import DcpxError

every_thread_count = pytest.mark.parametrize("threads", [1, 2, 4])
once_and_for_good = pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])


@every_thread_count
@once_and_for_good
@pytest.mark.parametrize("kind", ["open", "read"])
def test_a_call_that_fails(kind: str, for_good: bool, threads: int, server: ForkServer, scratch: Path, old: Path):
    path, case = fresh(scratch, old), Case(threads, fault=Fault("fail", (kind,), for_good=for_good))
    attempts = server.call(every_load, path, case)
    for attempt in attempts:
        # For good, what names the file is the last of several attempts.
        files = {str(path / name) for name in attempt.names} if for_good else {attempt.calls.hit.path}
        if attempt.error is None:  # chunks that couldn't be read are read once more, to say why
            assert not for_good
            assert attempt.found == "old", attempt
        else:
            assert isinstance(attempt.error, DcpxError), attempt
            assert attempt.error.where.file in files
            assert "Input/output error" in str(attempt.error)
    assert any(attempt.error for attempt in attempts)


@every_thread_count
@once_and_for_good
def test_short_reads(for_good: bool, threads: int, server: ForkServer, scratch: Path, old: Path):
    case = Case(threads, fault=Fault("short", ("read",), for_good=for_good))
    attempts = server.call(every_load, fresh(scratch, old), case)
    assert attempts
    for attempt in attempts:
        assert attempt.error is None
        assert attempt.found == "old", attempt
