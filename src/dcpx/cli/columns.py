"""Columns of text that fit the terminal: where it is narrow the least important ones are left out."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from .text import printable

__all__ = ["Column", "print_columns", "print_wrapped", "styled", "terminal_width"]

_GAP = 2
_NARROWEST = 10
"""Cells that a name keeps beside what is vital, and a text that gives way to others."""

_READABLE = 24
"""Cells that a name keeps beside all else, or half of the line: fewer don't tell one from another."""

_VITAL = 2
"""The highest rank of what is worth more than a readable name."""


@dataclass(frozen=True)
class Column:
    """Of those that don't fit the ones with the highest `rank` are left out first; the first column never is. Numbers
    go to the `right`. What is `long` is cut before it is left out, as the first column is."""

    title: str
    rank: int = 0
    right: bool = False
    long: bool = False


def terminal_width() -> int | None:
    """Cells in a line of the terminal, 80 where it doesn't know; None where standard output is none, so that nothing
    need be cut."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, _NARROWEST)


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
        used = _fit(columns, used, widths, width)
    print(styled(_line(columns, used, widths, [column.title for column in columns]), "1"))
    for row in cells:
        print(_line(columns, used, widths, row))


def _fit(columns: Sequence[Column], used: list[int], widths: list[int], width: int) -> list[int]:
    """The columns that have room, whose `widths` are made to fit: what is long gets what others leave."""
    least = [
        min(size, _NARROWEST) if number == 0 or columns[number].long else size for number, size in enumerate(widths)
    ]
    readable = min(widths[0], width // 2, max(_READABLE, width // 3))
    used = list(used)
    while len(used) > 1:
        last = max(used[1:], key=lambda number: columns[number].rank)
        name = least[0] if columns[last].rank <= _VITAL else max(least[0], readable)
        if name + sum(_GAP + least[number] for number in used[1:]) <= width:
            break
        used.remove(last)
    left = width + _GAP - sum(least[number] + _GAP for number in used)
    for number in used:
        more = min(widths[number] - least[number], left)
        widths[number] = least[number] + more
        left -= more
    return used


def _line(columns: Sequence[Column], used: Sequence[int], widths: Sequence[int], row: Sequence[str]) -> str:
    parts = []
    for number in used:
        text = _cut(row[number], widths[number])
        fill = " " * (widths[number] - cell_len(text))
        parts.append(fill + text if columns[number].right else text + fill)
    return (" " * _GAP).join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    """The text in so many cells: its begin and its end, which tells more of a name, and less of what it is indented."""
    if cell_len(text) <= width:
        return text
    name = text.lstrip()
    indent = min(len(text) - len(name), width // 3)
    room = width - indent
    if cell_len(name) > room:
        head = _begin(name, (room - 1) // 3)
        name = f"{head}…{_begin(name[::-1], room - 1 - cell_len(head))[::-1]}"
    return " " * indent + name


def _begin(text: str, width: int) -> str:
    """As many characters from the first on as so many cells hold; a wide one may leave the last cell free."""
    used = 0
    for number, one in enumerate(text):
        used += cell_len(one)
        if used > width:
            return text[:number]
    return text


def print_wrapped(text: str, bold: int = 0) -> None:
    """Print lines of text that fit the terminal, the first `bold` characters bold. It is made harmless before."""
    width = terminal_width()
    for line in [text] if width is None else _wrapped(text, width):
        print(styled(line[:bold], "1") + line[bold:] if bold > 0 else line)
        bold -= len(line) + 1


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of so many cells, broken at spaces; a word that is longer than a line is broken anywhere."""
    line = ""
    for word in text.split(" "):
        if line and cell_len(line) + 1 + cell_len(word) <= width:
            line = f"{line} {word}"
            continue
        if line:
            yield line
        while cell_len(word) > width:
            begin = _begin(word, width)
            yield begin
            word = word[len(begin) :]
        line = word
    yield line
