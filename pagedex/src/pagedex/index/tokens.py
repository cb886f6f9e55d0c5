"""Which names and words stand in a section of a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from pagedex.model.blocks import (
    Block,
    Bullets,
    Fence,
    Fold,
    Heading,
    Paragraph,
    Picture,
    Runs,
    Section,
    Source,
    Table,
    Text,
)

_TOKEN = re.compile(r"\w+")
_LETTERS = re.compile(r"[^\W\d_]+")


class SectionTokens:
    """The text of a section, taken apart."""

    def __init__(self, section: Section) -> None:
        self._text = "\n".join(texts_of(section.blocks))
        self._names = frozenset(_TOKEN.findall(self._text))
        self._words = frozenset(_LETTERS.findall("\n".join(self._names).lower()))

    def has_name(self, name: str) -> bool:
        """Whether a name stands there, as a whole token; or as it is, where it is none, like ``operator<``."""
        if name in self._names:
            return True
        parts = _TOKEN.findall(name)
        return parts != [name] and all(part in self._names for part in parts) and name in self._text

    def has_word(self, word: str) -> bool:
        """Whether a word in lower case stands there, in any case; one with hyphens as a whole."""
        if "-" not in word:
            return word in self._words
        return all(part in self._words for part in word.split("-")) and word in self._lower

    @cached_property
    def _lower(self) -> str:
        return self._text.lower()


def texts_of(blocks: Iterable[Block]) -> Iterator[str]:
    """Everything in blocks that is read as text. The titles of links in a source aren't."""
    for block in blocks:
        if isinstance(block, Paragraph | Heading):
            yield _plain(block.runs)
        elif isinstance(block, Bullets):
            yield from map(_plain, block.items)
        elif isinstance(block, Table):
            yield " ".join(block.head)
            for row in block.rows:
                yield from map(_plain, row)
        elif isinstance(block, Text | Fence | Source):
            yield block.text
        elif isinstance(block, Picture):
            yield block.alt
        elif isinstance(block, Fold):
            yield _plain(block.summary)
            yield from texts_of(block.blocks)


def _plain(runs: Runs) -> str:
    return "".join([run if isinstance(run, str) else run.text for run in runs])
