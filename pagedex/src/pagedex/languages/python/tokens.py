"""The names and the comments of a Python text, with their lines, also where it doesn't parse."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections.abc import Iterator


def names_and_comments(text: str) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Every name (keywords left out) and every comment (without ``#``), each with its line, as far as tokens go."""
    names: list[tuple[str, int]] = []
    comments: list[tuple[str, int]] = []
    for kind, string, line in _tokens(text):
        if kind == tokenize.NAME:
            if not keyword.iskeyword(string):
                names.append((string, line))
        elif kind == tokenize.COMMENT:
            comments.append((string.lstrip("#!: \t"), line))
    return names, comments


def _tokens(text: str) -> Iterator[tuple[int, str, int]]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            yield token.type, token.string, token.start[0]
    except (tokenize.TokenError, SyntaxError, RecursionError):
        return  # what came before it is read
