"""Names and words with the lines where they stand, gathered while a file is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pagedex.words.english import words_of
from pagedex.words.identifiers import names_in_prose

# No name is shorter: one-letter variables say nothing to who looks them up.
SHORTEST_NAME = 2
LONGEST_NAME = 200
# `text` or ``text`` in a comment or in reStructuredText: it names code.
_QUOTED = re.compile(r"(?<!`)`{1,2}([^`\n]{1,400})`")
_CODE_NAME = re.compile(r"(?<!\w)[^\W\d]\w+")


class Index:
    """Keys, each with the lines where it stands."""

    def __init__(self) -> None:
        self._lines: dict[str, list[int]] = {}

    def add(self, key: str, line: int) -> None:
        lines = self._lines.get(key)
        if lines is None:
            self._lines[key] = [line]
        elif lines[-1] != line:
            lines.append(line)

    def add_all(self, keys: Iterable[str], line: int) -> None:
        for key in keys:
            self.add(key, line)

    def get(self, key: str) -> list[int]:
        """The lines of ``key``, in the order in which they were added."""
        return self._lines.get(key, [])

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def frozen(self) -> dict[str, tuple[int, ...]]:
        """Every key with its lines, ascending, each line once."""
        return {key: tuple(sorted(set(lines))) for key, lines in self._lines.items()}


def add_prose(text: str, line: int, names: Index, words: Index) -> None:
    """Add the words of a prose text that begins at ``line``, and the identifiers that it mentions."""
    for number, one in enumerate(text.split("\n"), line):
        words.add_all(words_of(one), number)
        names.add_all((name for name, _ in names_in_prose(one)), number)
        if "`" in one:
            for quoted in _QUOTED.findall(one):
                names.add_all(code_names(quoted), number)


def code_names(text: str) -> list[str]:
    """The names of a short piece of code in any language, such as the inline code of a document."""
    return [name for name in _CODE_NAME.findall(text) if len(name) <= LONGEST_NAME]
