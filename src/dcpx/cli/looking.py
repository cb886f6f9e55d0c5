"""`dcpx inspect`, `cat`, `stats`, `diff` and `estimate`: commands that only look."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click

from ..errors import CorruptError, DcpxError
from ..views.shown import named
from ..views.summary import Item, Summary
from ..views.summary import inspect as inspected
from ..views.tables import Table, shape_text
from ..views.tree import Node, fold, rows_of, tree_of
from .columns import Column, print_columns, print_wrapped
from .options import a_path, as_json, exact_bytes, path_argument, print_json, storage, threads
from .text import printable, ratio_text, size_text

__all__ = ["cat", "diff", "estimate", "inspect", "stats"]

_FITS = 40
"""Rows that a tree has at most unless a depth is given, so that it is seen at once."""

_SORTS: dict[str, Any] = {
    "name": lambda item: (item.name, item.own_rank or 0),
    "size": lambda item: -item.nbytes,
    "stored": lambda item: -item.stored,
    "ratio": lambda item: -(item.stored / item.nbytes if item.nbytes else 0),
}


@click.command()
@path_argument
@click.option("--items", is_flag=True, help="A row for each item, not for each module.")
@click.option("--depth", type=click.IntRange(min=1), help="Levels of modules; by default as many as fit 40 rows.")
@click.option("--sort", type=click.Choice(list(_SORTS)), help="Order of the items, which it implies.")
@click.option("--filter", "pattern", metavar="GLOB", default="*", help="Only items whose names match, as '*.bias'.")
@as_json
@exact_bytes
@storage
def inspect(
    path: str,
    *,
    items: bool,
    depth: int | None,
    sort: str | None,
    pattern: str,
    as_json: bool,
    exact: bool,
    storage_options: dict[str, Any] | None,
) -> None:
    """Say what is in the checkpoint at PATH: dcpx's, or stock DCP's.

    Reads what the checkpoint says of itself and no tensor; nothing of it is run.

    \b
    dcpx inspect run/step-1000
    dcpx inspect run/step-1000 --filter '*.bias' --sort size
    """
    summary = inspected(path, pattern, storage_options=storage_options)
    if sort is not None:
        summary.items.sort(key=_SORTS[sort])
    if as_json:
        print_json(summary.to_json())
        return
    _print_head(summary, exact=exact)
    print()
    if items or sort is not None:
        _print_items(summary.items, exact=exact)
    else:
        _print_tree(fold(tree_of(summary.items)), depth, exact=exact)
    for problem in summary.problems:
        click.echo(f"dcpx: {printable(str(problem))}", err=True)


def _print_head(summary: Summary, *, exact: bool) -> None:
    what = f"{summary.kind} checkpoint"
    if summary.uuid is not None:
        ranks = f"{summary.world_size} rank{'' if summary.world_size == 1 else 's'}"
        what += f" {summary.uuid}, saved {summary.created} by dcpx {summary.dcpx} and torch {summary.torch}, {ranks}"
    shown = printable(summary.path)
    print_wrapped(f"{shown}: {printable(what)}", bold=len(shown))
    if summary.user:
        print_wrapped(printable(", ".join(f"{name}: {value}" for name, value in summary.user.items())))
    objects = len(summary.objects)
    tensors = len(summary.items) - objects
    print_wrapped(
        f"{_counted(tensors, 'tensor')} of {summary.numel:,} elements and {_counted(objects, 'object')}, "
        f"{size_text(summary.nbytes, exact=exact)}, stored in {size_text(summary.stored, exact=exact)} "
        f"({ratio_text(summary.stored, summary.nbytes)}) of {_counted(len(summary.files), 'file')}"
    )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


_COLUMNS = (
    Column("name"),
    Column("count", 4, right=True),
    Column("dtype", 1),
    Column("shape", 3),
    Column("size", 0, right=True),
    Column("stored", 2, right=True),
    Column("ratio", 1, right=True),
    Column("coding", 5),
    Column("files", 6, right=True),
)


def _print_tree(root: Node, depth: int | None, *, exact: bool) -> None:
    most = None
    if depth is None:
        depth, most = 1, _FITS
        while depth < 8 and len(list(islice(rows_of(root, depth + 1), _FITS + 1))) <= _FITS:
            depth += 1
    rows = []
    for level, node in islice(rows_of(root, depth), most):
        rows.append(
            (
                "  " * level + named(node.name),
                f"{node.count:,}" if node.count != 1 or node.item is None else "",
                ", ".join(node.dtypes),
                "" if node.item is None else shape_text(node.item.shape),
                size_text(node.nbytes, exact=exact),
                size_text(node.stored, exact=exact),
                ratio_text(node.stored, node.nbytes) if node.dtypes.keys() != {"object"} else "",
                ", ".join(node.codings),
                f"{len(node.files):,}",
            )
        )
    print_columns(_COLUMNS, rows)
    if left := sum(1 for _ in rows_of(root, depth)) - len(rows):
        print_wrapped(f"and {_counted(left, 'more row')}: --depth {depth} shows all of them")


def _print_items(items: list[Item], *, exact: bool) -> None:
    rows = [
        (
            named(item.name) if item.own_rank is None else f"rank {item.own_rank}: {named(item.name)}",
            "",
            item.dtype or "object",
            shape_text(item.shape),
            size_text(item.nbytes, exact=exact),
            size_text(item.stored, exact=exact),
            ratio_text(item.stored, item.nbytes) if item.dtype is not None else "",
            item.coding,
            f"{len({part.file for part in item.parts}):,}",
        )
        for item in items
    ]
    print_columns(_COLUMNS, rows)


@click.command()
@path_argument
@click.argument("fqn")
@click.option("--slice", "where", metavar="SLICES", default="", help="Which elements, as in NumPy: '0:10,:' or '-1'.")
@click.option("--rank", type=click.IntRange(min=0), help="Whose, where each rank has saved a checkpoint of its own.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=a_path,
    help="A file.npy or file.safetensors, or - for .npy on standard output.",
)
@storage
def cat(
    path: str,
    fqn: str,
    *,
    where: str,
    rank: int | None,
    output: str | None,
    storage_options: dict[str, Any] | None,
) -> None:
    """Print the tensor FQN of the checkpoint at PATH, or write it to a file.

    What NumPy has no dtype for is written as the numbers that it stands for to .npy, and as it is to .safetensors.

    \b
    dcpx cat run/step-1000 model.norm.weight
    dcpx cat run/step-1000 model.embed.weight --slice 0:10,: -o rows.npy
    """
    from ..views.extract import extract

    found = extract(path, fqn, where, rank=rank, storage_options=storage_options)
    if output is None:
        click.echo(f"{printable(fqn)}: {found.dtype} {'x'.join(map(str, found.shape)) or 'scalar'}")
        click.echo(found.to_text())
    elif output == "-":
        found.write_npy(sys.stdout.buffer)
    else:
        found.save(Path(output))


@click.command()
@path_argument
@click.argument("pattern", metavar="[GLOB]", default="*")
@as_json
@threads
@storage
def stats(
    path: str, pattern: str, *, as_json: bool, threads: int | None, storage_options: dict[str, Any] | None
) -> int:
    """Minimum, maximum, mean, norm, zeros, NaNs and infinities of each tensor whose name matches.

    The first thing to look at when a loss explodes; minimum to norm are of the finite elements. The exit status is 1 if
    a tensor is damaged, 2 if one can't be read otherwise.

    \b
    dcpx stats run/step-1000 'model.*'
    """
    from ..views.stats import stats as counted

    found = counted(path, pattern, threads=threads, progress=sys.stderr.isatty(), storage_options=storage_options)
    if as_json:
        print_json(found.to_json())
    else:
        _print_table(found.table(), ("max", "nan", "inf", "norm", "min", "mean", "zeros", "error", "shape", "dtype"))
    return _status(found.errors)


@click.command()
@click.argument("a", type=a_path)
@click.argument("b", type=a_path)
@click.argument("pattern", metavar="[GLOB]", default="*")
@click.option("--fail-if-different", is_flag=True, help="Exit with status 1 if there is any difference.")
@as_json
@threads
@storage
def diff(
    a: str,
    b: str,
    pattern: str,
    *,
    fail_if_different: bool,
    as_json: bool,
    threads: int | None,
    storage_options: dict[str, Any] | None,
) -> int:
    """Compare the checkpoints at A and B, item by item and bit for bit.

    \b
    dcpx diff run/step-900 run/step-1000
    dcpx diff run/step-900 run/step-1000 'optimizer.*' --json
    """
    from ..views.diff import diff as compared

    found = compared(a, b, pattern, threads=threads, progress=sys.stderr.isatty(), storage_options=storage_options)
    if as_json:
        print_json(found.to_json())
    else:
        for line in str(found).splitlines():
            print_wrapped(printable(line))
        _print_table(found.table(), ("change", "changed", "max", "nan", "inf", "relative", "mean", "error"))
    return int(fail_if_different and not found.is_same)


@click.command()
@path_argument
@as_json
@exact_bytes
@storage
def estimate(path: str, *, as_json: bool, exact: bool, storage_options: dict[str, Any] | None) -> int:
    """What each of dcpx's levels would give on this checkpoint: bytes, and seconds that this machine's processors take
    to encode and decode them, besides what a save or a load does with files.

    The exit status is 1 if a tensor is damaged, 2 if one can't be read otherwise.

    \b
    dcpx estimate run/step-1000
    """
    from ..views.estimate import estimate as estimated

    found = estimated(path, progress=sys.stderr.isatty(), storage_options=storage_options)
    if as_json:
        print_json(found.to_json())
    else:
        _print_table(found.table(), ("level", "stored", "ratio", "encoded", "decoded", "bytes"), exact=exact)
    return _status(found.errors)


def _status(errors: list[DcpxError]) -> int:
    """The exit status of a command that went on past these errors, which are told in a line."""
    if not errors:
        return 0
    damage = [error for error in errors if isinstance(error, CorruptError)]
    items = len({error.where.item for error in errors})
    what = f"{'is' if items == 1 else 'are'} damaged" if damage else "can't be read"
    if 0 < len(damage) < len(errors):
        what += " or can't be read"
    first = printable(str((damage or errors)[0]))
    click.echo(f"dcpx: {_counted(items, 'tensor')} {what}; the first: {first}", err=True)
    return 1 if damage else 2


def _print_table(table: Table, important: Sequence[str] = (), *, exact: bool = False) -> None:
    """A table of a view: its first column a name, the others numbers to the right where they are. Where there is no
    room for all, `important` ones are kept, the first of them the longest."""
    order = [*important, *(title for title in table.columns if title not in important)]
    columns = [
        Column(
            title,
            order.index(title),
            right=number > 0 and not any(isinstance(row[number], str) for row in table.rows),
            long=title == "error",
        )
        for number, title in enumerate(table.columns)
    ]
    print_columns(columns, list(table.texts(exact=exact)))
