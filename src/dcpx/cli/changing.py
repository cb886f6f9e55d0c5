"""`dcpx convert`, `recode` and `report`: commands that write something new."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .options import a_path, exact_bytes, storage, threads
from .text import printable, size_text

__all__ = ["convert", "recode", "report"]

_overwrite = click.option("--overwrite", is_flag=True, help="Replace what is at DST, at one moment.")
_no_verify = click.option("--no-verify", is_flag=True, help="Don't read what was written once more to compare it.")


@click.command()
@click.argument("src", type=a_path)
@click.argument("dst", type=a_path)
@click.option(
    "--to",
    type=click.Choice(["dcpx", "dcp", "safetensors", "huggingface", "torch"]),
    help="The format; by default what DST's name says, else dcpx.",
)
@click.option("--dtype", help="Cast what is floating point to it, as bfloat16.")
@click.option("--names", metavar="FILE", type=a_path, help="A JSON object of new names by old ones.")
@click.option("--skip-objects", is_flag=True, help="Leave out what is no tensor where the format can't hold it.")
@_overwrite
@_no_verify
@exact_bytes
@threads
@storage
def convert(
    src: str,
    dst: str,
    *,
    to: str | None,
    dtype: str | None,
    names: str | None,
    skip_objects: bool,
    overwrite: bool,
    no_verify: bool,
    exact: bool,
    threads: int | None,
    storage_options: dict[str, Any] | None,
) -> None:
    """Convert between dcpx, stock DCP, safetensors, Hugging Face's directories and torch.save's files. Needs torch.

    \b
    dcpx convert model.safetensors ckpt
    dcpx convert run/step-1000 step-1000.safetensors --skip-objects
    dcpx convert hf-model/ ckpt --dtype bfloat16
    """
    import json

    try:
        table = None if names is None else json.loads(Path(names).read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.BadParameter(f"{names} holds no JSON: {error}") from error
    if table is not None and not isinstance(table, dict):
        raise click.BadParameter(f"{names} holds no JSON object")
    _convert(
        src,
        dst,
        exact=exact,
        to=to,
        dtype=dtype,
        names=table,
        skip_objects=skip_objects,
        overwrite=overwrite,
        verify=not no_verify,
        threads=threads,
        storage_options=storage_options,
    )


@click.command()
@click.argument("src", type=a_path)
@click.argument("dst", type=a_path)
@click.option("--level", type=click.Choice(["fast", "small", "plain"]), default="fast", show_default=True)
@_overwrite
@_no_verify
@exact_bytes
@threads
@storage
def recode(
    src: str,
    dst: str,
    *,
    level: str,
    overwrite: bool,
    no_verify: bool,
    exact: bool,
    threads: int | None,
    storage_options: dict[str, Any] | None,
) -> None:
    """Write the checkpoint SRC to DST at another level: fast, small, or plain without any coding. Needs torch.

    \b
    dcpx recode run/step-1000 archive/step-1000 --level small
    """
    from ..extensions.pack import Pack

    _convert(
        src,
        dst,
        exact=exact,
        to="dcpx",
        pack=None if level == "plain" else Pack(level=level),
        overwrite=overwrite,
        verify=not no_verify,
        threads=threads,
        storage_options=storage_options,
    )


def _convert(src: str, dst: str, *, exact: bool, dtype: str | None = None, **options: Any) -> None:
    from ..formats.conversion import convert as converted

    if "-" in (src, dst):
        raise click.BadParameter("what is converted can't be streamed. Name a file, or ./- for one of this name")
    if dtype is not None:
        import torch

        options["dtype"] = getattr(torch, dtype.removeprefix("torch."), None)
        if not isinstance(options["dtype"], torch.dtype):
            raise click.BadParameter(f"{dtype!r} is no dtype of torch's")
    done = converted(src, dst, **options)
    size = size_text(done.nbytes, exact=exact)
    left_out = f"; left out: {', '.join(done.left_out)}" if done.left_out else ""
    click.echo(printable(f"{dst}: {done.kind}, {done.tensors:,} tensors, {size}{left_out}"))


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=a_path)
@click.option("-o", "--output", metavar="FILE", type=a_path, required=True, help="The page, or - for standard output.")
@click.option("--no-read", is_flag=True, help="Read no tensor: without histograms of exponents, norms and changes.")
@threads
@storage
def report(
    paths: tuple[str, ...],
    output: str,
    *,
    no_read: bool,
    threads: int | None,
    storage_options: dict[str, Any] | None,
) -> None:
    """Write one self-contained HTML page about the checkpoints at PATH...: what is in them, and how it changed.

    \b
    dcpx report run/step-1000 -o report.html
    dcpx report run/step-* -o report.html
    """
    from ..views.report.make import report as reported

    bar = sys.stderr.isatty()
    target = sys.stdout if output == "-" else output
    reported(paths, target, read=not no_read, threads=threads, progress=bar, storage_options=storage_options)
