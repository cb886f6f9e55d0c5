"""Unpacking: the stored items that a load needs, read side by side into the targets of its planner.

    schedule -> jobs -> ledger.begin -> the crew's workers: runner.run -> ledger.end -> the planner

Everything but `runner.run` happens in the caller's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from torch.distributed.checkpoint.planner import LoadPlanner

from ..catalog.limits import Limits
from ..errors import DcpxError
from ..parallel import Crew
from ..pickles.trust import Trust
from ..progress import Meter
from ..registry import ExtensionRegistry
from .claims import Claims
from .failures import Failures
from .jobs import Job, bytes_held
from .ledger import Ledger
from .open_files import OpenFiles
from .requests import RequestedItem
from .running import Runner
from .schedule import Schedule

__all__ = ["Unpacker"]


class Unpacker:
    """Reads stored items into what the planner resolves for them; made for one load.

    With `partial`, an item that can't be read doesn't end the load: it goes to `failures`, by its name, and its targets
    may be partly filled. Without, its error is raised. `check_object` returns an object's content as the planner may
    unpickle it, or raises.
    """

    def __init__(
        self,
        planner: LoadPlanner,
        registry: ExtensionRegistry,
        files: OpenFiles,
        crew: Crew,
        meter: Meter,
        check_object: Callable[[bytes], bytes],
        limits: Limits,
        partial: bool = False,
        trust: Trust = Trust(),  # noqa: B008 (immutable)
    ) -> None:
        self._planner = planner
        self._crew = crew
        self._meter = meter
        self._check_object = check_object
        self._limits = limits
        self._failures = Failures(partial)
        self._files = files
        self._schedule = Schedule(planner, self._files, self._failures)
        self._runner = Runner(registry, limits, trust, self._failures)

    def read(self, items: Sequence[RequestedItem]) -> dict[str, DcpxError]:
        """Read all `items`, which come in the order in which they are stored; returns the errors of those that failed,
        by name.

        LimitError before anything is read if it is too much in all. An error that is raised names file and item, and
        the items whose targets may be partly filled.
        """
        total = self._limits.check(items)
        with closing(Claims(items)) as claims:
            self._read(self._schedule.together(items, claims), claims, self._meter, total)
            again = claims.contested(self._failures.by_name)
        if again:  # they share memory, and weren't written there in the order of the plan
            with closing(Claims(again)) as claims:
                self._read(self._schedule.one_by_one(again, claims), claims, Meter(None, 0, 0), total)
        return self._failures.by_name

    def _read(self, planned: Iterable[list[Job]], claims: Claims, meter: Meter, total: int) -> None:
        """Do all jobs that are planned."""
        ledger = Ledger(
            self._planner, self._files, claims, self._failures, meter, self._limits, total, self._check_object
        )
        try:
            with closing(self._crew.map(self._runner.run, ledger.begin(planned), self._cost)) as done:
                for result in done:
                    ledger.end(result)
        except DcpxError as error:
            raise ledger.telling_begun(error) from error.__cause__
        finally:
            ledger.give_up()

    def _cost(self, job: Job) -> int:
        """Bytes that a job counts for: more than the whole budget where it must wait until all before it have ended."""
        return self._crew.budget + 1 if job.alone else bytes_held(job)
