"""Options and arguments that several commands have."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["a_path", "as_json", "exact_bytes", "path_argument", "print_json", "storage", "threads"]

F = TypeVar("F", bound=Callable[..., Any])

a_path = click.Path()
"""A path or an address; a shell completes paths."""

path_argument = click.argument("path", type=a_path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, whose schema the guide has.")
exact_bytes = click.option("--bytes", "exact", is_flag=True, help="Print sizes to the byte.")
threads = click.option("--threads", type=click.IntRange(min=0), help="How many work; by default one for each core.")


def _storage_options(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, Any] | None:
    """KEY=VALUE of each, where a value that is JSON, such as true or 3, is what it says, and any other is text."""
    found: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{one!r} isn't KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found or None


storage = click.option(
    "--storage",
    "storage_options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_storage_options,
    help="An option for the client of an address's store, such as endpoint=http://host:9000.",
)


def print_json(value: object) -> None:
    """Print it on standard output, in ASCII: nothing in it is anything to a terminal."""
    click.echo(json.dumps(value, indent=2, allow_nan=True))
