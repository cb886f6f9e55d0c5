"""What a page holds, as plain values that each output writes in its own way.

A page is a title and sections, a section is a title and blocks, a block holds runs of text. Nothing here is escaped:
outputs escape everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple


class ToLine(NamedTuple):
    """A line of a file: of its page's Original Source where that can be linked, else of the file itself."""

    path: str
    line: int


class ToPage(NamedTuple):
    """The page of a file, or a place in it: the anchor of a section or of a definition."""

    path: str
    anchor: str = ""


class ToKeywords(NamedTuple):
    """The keyword index of a file."""

    path: str


class ToFolder(NamedTuple):
    """A page of a folder: ``page`` is "index", "doc" or "sub"."""

    path: str
    page: str = "index"


class ToFile(NamedTuple):
    """The file itself, as it lies in the repository."""

    path: str


class ToLetter(NamedTuple):
    """The page of the A-Z with the words of one letter."""

    letter: str


class ToAddress(NamedTuple):
    """Outside the repository. Outputs link http and https only."""

    address: str


To = ToLine | ToPage | ToKeywords | ToFolder | ToFile | ToLetter | ToAddress


class Code(NamedTuple):
    """Text in a fixed pitch: a name, a piece of code on one line."""

    text: str


class Strong(NamedTuple):
    text: str


class Link(NamedTuple):
    text: str
    to: To
    code: bool = False  # in a fixed pitch


Run = str | Code | Strong | Link
Runs = tuple[Run, ...]


@dataclass(slots=True)
class Paragraph:
    runs: Runs


@dataclass(slots=True)
class Bullets:
    items: list[Runs]


@dataclass(slots=True)
class Table:
    """Every row has as many cells as the head."""

    head: tuple[str, ...]
    rows: list[tuple[Runs, ...]]


@dataclass(slots=True)
class Heading:
    """Inside a section. ``level`` counts from 3: sections are 2, the page's title is 1."""

    level: int
    runs: Runs
    anchor: str = ""


@dataclass(slots=True)
class Text:
    """What an author wrote: a docstring, a comment. Shown with its line breaks, never interpreted. ``names`` are words
    of it that lead somewhere."""

    text: str
    names: dict[str, To] = field(default_factory=dict)


@dataclass(slots=True)
class Fence:
    """A piece of code. ``first_line`` is the number of its first line in ``path``, where it comes from one."""

    text: str
    lexer: str = "text"
    path: str = ""
    first_line: int = 0


@dataclass(slots=True)
class Source:
    """A file from its first line to its last. ``links`` are (line, column, length, to, title), ascending; columns in
    characters from 0."""

    path: str
    text: str
    lexer: str
    links: list[tuple[int, int, int, To, str]] = field(default_factory=list)
    note: str = ""


@dataclass(slots=True)
class Picture:
    """A drawing of boxes in columns with arrows between them; ``alt`` says all that it shows in words."""

    alt: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[tuple[int, int]] = field(default_factory=list)  # from, to: indexes of boxes


@dataclass(slots=True)
class Box:
    text: str
    column: int
    to: To | None = None
    strong: bool = False


@dataclass(slots=True)
class Fold:
    """Blocks that are closed until they are asked for."""

    summary: Runs
    blocks: list[Block]


Block = Paragraph | Bullets | Table | Heading | Text | Fence | Source | Picture | Fold


@dataclass(slots=True)
class Section:
    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return anchor_of(self.title)


@dataclass(slots=True)
class Page:
    """``here`` is where the page is; ``about`` is the file's or folder's path; ``crumbs`` lead from the root to it."""

    title: str
    here: To
    about: str
    sections: list[Section]
    crumbs: list[Link] = field(default_factory=list)
    lead: list[Block] = field(default_factory=list)  # before the first section


@lru_cache(maxsize=1 << 14)
def anchor_of(title: str) -> str:
    """The anchor that code hosts give to a heading: lower case, spaces to hyphens, punctuation gone."""
    kept = (letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")
