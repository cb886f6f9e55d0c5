"""A real call of what a file defines, from another file of the repository."""

from __future__ import annotations

import heapq
from collections import Counter

from pagedex.model.ties import Use
from pagedex.pages.subject import Subject

_KINDS = ("class", "function", "method", "macro")
# Of so many candidates in so many files the texts are looked at.
_MOST_CANDIDATES = 40
_MOST_FILES = 8
_BEFORE = 3
_AFTER = 4


def example_of(subject: Subject) -> tuple[Use, int, str] | None:
    """The use, the number of the first line shown and 3 to 8 lines around it; None where nothing calls anything.

    Examples and documents come before tests, tests before other code; then what stands at the file's top before what
    stands inside it; then what is used most, where this file is mentioned most.
    """
    found: list[tuple[int, Use]] = []
    for index, one in enumerate(subject.facts.definitions):
        if one.kind in _KINDS and one.public:
            uses = [use for use in subject.uses(index) if use.sure and use.length and use.file != subject.index]
            found += ((len(uses), use) for use in uses)
    mentions = Counter(use.file for _, use in found)

    def order(candidate: tuple[int, Use]) -> tuple[int, ...]:
        count, use = candidate
        inside = subject.definition(use.target.definition).parent >= 0
        return (
            _rank(subject, use.file),
            inside,
            -count,
            use.target.definition,
            -mentions[use.file],
            use.file,
            use.line,
        )

    files: set[int] = set()
    for _, use in heapq.nsmallest(_MOST_CANDIDATES, found, key=order):
        files.add(use.file)
        if len(files) > _MOST_FILES:
            break
        text = subject.tables.text_of(use.file)
        lines = text.split("\n") if text is not None else []
        if use.line <= len(lines) and lines[use.line - 1][use.column + use.length :].lstrip().startswith("("):
            first, last = _around(lines, use.line)
            return use, first, _dedented(lines[first - 1 : last])
    return None


def _rank(subject: Subject, file: int) -> int:
    path = subject.tables.path(file).lower()
    if subject.tables.is_document(file) or any(
        part.startswith(("example", "demo", "tutorial")) for part in path.split("/")
    ):
        return 0
    return 1 if subject.tables.is_test(file) else 2


def _around(lines: list[str], line: int) -> tuple[int, int]:
    """The first and last of the lines to show: up to blank ones, where there are any nearby."""
    first = last = line
    while first > 1 and line - first < _BEFORE and lines[first - 2].strip():
        first -= 1
    while last < len(lines) and last - line < _AFTER and lines[last].strip():
        last += 1
    while last - first < 2 and last < len(lines):
        last += 1
    while last - first < 2 and first > 1:
        first -= 1
    return first, last


def _dedented(lines: list[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines).rstrip()
