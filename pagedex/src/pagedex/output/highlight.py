"""A source as lines of HTML: highlighted by Pygments, each line a place to link to, names linked to where they are
defined."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String, _TokenType
from pygments.util import ClassNotFound

# Above these a source is shown without colours: reading it would take longer than anybody waits.
_MOST_LINES = 20_000
_MOST_CHARACTERS = 2_000_000
_LONGEST_LINE = 5_000

# (column, length, address, title), ascending by column
LineLinks = Sequence[tuple[int, int, str, str]]

# The few classes that the style sheet colours; what isn't here has none.
_CLASSES: tuple[tuple[_TokenType, str], ...] = (
    (Comment.Preproc, "cp"),
    (Comment, "c"),
    (Keyword.Constant, "kc"),
    (Keyword.Type, "kt"),
    (Keyword, "k"),
    (Operator.Word, "k"),
    (Name.Builtin, "nb"),
    (Name.Class, "nc"),
    (Name.Function, "nf"),
    (Name.Decorator, "nd"),
    (Name.Exception, "nb"),
    (Name.Tag, "k"),
    (Name.Attribute, "nf"),
    (Name.Constant, "kc"),
    (String.Doc, "sd"),
    (String, "s"),
    (Number, "m"),
    (Generic.Heading, "nc"),
    (Generic.Subheading, "nc"),
    (Generic.Deleted, "gd"),
    (Generic.Inserted, "gi"),
    (Generic.Emph, "ge"),
    (Generic.Strong, "gs"),
)


def lines(text: str, lexer: str, links: Callable[[int], LineLinks] = lambda line: ()) -> Iterator[str]:
    """Each line of ``text`` (separated by ``\\n`` alone) as HTML, without a line's end. ``links`` gives those of a
    line."""
    every = text.split("\n")
    if every[-1] == "":
        every.pop()
    for number, tokens in enumerate(_tokens(text, every, lexer), 1):
        yield _line(tokens, links(number))


def plain(text: str, lexer: str) -> str:
    """A piece of code as HTML, highlighted."""
    return "\n".join(lines(text, lexer))


_Tokens = list[tuple[str, str]]  # class, text


def _tokens(text: str, every: list[str], lexer: str) -> Iterator[_Tokens]:
    longest = max(map(len, every), default=0)
    if len(every) > _MOST_LINES or len(text) > _MOST_CHARACTERS or longest > _LONGEST_LINE or lexer == "text":
        return iter([("", line)] for line in every)
    found = _highlighted(text, lexer)
    # A lexer that changes the text would show another file.
    if (
        found is None
        or len(found) < len(every)
        or any("".join(part for _, part in one) != line for one, line in zip(found, every, strict=False))
    ):
        return iter([("", line)] for line in every)
    return iter(found[: len(every)])


def _highlighted(text: str, name: str) -> list[_Tokens] | None:
    lexer = _lexer(name)
    if lexer is None:
        return None
    found: list[_Tokens] = []
    line: _Tokens = []
    for kind, value in lexer.get_tokens(text):
        style = _class(kind)
        first, *more = value.split("\n")
        if first:
            line.append((style, first))
        for part in more:
            found.append(line)
            line = [(style, part)] if part else []
    found.append(line)
    return found


def _line(tokens: _Tokens, links: LineLinks) -> str:
    pieces: list[str] = []
    column, shown, index = 0, 0, 0
    for style, text in tokens:
        if shown + len(text) > _LONGEST_LINE:
            text = text[: _LONGEST_LINE - shown]
        start = 0
        while index < len(links) and links[index][0] < column + len(text):
            at, length, address, title = links[index]
            begin, end = at - column, at + length - column
            if begin < start or length <= 0:
                index += 1  # overlaps the one before it
                continue
            pieces.append(_span(style, text[start:begin]))
            # A name is one token; a link that goes further ends with the token.
            inner = _span(style, text[begin:end])
            pieces.append(f'<a href="{html.escape(address)}" title="{html.escape(title)}">{inner}</a>')
            start = min(end, len(text))
            index += 1
        pieces.append(_span(style, text[start:]))
        column += len(text)
        shown += len(text)
        if shown >= _LONGEST_LINE:
            pieces.append('<span class="cut"> … the line goes on; it is cut here</span>')
            break
    return "".join(pieces)


def _span(style: str, text: str) -> str:
    if not text:
        return ""
    escaped = html.escape(text, quote=False)
    return f'<span class="{style}">{escaped}</span>' if style else escaped


@cache
def _class(kind: _TokenType) -> str:
    return next((style for one, style in _CLASSES if kind in one), "")


@cache
def _lexer(name: str) -> Lexer | None:
    try:
        return get_lexer_by_name(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
