"""Sections of documents: from headings in their order to definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pagedex.model.facts import Definition

LONGEST_DOC = 600
_LONGEST_NAME = 200


@dataclass(slots=True)
class Heading:
    """A heading at ``row``, from 0; the text below it begins at ``below``. ``doc`` is the first paragraph there."""

    title: str
    level: int
    row: int
    below: int
    column: int = 0
    doc: str = ""
    doc_line: int = 0


def sections(headings: Sequence[Heading], lines: Sequence[str]) -> list[Definition]:
    """The sections of a document: each ends before the next heading of its level or a higher one."""
    found: list[Definition] = []
    open_: list[tuple[int, int]] = []  # level and index of the sections around
    for heading in headings:
        _close(found, open_, heading.level, heading.row, lines)
        parent = open_[-1][1] if open_ else -1
        name = bounded(heading.title, _LONGEST_NAME) or "(untitled)"
        around = found[parent].qualname + " > " if parent >= 0 else ""
        line = heading.row + 1
        found.append(
            Definition(
                name,
                around + name,
                "section",
                line,
                line,
                heading.column,
                doc=heading.doc,
                doc_line=heading.doc_line,
                parent=parent,
            )
        )
        open_.append((heading.level, len(found) - 1))
    _close(found, open_, 0, len(lines), lines)
    return found


def _close(found: list[Definition], open_: list[tuple[int, int]], level: int, row: int, lines: Sequence[str]) -> None:
    while row > 0 and not lines[row - 1].strip():
        row -= 1
    while open_ and open_[-1][0] >= level:
        section = found[open_.pop()[1]]
        section.end_line = max(row, section.line)


def bounded(text: str, longest: int) -> str:
    """A text with its whitespace squeezed, cut off after ``longest`` letters."""
    text = " ".join(text[: 8 * longest].split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
