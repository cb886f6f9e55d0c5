"""`report`: looks at checkpoints and writes the page."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import IO, TypeAlias

from ...catalog.limits import Limits
from ...errors import DcpxError, DcpxWarning
from ...parallel import DEFAULT_BUDGET, Crew, check_crew
from ...progress import OnProgress, telling
from ...store.address import StorageOptions
from ..elements import Elements
from ..opened import Opened, check_current, lost_files, open_checkpoint
from ..output import new_file
from ..shown import visible
from ..summary import Summary, summary_of
from .content import content
from .exponents import read_exponents
from .joined import joined
from .measures import Measure
from .problems import distinct
from .steps import Step, in_order

__all__ = ["SAMPLE", "report"]

SAMPLE = 1 << 30
"""Bytes of elements of which exponents are counted."""

_Path: TypeAlias = "str | os.PathLike[str]"


def report(
    paths: _Path | Sequence[_Path],
    output: _Path | IO[str],
    *,
    read: bool = True,
    sample: int | None = SAMPLE,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    progress: bool | OnProgress = False,
    storage_options: StorageOptions | None = None,
) -> None:
    """Write what is in the checkpoint at `paths` as one page to look at in a browser, to the file `output`: a path,
    where a file that is there is replaced once the page is whole, or an open text file. Either gets UTF-8.

    Of several paths the one of the newest step is shown, and all of them beside one another. A checkpoint's step is
    what its user's dictionary has under "step", or else the last number of its name, or else its place in `paths`. The
    page asks nothing of the network, and takes nothing that a checkpoint says for markup.

    With `read` elements are read too: the floats' exponents are counted, in about `sample` bytes of them that are
    spread over the checkpoint, or in all if that is None, and several checkpoints are compared by their norms and by
    what changed, for which all of each is read. Needs no torch. What is damaged, of any of them, is listed in the page,
    and a DcpxWarning says so. The other arguments are those of `stats`; `progress` is told of each reading anew, and
    counts the elements' bytes.

    Raises what `inspect` raises, ReplacedError if another save has replaced a checkpoint meanwhile, SaveError if the
    page can't be written, and ValueError for wrong arguments.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise ValueError("a report needs the path of a checkpoint")
    if sample is not None and sample < 1:
        raise ValueError(f"sample must be a number of bytes, at least 1, or None for all of them, not {sample!r}")
    check_crew(threads, budget)
    look = partial(open_checkpoint, limits=limits, storage_options=storage_options)
    steps = in_order([_step(path, look(path)) for path in given]) if len(given) > 1 else []
    newest = look(steps[-1].path if steps else given[0])

    found = None
    if read:
        elements = Elements(newest, limits=limits)
        with telling(progress, f"reading {newest.path}") as tell, Crew(threads, budget) as crew:
            found = read_exponents(elements, crew, sample, tell)
        if found.problems:
            check_current(newest)
        steps = Measure(threads, budget, limits, progress, storage_options).compared(steps)
    summary = _looked_at(newest, codecs=read or None)
    problems = distinct((*summary.problems, *(found.problems if found is not None else ())))
    if steps:
        steps[-1] = replace(steps[-1], problems=distinct((*problems, *steps[-1].problems)))
    page = joined(f"{visible(newest.path)} - dcpx report", content(summary, found, steps, problems))
    if isinstance(output, (str, os.PathLike)):
        with new_file(output) as file:
            file.write(page.encode())
    else:
        _write(output, page)
    _warn([problem for step in steps for problem in step.problems] if steps else problems)


def _write(output: IO[str], page: str) -> None:
    """As UTF-8, which the page says of itself, whatever the encoding of an open file is."""
    binary = getattr(output, "buffer", None)
    if binary is None:
        output.write(page)
        return
    output.flush()
    binary.write(page.encode())
    binary.flush()


def _warn(problems: Sequence[DcpxError]) -> None:
    if problems:
        count = f"{len(problems):,} problem{'' if len(problems) == 1 else 's'}"
        warnings.warn(DcpxWarning(f"the page tells of {count}; the first: {problems[0]}"), stacklevel=3)


def _looked_at(opened: Opened, *, codecs: bool | None) -> Summary:
    """What a checkpoint says of itself; files that aren't wholly there are among its problems."""
    summary = summary_of(opened, codecs=codecs)
    lost = lost_files(opened.store, summary.files).values()
    return replace(summary, problems=[*distinct((*summary.problems, *lost))])


def _step(path: _Path, opened: Opened) -> Step:
    """The checkpoint among the others, with the step that its user's dictionary has."""
    summary = _looked_at(opened, codecs=False)
    said = summary.user.get("step")
    known = isinstance(said, (int, float)) and not isinstance(said, bool)
    names = frozenset(item.name for item in summary.items)
    number = said if known else None
    return Step(path, summary.path, summary.nbytes, summary.stored, number, names, tuple(summary.problems))
