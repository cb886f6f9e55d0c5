"""What handlers of a tree-sitter grammar take and give: nodes of a parsed text, and definitions as they are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pagedex.languages.looks import Looks
from pagedex.model.facts import Import

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(slots=True)
class Found:
    """A definition as a handler tells it. ``whole`` is all of it, ``body`` what its signature leaves out; ``scope`` is
    what the name itself says that it belongs to, as in ``Class::method``."""

    kind: str
    name: Node | str
    whole: Node
    body: Node | None = None
    scope: str = ""
    labels: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    decorators: tuple[str, ...] = ()
    value: str = ""
    public: bool = True
    open: bool = False  # what stands in it is public without saying so


@dataclass(slots=True)
class Scope:
    """What a node stands in: a definition, or a wrapper around one, such as ``template <...>`` or ``export``. ``start``
    and ``row`` are those of the outermost wrapper."""

    end: int
    start: int
    row: int
    kind: str = ""
    name: str = ""
    index: int = -1
    qualname: str = ""
    public: bool = True
    local: bool = False  # inside a function
    wrapper: bool = False
    open: bool = False
    access: str = ""  # C++: of the members that follow

    def wrapping(self, end: int, start: int, row: int) -> Scope:
        """The scope of a wrapper that stands in this one."""
        return replace(self, end=end, start=start, row=row, wrapper=True)

    def hidden(self, end: int) -> Scope:
        """The scope of a namespace without a name that stands in this one."""
        return replace(self, end=end, public=False, wrapper=False)

    def command(self, end: int) -> Scope:
        """The scope of a shell's command that stands in this one."""
        return replace(self, end=end, kind="command", wrapper=False)

    def closure(self, end: int) -> Scope:
        """The scope of a function without a name that stands in this one."""
        return replace(self, end=end, kind="function", local=True, wrapper=False)


@dataclass(slots=True)
class Tree:
    """A parsed text: its bytes, those that were parsed, of the same number, and its lines as bytes."""

    data: bytes
    parsed: bytes
    root: Node
    lines: list[bytes]

    def of(self, node: Node | None) -> str:
        """The text of a node, whitespace squeezed; ``""`` of none."""
        return "" if node is None else self.slice(node.start_byte, node.end_byte)

    def slice(self, start: int, end: int) -> str:
        return " ".join(self.data[start:end].decode("utf-8", "replace").split())

    def beginning(self, node: Node) -> tuple[int, int]:
        """The byte and the row where a node begins, with the attributes before it that were blanked out."""
        start, row = node.start_byte, node.start_point[0]
        if self.parsed is not self.data:
            before = self.parsed[max(0, start - 200) : start]
            blanked = self.data[start - len(before) + len(before.rstrip()) : start].lstrip()
            if blanked and not blanked.startswith((b"/", b"\\")):
                return start - len(blanked), row - blanked.count(b"\n")
        return start, row

    def column(self, node: Node) -> int:
        row, column = node.start_point
        return len(self.lines[row][:column].decode("utf-8", "replace"))


Kinds = tuple[tuple[str, tuple[str, ...]], ...]
Handler = Callable[[Tree, "Node", list[Scope]], Iterable["Found | Import"]]


@dataclass(frozen=True)
class Grammar:
    """How a language is parsed. ``wrappers`` are kinds of nodes around a definition that belong to it, ``closures``
    functions without a name, ``local`` kinds that define nothing inside a function, ``hidden`` kinds whose text is no
    code, ``between`` kinds that may stand between a comment and what it documents. ``soften`` makes text of the same
    length that the grammar knows out of what it doesn't."""

    name: str
    lexer: str
    module: str
    handlers: Mapping[str, Handler]
    keywords: frozenset[str]
    looks: Looks
    comments: tuple[str, ...] = ("comment",)
    hidden: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    closures: tuple[str, ...] = ()
    local: frozenset[str] = frozenset()
    between: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()  # where given, only these kinds of nodes are identifiers
    function: str = "language"
    separator: str = "."
    token: str = r"\w+"
    preamble: str = r"$^"  # lines of code that may stand above the file's comment
    soften: Callable[[bytes], bytes] = bytes

    @cached_property
    def kinds(self) -> Kinds:
        """The kinds of nodes that are asked for, by the name under which they come."""
        return (
            ("node", (*self.handlers, *self.wrappers, *self.closures)),
            ("comment", self.comments),
            ("hidden", self.hidden),
            ("between", self.between),
            ("leaf", self.leaves),
        )


def last_row(node: Node) -> int:
    """The row of a node's last letter: some end with their line, where the next begins."""
    row, column = node.end_point
    return int(row) - 1 if column == 0 and row > node.start_point[0] else int(row)


def word_set(text: str) -> frozenset[str]:
    """The words of a table."""
    return frozenset(text.split())
