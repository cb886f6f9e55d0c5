"""What a language is to the rest: a function from a file's text to its facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pagedex.model.facts import Facts


class Read(Protocol):
    def __call__(self, path: str, text: str) -> Facts:
        """The facts of ``text``, the file at ``path`` (from the root, with ``/``; never opened).

        Text that doesn't parse gives what could be read of it and a Problem; nothing is raised for any text.
        """


@dataclass(frozen=True, slots=True)
class Language:
    """``suffixes`` with the dot and ``names`` of whole files are in lower case; ``interpreters`` are of a ``#!`` line.
    ``version`` changes whenever ``read`` finds something else in the same text: the cache forgets what was found
    before."""

    name: str
    lexer: str
    read: Read
    version: int
    suffixes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
