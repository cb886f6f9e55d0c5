"""Which names and words stand in a section of a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pagedex.model.blocks import (
    Block,
    Bullets,
    Code,
    Fence,
    Fold,
    Heading,
    Link,
    Paragraph,
    Picture,
    Runs,
    Section,
    Source,
    Strong,
    Table,
    Text,
)

_TOKEN = re.compile(r"\w+")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


class SectionTokens:
    """The text of a section, taken apart."""

    def __init__(self, section: Section) -> None:
        self._text = "\n".join(texts_of(section.blocks))
        self._names = frozenset(_TOKEN.findall(self._text))
        words = {word.lower() for word in _WORD.findall(self._text)}
        self._words = words.union(*(word.split("-") for word in words if "-" in word))

    def has_name(self, name: str) -> bool:
        """Whether a name stands there, as a whole token; or as it is, where it is none, like ``operator<``."""
        if name in self._names:
            return True
        parts = _TOKEN.findall(name)
        return parts != [name] and all(part in self._names for part in parts) and name in self._text

    def has_word(self, word: str) -> bool:
        return word in self._words


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
    return "".join(run.text if isinstance(run, Code | Strong | Link) else run for run in runs)
