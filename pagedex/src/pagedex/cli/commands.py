"""The commands and their arguments."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from pagedex import __version__
from pagedex.building.build import build, read_only
from pagedex.building.cache import default_folder
from pagedex.building.options import Options
from pagedex.building.summary import Summary
from pagedex.checking.docstrings import undocumented
from pagedex.checking.links import check_links
from pagedex.cli.progress import Bar
from pagedex.cli.shown import harmless, shown
from pagedex.errors import PagedexError
from pagedex.output.site import FORMS
from pagedex.search.index import from_scripts
from pagedex.search.ranking import search
from pagedex.serving import serve

OUTPUT = Path("pagedex-out")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A page for every file of a repository and an index for every page; every statement leads to a file and a "
    "line. It reads what it documents and never runs it.",
)

Root = Annotated[Path, typer.Argument(help="The repository, or a folder of one.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The output's folder.")]
Name = Annotated[str, typer.Option(help="The repository's name on the pages; by default the folder's.")]
Form = Annotated[list[str] | None, typer.Option(help=f"{', '.join(FORMS)}; may be repeated. By default all.")]
Only = Annotated[list[str] | None, typer.Option(help="Only what matches, as in .gitignore; may be repeated.")]
Exclude = Annotated[list[str] | None, typer.Option(help="Nothing that matches, as in .gitignore; may be repeated.")]
Largest = Annotated[int, typer.Option(help="Files above this many bytes are named and not read.")]
SourceUrl = Annotated[
    str, typer.Option(help="Where Markdown's citations lead: an address with {revision}, {path} and {line}.")
]
Link = Annotated[
    list[str] | None,
    typer.Option(help="TEXT=ADDRESS at the top of every page, as seen from the output; may be repeated."),
]
Rendered = Annotated[
    list[str] | None,
    typer.Option(help="FOLDER=ADDRESS: documents that are pages elsewhere too, where search leads; may be repeated."),
]
Processes = Annotated[int, typer.Option(help="How many read and write at a time; 0: one a core.")]
Cache = Annotated[
    Path | None, typer.Option(help="Where builds keep what they read; by default the user's cache folder.")
]


def _say(text: str, *, err: bool = False) -> None:
    """Text of a repository's for a terminal, which would obey the control characters in it."""
    typer.echo(harmless(text), err=err)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pagedex {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    pass


@app.command("build")
def build_command(
    root: Root = Path("."),
    out: Out = OUTPUT,
    name: Name = "",
    form: Form = None,
    only: Only = None,
    exclude: Exclude = None,
    largest: Largest = 8 << 20,
    source_url: SourceUrl = "",
    link: Link = None,
    rendered: Rendered = None,
    processes: Processes = 0,
    cache: Cache = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every file that was read in part.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> None:
    """Document a repository: Markdown, a static site and JSON, side by side.

    The first build reads everything, the next one what changed. The site opens by double click, from the disk.

    `pagedex build` documents this folder into ./pagedex-out

    `pagedex build ~/src/project -o /tmp/pages --form html`

    `pagedex build . --only src --exclude '*.min.js'`

    `pagedex build . -o docs/code --source-url 'https://example.org/r/blob/{revision}/{path}#L{line}'`
    """
    options = _options(root, out, name, form, only, exclude, largest, source_url, link, rendered, processes, cache)
    with Bar(quiet) as bar:
        summary = build(options, bar.advance)
    if not quiet:
        for line in summary.lines(verbose):
            _say(line.replace("\n", "\\n"))
        typer.echo(str(out / ("index.html" if "html" in options.forms else "index.md")))


@app.command("search")
def search_command(
    words: Annotated[list[str], typer.Argument(help="Names, parts of names, words, paths.")],
    out: Out = OUTPUT,
    limit: Annotated[int, typer.Option(help="So many at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Search an output: definitions before uses before words; a mistyped letter still finds.

    `pagedex search zstd truncated`

    `pagedex search FileSystemWriter.write_data -o /tmp/pages`

    The exit status is 1 where nothing is found.
    """
    index = from_scripts(lambda script: _read(out / "_pagedex" / script))
    hits = search(index, " ".join(words), limit)
    for hit in hits:
        if as_json:
            typer.echo(json.dumps({"title": hit.title, "kind": hit.kind, "path": hit.path, "line": hit.line}))
        else:
            _say(f"{hit.path}:{hit.line}: {hit.kind} {hit.title}" if hit.line else f"{hit.path}: {hit.kind}")
    if not hits:
        raise typer.Exit(1)


@app.command("show")
def show_command(
    what: Annotated[str, typer.Argument(metavar="FILE[:NAME]", help="A file of the repository; a definition in it.")],
    out: Out = OUTPUT,
    plain: Annotated[bool, typer.Option("--plain", help="Markdown as it is, also on a terminal.")] = False,
) -> None:
    """Show a file's page, or a definition of it, in the terminal.

    `pagedex show src/app/store.py`

    `pagedex show src/app/store.py:Store.open`
    """
    text = shown(out, what)
    if plain or not sys.stdout.isatty():
        _say(text)
    else:
        Console().print(Markdown(harmless(text)))


@app.command("check")
def check_command(
    root: Root = Path("."),
    out: Out = OUTPUT,
    only: Only = None,
    exclude: Exclude = None,
    cache: Cache = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail for public definitions without a docstring too.")
    ] = False,
) -> None:
    """Check an output: every link and every citation leads somewhere; public definitions without a docstring are
    listed.

    `pagedex check . -o docs/code`

    The exit status is 1 where a link is broken, with --strict also where a docstring is missing.
    """
    options = _options(root, out, only=only, exclude=exclude, cache=cache)
    repository = read_only(options)
    bare = [*undocumented(repository)]
    for place in bare:
        one = repository.definition(place)
        _say(f"{repository.files[place.file].display}:{one.line}: {one.kind} {one.qualname} has no docstring")
    if not (out / "_pagedex").is_dir():
        raise PagedexError(f"{str(out)!r} is no output of pagedex: build it first, or name it with --out")
    checked = check_links(str(out), str(root))
    for page, target, why in checked.broken:
        _say(f"{page}: {target}: {why}")
    typer.echo(
        f"{checked.pages} pages, {checked.links} links, {checked.citations} of them to a line, {checked.outside} to "
        f"the network (not followed): {len(checked.broken)} broken; {len(bare)} public definitions without a docstring"
    )
    if checked.broken or (strict and bare):
        raise typer.Exit(1)


@app.command("serve")
def serve_command(
    root: Root = Path("."),
    out: Out = OUTPUT,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0: a free one.")] = 8000,
    name: Name = "",
    only: Only = None,
    exclude: Exclude = None,
    largest: Largest = 8 << 20,
    source_url: SourceUrl = "",
    link: Link = None,
    rendered: Rendered = None,
    processes: Processes = 0,
    cache: Cache = None,
) -> None:
    """Build, serve the site on this machine, and build again as files change, until Ctrl-C.

    `pagedex serve . --port 8080`
    """
    options = _options(root, out, name, None, only, exclude, largest, source_url, link, rendered, processes, cache)

    def built(summary: Summary, address: str) -> None:
        typer.echo(f"{address}  {summary.written} files written in {summary.seconds:.1f} s")

    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    serve(options, port, built, lambda error: typer.echo(f"pagedex: {error}", err=True), stop)


def _options(
    root: Path,
    out: Path,
    name: str = "",
    form: list[str] | None = None,
    only: list[str] | None = None,
    exclude: list[str] | None = None,
    largest: int = 8 << 20,
    source_url: str = "",
    link: list[str] | None = None,
    rendered: list[str] | None = None,
    processes: int = 0,
    cache: Path | None = None,
) -> Options:
    unknown = [one for one in form or () if one not in FORMS]
    if unknown:
        raise PagedexError(f"there is no form {unknown[0]!r}: it is one of {', '.join(FORMS)}")
    if source_url and not source_url.lower().startswith(("https://", "http://")):
        raise PagedexError("--source-url is an address that begins with https:// or http://")
    return Options(
        root=str(root),
        output=str(out),
        name=name,
        forms=tuple(form or FORMS),
        only=tuple(only or ()),
        exclude=tuple(exclude or ()),
        largest=largest,
        source_url=source_url,
        links=_pairs(link, "--link", "TEXT"),
        rendered=_pairs(rendered, "--rendered", "FOLDER"),
        processes=processes,
        cache=cache or default_folder(),
    )


def _pairs(given: list[str] | None, option: str, first: str) -> tuple[tuple[str, str], ...]:
    for one in given or ():
        if "=" not in one:
            raise PagedexError(f"{option} is {first}=ADDRESS, not {one!r}")
    return tuple((one.partition("=")[0], one.partition("=")[2]) for one in given or ())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PagedexError(
            f"{str(path)!r} can't be read ({error.strerror}): build first, or name the output with --out"
        ) from error
