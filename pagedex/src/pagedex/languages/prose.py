"""Code inside of documents: the names that it uses, as Pygments' lexer of its language tells them."""

from __future__ import annotations

import re
from functools import cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, String
from pygments.util import ClassNotFound

from pagedex.languages.tokens import SHORTEST_NAME, Index, add_prose
from pagedex.words.identifiers import names_in_prose

# Longer code is read as prose: no lexer is made for it.
_LONGEST_CODE = 200_000
_CALLED = re.compile(r"(?<![\w.])([^\W\d]\w+)\(")
_NAME = re.compile(r"(?<!\w)[^\W\d]\w+")


@cache
def _lexer(language: str) -> Lexer | None:
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return None
    return None if lexer.name in {"Text only", "Text output"} else lexer


def add_code(language: str, text: str, line: int, names: Index, words: Index) -> None:
    """Add the names of a piece of code that begins at ``line``, and the words of its comments and strings. Of code in
    no known language, names are those that prose may hold, and what looks like a call."""
    lexer = _lexer(language.lower()) if language and len(text) <= _LONGEST_CODE else None
    if lexer is None:
        for number, one in enumerate(text.split("\n"), line):
            names.add_all((name for name, _ in names_in_prose(one)), number)
            names.add_all(_CALLED.findall(one), number)
        return
    for _, kind, value in lexer.get_tokens_unprocessed(text):
        if kind in Name or kind in Keyword.Constant:
            for name in _NAME.findall(value):
                if len(name) >= SHORTEST_NAME:
                    names.add(name, line)
        elif kind in Comment or kind in String:
            add_prose(value, line, names, words)
        elif not value.isspace():
            for number, one in enumerate(value.split("\n"), line):
                names.add_all((name for name, _ in names_in_prose(one)), number)
        line += value.count("\n")
