"""`dcpx verify` and `latest`: whether checkpoints are whole, and what dead saves have left."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from ..errors import NotFoundError
from .options import a_path, as_json, exact_bytes, path_argument, print_json, storage, threads
from .text import printable, size_text

__all__ = ["latest", "verify"]

_STATUS = {"whole": 0, "damaged": 1, "unknown": 2}


@click.command()
@path_argument
@click.option("--quick", is_flag=True, help="Only names, sizes, the manifest and the items' headers.")
@click.option("--clean", is_flag=True, help="Say what dead saves have left, and remove it.")
@as_json
@exact_bytes
@threads
@storage
def verify(
    path: str,
    *,
    quick: bool,
    clean: bool,
    as_json: bool,
    exact: bool,
    threads: int | None,
    storage_options: dict[str, Any] | None,
) -> int:
    """Say whether the checkpoint at PATH is whole: exit status 0 for whole, 1 for damaged, 2 where it can't be told.

    Reads all of it and holds it against every checksum there is. Says what is damaged by file, bytes, item and chunk,
    and what can still be loaded.

    \b
    dcpx verify run/step-1000
    dcpx verify run/step-1000 --quick --json
    """
    from ..views.verify import verify as verified

    bar = sys.stderr.isatty() and not quick
    try:
        report = verified(path, quick=quick, threads=threads, progress=bar, storage_options=storage_options)
    except NotFoundError:
        if clean:  # a save that died may have been the first
            _clean(path, exact=exact, storage_options=storage_options)
        raise
    if as_json:
        print_json(report.to_json())
    else:
        for line in str(report).splitlines():
            click.echo(printable(line))
    if clean:
        _clean(path, exact=exact, storage_options=storage_options)
    return _STATUS[report.verdict]


def _clean(path: str, *, exact: bool, storage_options: dict[str, Any] | None) -> None:
    """On standard error, so that --json stays JSON."""
    from ..catalog.leftovers import find_leftovers, remove_leftovers

    for one in find_leftovers(path, storage_options=storage_options):
        what = f"{len(one.names)} files, {size_text(one.nbytes, exact=exact)}: {', '.join(one.names)}"
        click.echo(printable(f"left by the save {one.save}, which is {_STATES[one.state]}: {what}"), err=True)
    removed = remove_leftovers(path, storage_options=storage_options)
    click.echo(f"removed {sum(len(one.names) for one in removed)} files", err=True)


_STATES = {"running": "going on", "dead": "dead", "unknown": "another machine's, or unknown"}


@click.command()
@click.argument("directory", type=a_path)
@click.option("--quick", is_flag=True, help="Take one for whole by names, sizes, the manifest and headers.")
@as_json
@storage
def latest(directory: str, *, quick: bool, as_json: bool, storage_options: dict[str, Any] | None) -> int:
    """Print the path of the newest checkpoint below DIRECTORY that is whole, for scripts that resume.

    The newest is the one with the highest step, which the user dict says, or the name; else the one saved last. What is
    damaged is told on standard error, and passed over. Exit status 2 if there is none.

    \b
    torchrun train.py --resume "$(dcpx latest run)"
    """
    from ..views.latest import latest as newest

    found = newest(directory, quick=quick, storage_options=storage_options)
    for path, error in found.passed_over:
        click.echo(f"dcpx: {printable(error if error.startswith(path) else f'{path}: {error}')}", err=True)
    if as_json:
        print_json(found.to_json())
    elif found.path is not None:
        # To a script the bytes of the path, whatever they are; to a person nothing that a terminal obeys.
        click.echo(printable(found.path) if sys.stdout.isatty() else os.fsencode(found.path))
    else:
        click.echo(f"dcpx: no whole checkpoint below {printable(directory)}", err=True)
    return 0 if found.path is not None else 2
