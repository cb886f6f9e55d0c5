"""What a reviewer looks for in a language: a table of names, and the findings in one file.

A look is told by a name in the code, so comments and strings never count. Security findings are one a line; of
performance and patterns the first line in each definition is enough, since the keyword index leads to the others.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pagedex.languages.tokens import Index
from pagedex.model.facts import Definition, Facts, Finding

_LONGEST_CODE = 100


@dataclass(frozen=True, slots=True)
class Look:
    """``names`` is a regular expression that a whole name must match, ``text`` says what such a name means. ``where``
    must be found in the line of code; by default the name must be called there, or hold what it is made from."""

    section: str
    topic: str
    names: str
    text: str
    where: str = ""

    def fits(self, name: str, line: str) -> bool:
        pattern = self.where or rf"(?<![\w$]){re.escape(name)}\s*(?:::)?(?:<[^;]*>)?\s*[({{]"
        return _compiled(pattern).search(line) is not None


ANYWHERE = r"\w"


@lru_cache(maxsize=1 << 12)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Looks:
    """The table of a language."""

    def __init__(self, *looks: Look) -> None:
        self._looks = looks
        # The same names come again in every file.
        self.of = lru_cache(maxsize=1 << 16)(self._of)

    def __add__(self, other: Looks) -> Looks:
        return Looks(*self._looks, *other._looks)

    def _of(self, name: str) -> tuple[Look, ...]:
        return tuple(look for look in self._looks if _compiled(look.names).fullmatch(name))

    def topics(self) -> dict[str, tuple[str, ...]]:
        """Every section with all topics that are looked for, in the table's order."""
        found: dict[str, dict[str, None]] = {}
        for look in self._looks:
            found.setdefault(look.section, {})[look.topic] = None
        return {section: tuple(names) for section, names in found.items()}


class Owners:
    """Which definition a line stands in, for definitions in source order, each inside its parent."""

    def __init__(self, definitions: Sequence[Definition]) -> None:
        self._definitions = definitions
        # A name may stand below a later definition's: the greatest line so far keeps them ascending.
        self._lines: list[int] = []
        for one in definitions:
            self._lines.append(max(one.line, self._lines[-1] if self._lines else 0))

    def of(self, line: int) -> int:
        """The index of the innermost definition around a line, -1 where there is none."""
        index = bisect_right(self._lines, line) - 1
        while index >= 0 and not self._definitions[index].line <= line <= self._definitions[index].end_line:
            index = self._definitions[index].parent
        return index


def find(looks: Looks, names: Index, code: Sequence[str], lines: Sequence[str], facts: Facts) -> list[Finding]:
    """The findings of a file in the order of its lines: ``names`` are of its code and lead to the lines, ``code`` are
    the lines without comments and strings, ``lines`` as they are written. Where a name is only defined or imported,
    nothing is found."""
    owners = Owners(facts.definitions)
    defined = {(one.name, one.line) for one in facts.definitions}
    imported = {one.line for one in facts.imports}
    found: dict[tuple[str, int, int], Finding] = {}
    for name in names:
        for look in looks.of(name):
            for line in names.get(name):
                if line in imported or (name, line) in defined or not look.fits(name, code[line - 1]):
                    continue
                owner = owners.of(line)
                key = (look.topic, line if look.section == "security" else 0, owner)
                if key not in found or line < found[key].line:
                    text = f"{look.text}: {_short(lines[line - 1])}"
                    found[key] = Finding(look.section, look.topic, line, text, owner)
    return sorted(found.values(), key=lambda one: (one.line, one.section, one.topic, one.text))


def _short(line: str) -> str:
    line = " ".join(line[: 10 * _LONGEST_CODE].split())
    return line if len(line) <= _LONGEST_CODE else line[: _LONGEST_CODE - 1] + "…"
