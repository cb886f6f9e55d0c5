"""How pages say numbers, lists and lines, and the first sentence of what an author wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from pagedex.model.blocks import Bullets, Link, Paragraph, Run, Runs, ToLine

# A sentence ends with a dot, a question mark or an exclamation mark before a blank and no letter in lower case.
_SENTENCE_END = re.compile(r"[.!?](?:[\"')\]`]*)(?=\s+[^a-z\s]|\s*\Z)")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|Fig|No)|\b[A-Z])\Z")
_LONGEST_SENTENCE = 240


def number(value: int) -> str:
    return f"{value:,}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """``1 file``, ``2,300 files``; ``plural`` where it isn't the noun with an s."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def enumerated(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def first_paragraph(text: str) -> str:
    """What comes before the first blank line, on one line."""
    return " ".join(re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0].split())


def first_sentence(text: str) -> str:
    """The first sentence of a text, on one line; cut at a word where it is very long."""
    paragraph = first_paragraph(text)
    for end in _SENTENCE_END.finditer(paragraph):
        if not _ABBREVIATION.search(paragraph, 0, end.start()):
            paragraph = paragraph[: end.end()]
            break
    if len(paragraph) <= _LONGEST_SENTENCE:
        return paragraph
    return paragraph[:_LONGEST_SENTENCE].rpartition(" ")[0] + " …"


def joined(parts: Iterable[Runs], separator: str = ", ") -> Runs:
    """The runs of several parts with a separator between them."""
    runs: list[Run] = []
    for part in parts:
        if runs:
            runs.append(separator)
        runs += part
    return tuple(runs)


def some(parts: Sequence[Runs], most: int, separator: str = ", ") -> Runs:
    """The first parts with a separator between them, and how many more there are."""
    shown = joined(parts[:most], separator)
    return (*shown, f"{separator.rstrip()} and {len(parts) - most:,} more") if len(parts) > most else shown


def bullets(items: Sequence[Runs], most: int) -> Bullets:
    """The first items, and as the last one how many more there are."""
    more: list[Runs] = [(f"and {len(items) - most:,} more",)] if len(items) > most else []
    return Bullets([*items[:most], *more])


def paragraph(*runs: Run) -> Paragraph:
    return Paragraph(runs)


@lru_cache(maxsize=1 << 14)
def line_link(path: str, line: int) -> Link:
    """The number of a line, leading to it. Pages lead to the same few lines again and again."""
    return Link(f"{line}", ToLine(path, line))


def line_links(path: str, lines: Sequence[int], most: int) -> Runs:
    """``3, 17, 40, and 12 more``: each line leads to where it stands."""
    shown = joined([(line_link(path, line),) for line in lines[:most]])
    return (*shown, f", and {len(lines) - most:,} more") if len(lines) > most else shown


def span_link(path: str, line: int, end_line: int) -> Link:
    """``line 3`` or ``lines 3 to 17``, leading to the first of them."""
    return Link(f"line {line}" if end_line <= line else f"lines {line} to {end_line}", ToLine(path, line))
