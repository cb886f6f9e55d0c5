"""The commands and their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pagedex import __version__
from pagedex.building.build import Options, build
from pagedex.cli.progress import Bar
from pagedex.output.site import FORMS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""A page for every file of a repository and an index for every page; every statement leads to a file and a line.

    It reads what it documents and never imports or runs it.
    """,
)

OUTPUT = "pagedex-out"

Root = Annotated[Path, typer.Argument(help="The repository, or a folder of one.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The output's folder.")]
Only = Annotated[list[str] | None, typer.Option(help="Only what matches, as in .gitignore; may be repeated.")]
Exclude = Annotated[list[str] | None, typer.Option(help="Nothing that matches, as in .gitignore; may be repeated.")]
Cache = Annotated[
    Path | None, typer.Option("--cache", help="Where builds keep what they read; by default the user's cache.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pagedex {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command("build")
def build_command(
    root: Root = Path("."),
    out: Out = Path(OUTPUT),
    name: Annotated[str, typer.Option(help="The repository's name on the pages; by default the folder's.")] = "",
    form: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(FORMS)}; may be repeated.")] = None,
    only: Only = None,
    exclude: Exclude = None,
    largest: Annotated[int, typer.Option(help="Files above this many bytes are named and not read.")] = 8 << 20,
    source_url: Annotated[
        str, typer.Option(help="Where Markdown's citations lead: an address with {revision}, {path} and {line}.")
    ] = "",
    processes: Annotated[int, typer.Option(help="How many read and write; 0: one a core.")] = 0,
    cache: Cache = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List every file that could be read in part only.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> None:
    """Document a repository: Markdown, a static site and JSON, side by side.

    The first build reads everything; the next one what changed. The site opens by double click.

    **Examples**

        pagedex build                                  # this folder, into ./pagedex-out
        pagedex build ~/src/project -o /tmp/pages
        pagedex build . --only src --exclude '*.min.js' --form html
        pagedex build . -o docs/code --source-url 'https://example.org/r/blob/{revision}/{path}#L{line}'
    """
    options = _options(root, out, only, exclude, cache, name=name, form=form, source_url=source_url)
    options = Options(**{**_fields(options), "largest": largest, "processes": processes})
    with Bar(quiet) as bar:
        summary = build(options, bar.advance)
    if not quiet:
        for line in summary.lines(verbose):
            typer.echo(line)
        typer.echo(f"{out}/index.html" if "html" in options.forms else f"{out}/index.md")


def _fields(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in Options.__slots__}
