"""Columns of text that fit the terminal: where it is narrow the least important ones are left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from .text import printable

__all__ = ["Column", "print_columns", "styled", "terminal_width"]

_GAP = 2
_NARROWEST = 10
"""Cells that a name keeps when all else was left out."""


@dataclass(frozen=True)
class Column:
    """Of those that don't fit the ones with the highest `rank` are left out first; the first column never is. Numbers
    go to the `right`."""

    title: str
    rank: int = 0
    right: bool = False


def terminal_width() -> int | None:
    """Cells in a line of the terminal; None where standard output is none, so that nothing need be cut."""
    if not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns


def styled(text: str, code: str) -> str:
    """In a colour or weight, by its ANSI code, on a terminal that wants any: NO_COLOR says that it doesn't."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def print_columns(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print the rows below their titles. Cells are made harmless here; the first column is cut in its middle where the
    terminal is too narrow for it."""
    width = terminal_width()
    cells = [[printable(cell) for cell in row] for row in rows]
    used = [number for number, _ in enumerate(columns) if number == 0 or any(row[number] for row in cells)]
    widths = [max(map(cell_len, (one.title, *(row[number] for row in cells)))) for number, one in enumerate(columns)]
    if width is not None:
        least = min(widths[0], max(_NARROWEST, width // 3))
        while len(used) > 1 and least + sum(widths[number] + _GAP for number in used[1:]) > width:
            used.remove(max(used[1:], key=lambda number: columns[number].rank))
        room = width - sum(widths[number] + _GAP for number in used[1:])
        widths[0] = min(widths[0], max(room, 1))
    print(styled(_line(columns, used, widths, [column.title for column in columns]), "1"))
    for row in cells:
        print(_line(columns, used, widths, row))


def _line(columns: Sequence[Column], used: Sequence[int], widths: Sequence[int], row: Sequence[str]) -> str:
    parts = []
    for number in used:
        text = _cut(row[number], widths[number])
        fill = " " * (widths[number] - cell_len(text))
        parts.append(fill + text if columns[number].right else text + fill)
    return (" " * _GAP).join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    """The text in so many cells: its begin and its end, which tells more of a name."""
    if cell_len(text) <= width:
        return text
    indent = len(text) - len(text.lstrip())
    head = max(min(indent + (width - indent) // 3, width - 1), 0)
    tail = width - 1 - head
    return set_cell_size(text, head) + "…" + (text[len(text) - tail :] if tail else "")
