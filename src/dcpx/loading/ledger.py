"""Ledger: which items are being read, which are complete, and what is handed to the planner of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO

from torch.distributed.checkpoint.planner import LoadPlanner

from ..catalog.limits import Limits
from ..errors import DcpxError
from ..progress import Meter
from .claims import Claims
from .failures import Failures
from .jobs import Done, Job, Wanted, file_of, wanted_of
from .open_files import OpenFiles
from .requests import RequestedItem
from .targets import Target, count_as_changed

__all__ = ["Ledger"]

_MOST_NAMED = 5
"""Items that an error names as perhaps partly filled."""


class Ledger:
    """Keeps account, in the caller's thread, of the jobs between their planning and their end.

    `total` is how many bytes are loaded in all, those of objects as they are stored. `check_object` returns an object's
    content as the planner may unpickle it, or raises.
    """

    def __init__(
        self,
        planner: LoadPlanner,
        files: OpenFiles,
        claims: Claims,
        failures: Failures,
        meter: Meter,
        limits: Limits,
        total: int,
        check_object: Callable[[bytes], bytes],
    ) -> None:
        self._planner = planner
        self._files = files
        self._claims = claims
        self._failures = failures
        self._meter = meter
        self._limits = limits
        self._total = total
        self._check_object = check_object
        self._begun: dict[int, Wanted] = {}  # in order, by the item's id; the targets of these may be partly filled

    def begin(self, planned: Iterable[list[Job]]) -> Iterator[Job]:
        """The same jobs, one after another. All jobs of a list are counted before the first of them runs: the last one
        to end completes its items."""
        for jobs in planned:
            for job in jobs:
                self._files.begin_job(file_of(job))
                for wanted in wanted_of(job):
                    self._begun[id(wanted.item)] = wanted
                    for target in wanted.targets:
                        target.pending += 1
            yield from jobs

    def end(self, done: Done) -> None:
        """A job has ended: hand what is complete to the planner, and tell of the progress."""
        completed = self._complete(done)
        for item, content in done.objects:
            with self._failures.reading(done.job.source.name, item):
                completed += self._load_object(item, content)
        self._meter.add(done.nbytes, completed)
        self._files.end_job(file_of(done.job))

    def give_up(self) -> None:
        """No more jobs run: what was begun and isn't complete has changed, in part."""
        count_as_changed(target for wanted in self._begun.values() for target in wanted.targets)

    def telling_begun(self, error: DcpxError) -> DcpxError:
        """The error that ends the load, which tells of the items that may be partly filled."""
        names = list(dict.fromkeys(wanted.item.name for wanted in self._begun.values()))
        if not names:
            return error
        shown = ", ".join(repr(name) for name in names[:_MOST_NAMED])
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        cause = f"{error.cause}; partly filled may be {shown}{more}"
        return type(error)(cause, error.where, error.remedy).with_traceback(error.__traceback__)

    def _complete(self, done: Done) -> int:
        """Commit the targets that have all they wanted, unless their item has failed; returns how many have."""
        all_wanted = wanted_of(done.job)
        complete: list[Target] = []
        for wanted in all_wanted:
            for target in wanted.targets:
                target.pending -= 1
                if target.pending == 0:
                    complete.append(target)
        count_as_changed(complete)
        completed = 0
        failed = self._failures.by_name
        for item, targets in all_wanted:
            pending = False
            for target in targets:
                if target.pending:
                    pending = True
                elif not failed or item.name not in failed:
                    with self._failures.reading(done.job.source.name, item):
                        target.commit(self._planner)
                    completed += 1
            if not pending:
                self._begun.pop(id(item), None)
                self._claims.release(item)
        return completed

    def _load_object(self, item: RequestedItem, content: bytes) -> int:
        self._total += len(content) - item.nbytes
        self._limits.check_total(self._total, item)
        checked = self._check_object(content)
        for request in item.requests:
            self._planner.load_bytes(request, BytesIO(checked))
        return len(item.requests)
