"""`report`: looks at checkpoints and writes the page."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from ...catalog.limits import Limits
from ...errors import SaveError, Where
from ...parallel import DEFAULT_BUDGET, Crew, check_crew
from ...progress import OnProgress, telling
from ...registry import ExtensionRegistry, default_registry
from ...store.address import StorageOptions
from ..elements import Elements
from ..opened import open_checkpoint
from ..summary import Summary, summary_of
from .content import content
from .exponents import Read, read_exponents
from .joined import joined
from .measures import changed_share, total_norm
from .shown import visible
from .steps import Step, steps_of

__all__ = ["SAMPLE", "report", "report_page"]

SAMPLE = 1 << 30
"""Bytes of elements of which exponents are counted, of one checkpoint."""

_Path: TypeAlias = "str | os.PathLike[str]"


def report(
    paths: _Path | Sequence[_Path],
    output: _Path,
    *,
    read: bool = True,
    sample: int | None = SAMPLE,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    registry: ExtensionRegistry | None = None,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    progress: bool | OnProgress = False,
    storage_options: StorageOptions | None = None,
) -> Path:
    """Write what is in the checkpoint at `paths` as one page to look at in a browser, to the file `output`, which it
    returns; a file that is there is replaced once the page is whole.

    Of several paths the one of the newest step is shown, and all of them beside one another: the step is what the user's
    dictionary has under "step", or else the last number of the name, or else the paths' order. The page asks nothing of
    the network, and takes nothing in a checkpoint for markup.

    With `read` the elements are read too: the floats' exponents are counted, in about `sample` bytes that are spread
    over the checkpoint, or in all of it if that is None, and steps are compared by their norms and by what they changed.
    Needs no torch. The other arguments are those of `verify`; `progress` counts the bytes of elements whose exponents
    are counted. Damage is listed in the page.

    Raises what `inspect` raises, SaveError if the page can't be written, and ValueError for wrong arguments.
    """
    target = Path(output)
    if target.is_dir():
        raise SaveError("it is a directory", Where(str(target)), "Choose a file's path")
    page = report_page(
        paths,
        read=read,
        sample=sample,
        threads=threads,
        budget=budget,
        registry=registry,
        limits=limits,
        progress=progress,
        storage_options=storage_options,
    )
    with _new_file(target) as file:
        file.write(page)
    return target


def report_page(
    paths: _Path | Sequence[_Path],
    *,
    read: bool = True,
    sample: int | None = SAMPLE,
    threads: int | None = None,
    budget: int = DEFAULT_BUDGET,
    registry: ExtensionRegistry | None = None,
    limits: Limits = Limits(),  # noqa: B008 (immutable)
    progress: bool | OnProgress = False,
    storage_options: StorageOptions | None = None,
) -> str:
    """As `report`, but the page is returned."""
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    check_crew(threads, budget)
    if not given:
        raise ValueError("paths is empty: a report needs a checkpoint")
    if sample is not None and sample < 1:
        raise ValueError(f"sample must be a number of bytes, at least 1, or None for all of them, not {sample!r}")

    def look(path: _Path, codecs: bool | None) -> Summary:
        return summary_of(open_checkpoint(path, limits=limits, storage_options=storage_options), codecs=codecs)

    newest, steps = given[0], []
    if len(given) > 1:
        summaries = [look(path, False) for path in given]
        steps = _steps(given, summaries, read)
        newest = given[max(range(len(given)), key=lambda number: steps_of_all(summaries)[number])]
    opened = open_checkpoint(newest, limits=limits, storage_options=storage_options)
    found: Read | None = None
    if read:
        elements = Elements(opened, registry or default_registry(), limits)
        with telling(progress, f"reading {opened.path}") as tell, Crew(threads, budget) as crew:
            found = read_exponents(elements, crew, sample, tell)
    name = visible(opened.path)
    return joined(f"{os.path.basename(name.rstrip('/')) or name} - dcpx report", content(summary_of(opened), found, steps))
