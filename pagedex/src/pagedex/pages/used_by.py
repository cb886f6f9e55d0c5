"""Where a definition is mentioned, in code, tests and documents, by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from pagedex.model.blocks import Block, Bullets, Code, Runs, Strong
from pagedex.model.facts import Definition
from pagedex.model.ties import Place, Use
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, joined, line_links, number, paragraph, some

# What is shown of one definition; of the rest the files are counted.
_MOST = 200
_MOST_MAYBE = 40
_MOST_PRIVATE = 24
_MOST_FILES = 50
_MOST_NAMED = 8


def used_by(subject: Subject, index: int) -> list[Block]:
    """The mentions of a definition: sure ones by code, tests and documents, then those that may mean it."""
    uses = subject.uses(index)
    one = subject.definition(index)
    if not uses and subject.is_followed and not subject.named_in(index):
        looked = paragraph("Looked for mentions of ", Code(one.qualname), "; none found.")
        return [] if _reached_unwritten(subject, one) else [looked]
    sure = _own_file_first(subject, (use for use in uses if use.sure))
    most = _MOST if one.public else _MOST_PRIVATE
    tables = subject.tables
    blocks: list[Block] = []
    for name in ("code", "tests", "documents"):
        found = [use for use in sure if tables.kind_of(use.file) == name]
        if found:
            shown = found[:most]
            most -= len(shown)
            blocks.append(paragraph(*_head(subject, name, found, shown)))
            if len({use.file for use in found}) > 1:
                blocks.append(Bullets(_items(subject, found, shown)))
    return [*blocks, *_maybe(subject, index, one, [use for use in uses if not use.sure]), *_named(subject, index, one)]


def _reached_unwritten(subject: Subject, one: Definition) -> bool:
    """Whether what reaches a definition may be written nowhere here: of tests, special methods, sections of documents,
    and methods of a class with a base outside of the repository."""
    if subject.file.test or one.kind == "section" or (one.name.startswith("__") and one.name.endswith("__")):
        return True
    if one.parent < 0 or not subject.definition(one.parent).bases:
        return False
    bases = subject.repository.bases.get(subject.place(one.parent), [])
    return not bases or any(base.place is None for base in bases)


def _own_file_first(subject: Subject, uses: Iterable[Use]) -> list[Use]:
    return sorted(uses, key=lambda use: (use.file != subject.index, use.file, use.line, use.column))


def _head(subject: Subject, name: str, uses: Sequence[Use], shown: Sequence[Use]) -> Runs:
    files = len({use.file for use in uses})
    times = counted(len(uses), "place")
    if files > 1:
        return (Strong(f"Used in {name}"), f", {times} in {counted(files, 'file')}:")
    where: Runs = (
        (" of this file: ",)
        if uses[0].file == subject.index
        else (" of ", subject.tables.page_link(uses[0].file), ": ")
    )
    parts = [_places(subject, shown)] if shown else []
    if len(shown) < len(uses):
        parts.append((f"{number(len(uses) - len(shown))} more",))
    return (Strong(f"Used in {name}"), f" at {times}", *where, *joined(parts, "; "))


def _items(subject: Subject, uses: Sequence[Use], shown: Sequence[Use]) -> list[Runs]:
    """The uses that are shown, by file, then how many more there are in each."""
    items = [
        (*_file(subject, file), ": ", *_places(subject, list(group)))
        for file, group in groupby(shown, key=lambda use: use.file)
    ]
    rest = Counter(use.file for use in uses[len(shown) :])
    if rest:
        ranked = sorted(rest.items(), key=lambda one: (-one[1], one[0]))
        listed: list[Runs] = [(*_file(subject, file), f" ({count:,})") for file, count in ranked]
        items.append((f"{number(len(uses) - len(shown))} more by file: ", *some(listed, _MOST_FILES)))
    return items


def _file(subject: Subject, file: int) -> Runs:
    return ("this file",) if file == subject.index else (subject.tables.page_link(file),)


def _places(subject: Subject, uses: Sequence[Use]) -> Runs:
    """The lines of uses in one file, by the definitions around them."""
    parts: list[Runs] = []
    for within, group in groupby(uses, key=lambda use: use.within):
        lines = sorted({use.line for use in group})
        path = subject.tables.path(uses[0].file)
        links = line_links(path, lines, len(lines))
        around: Runs = ()
        if within >= 0:
            around = (" in ", subject.tables.definition_link(Place(uses[0].file, within)))
        parts.append((*links, *around))
    return joined(parts, "; ")


def _named(subject: Subject, index: int, one: Definition) -> list[Block]:
    """Where the name stands in files whose mentions aren't followed."""
    parts: list[Runs] = []
    for file in subject.named_in(index):
        facts = subject.repository.facts[file]
        lines = facts.identifiers.get(one.name, ()) if facts is not None else ()
        if file == subject.index:
            lines = tuple(line for line in lines if line != one.line)
        if lines:
            parts.append((*_file(subject, file), " ", *line_links(subject.tables.path(file), lines, _MOST_NAMED)))
    if not parts:
        return []
    head = (Strong("Named"), f" in {counted(len(parts), 'file')}, found by the name alone: ")
    return [paragraph(*head, *some(parts, _MOST_FILES, "; "))]


def _maybe(subject: Subject, index: int, one: Definition, uses: Sequence[Use]) -> list[Block]:
    """Uses that aren't sure: calls of a method that this one overrides, and places where only the name agrees."""
    above = {
        (use.file, use.line, use.column)
        for place in subject.repository.overrides.get(subject.place(index), [])
        for use in subject.repository.uses[place.file].get(place.definition, [])
        if use.sure
    }
    through = [use for use in uses if (use.file, use.line, use.column) in above]
    by_name = [use for use in uses if (use.file, use.line, use.column) not in above]
    blocks: list[Block] = []
    for found, why in ((through, "through what it overrides"), (by_name, "where only the name agrees")):
        if found:
            shown = _own_file_first(subject, found)[:_MOST_MAYBE]
            parts: list[Runs] = [
                (*_file(subject, file), " ", *_places(subject, list(group)))
                for file, group in groupby(shown, key=lambda use: use.file)
            ]
            more = f"; {number(len(found) - len(shown))} more" if len(found) > len(shown) else ""
            head: Runs = (Strong("Maybe used"), f" at {counted(len(found), 'place')}, {why}: ")
            blocks.append(paragraph(*head, *joined(parts, "; "), more))
    return blocks
