"""Architecture & Design: who imports the file, what it imports, who inherits from whom, and what uses what inside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pagedex.model.blocks import Block, Box, Bullets, Link, Paragraph, Picture, Runs, Strong, ToLine, ToPage
from pagedex.model.facts import Import
from pagedex.model.ties import Place
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, enumerated, joined, line_links, number

_MOST_BOXES = 8
_MOST_LISTED = 30
_MOST_CLASSES = 24
_MOST_NAMES = 6


def architecture(subject: Subject) -> list[Block]:
    importers, tests = _importers(subject)
    imported = _imported(subject)
    blocks: list[Block] = []
    if importers or imported:
        blocks.append(_imports_picture(subject, importers, imported))
    blocks += _listed(subject, "Imported by", importers, by_others=True)
    if tests:
        blocks.append(
            Paragraph(
                (
                    f"{counted(tests, 'test file')} {'imports' if tests == 1 else 'import'} it too, under Testing & Usage.",
                )
            )
        )
    blocks += _listed(subject, "Imports", imported, by_others=False)
    blocks += _inheritance(subject)
    blocks += _inside(subject)
    if not blocks:
        what = (
            "links from and to other files"
            if subject.is_document
            else "files that import it, imports of files here and base classes"
        )
        return [Paragraph((f"Looked for {what}; none found for {subject.file.display}.",))]
    return blocks


@dataclass(slots=True)
class _Tie:
    """Another file, the imports between the two, and how often definitions are mentioned across."""

    file: int
    imports: list[Import]
    mentions: int


def _importers(subject: Subject) -> tuple[list[_Tie], int]:
    """The files that import this one, those that mention it most first, and how many more are tests."""
    mentions: Counter[int] = Counter()
    for uses in subject.repository.uses[subject.index].values():
        mentions.update(use.file for use in uses if use.sure)
    found: dict[int, _Tie] = {}
    for file, index in subject.repository.importers[subject.index]:
        facts = subject.repository.facts[file]
        if facts is not None:
            found.setdefault(file, _Tie(file, [], mentions[file])).imports.append(facts.imports[index])
    code = [tie for tie in found.values() if not subject.tables.is_test(tie.file) or subject.file.test]
    return _ranked(code), len(found) - len(code)


def _imported(subject: Subject) -> list[_Tie]:
    mentions = subject.tables.mentioned_files(subject.index)
    found: dict[int, _Tie] = {}
    for imported, target in subject.imports:
        if target.file >= 0 and target.file != subject.index:
            found.setdefault(target.file, _Tie(target.file, [], mentions[target.file])).imports.append(imported)
    return _ranked(list(found.values()))


def _ranked(ties: list[_Tie]) -> list[_Tie]:
    return sorted(ties, key=lambda tie: (-tie.mentions, tie.file))


def _imports_picture(subject: Subject, importers: Sequence[_Tie], imported: Sequence[_Tie]) -> Picture:
    boxes = [Box(subject.file.name, 1, ToPage(subject.path), strong=True)]
    arrows: list[tuple[int, int]] = []
    for column, ties in ((0, importers), (2, imported)):
        shown = ties if len(ties) <= _MOST_BOXES + 1 else ties[:_MOST_BOXES]
        for tie in shown:
            arrows.append((len(boxes), 0) if column == 0 else (0, len(boxes)))
            boxes.append(Box(subject.tables.display(tie.file), column, ToPage(subject.tables.path(tie.file))))
        if len(shown) < len(ties):
            arrows.append((len(boxes), 0) if column == 0 else (0, len(boxes)))
            boxes.append(Box(f"and {len(ties) - len(shown):,} more", column))
    said = []
    for column, verb in ((0, "is imported by"), (2, "imports")):
        names = [box.text.removeprefix("and ") for box in boxes if box.column == column]
        if names:
            said.append(f"{verb} {enumerated(names)}")
    return Picture(f"{subject.file.display} {' and '.join(said)}", boxes, arrows)


def _listed(subject: Subject, title: str, ties: Sequence[_Tie], *, by_others: bool) -> list[Block]:
    if not ties:
        return []
    items: list[Runs] = []
    for tie in ties[:_MOST_LISTED]:
        path = subject.tables.path(tie.file) if by_others else subject.path
        lines = sorted({one.line for one in tie.imports})
        names = ["all names" if one.name == "*" else one.name for one in tie.imports if one.name]
        more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
        told = f" ({', '.join(names[:_MOST_NAMES])}{more})" if names else ""
        at = " at line " if len(lines) == 1 else " at lines "
        mentions = f"{told}, {counted(tie.mentions, 'mention')}"
        items.append((subject.tables.page_link(tie.file), at, *line_links(path, lines, _MOST_NAMES), mentions))
    if len(ties) > _MOST_LISTED:
        items.append((f"and {number(len(ties) - _MOST_LISTED)} more",))
    return [Paragraph((Strong(title), f" {counted(len(ties), 'file')} of the repository:")), Bullets(items)]


def _inheritance(subject: Subject) -> list[Block]:
    """The classes that have bases or subclasses: bases on the left, this file's in the middle, others' subclasses on the right."""
    repository, tables = subject.repository, subject.tables
    boxes: list[Box] = []
    arrows: list[tuple[int, int]] = []
    at: dict[Place | str, int] = {}
    items: list[Runs] = []

    def box(key: Place | str, text: str, column: int, *, strong: bool = False) -> int:
        if key not in at:
            at[key] = len(boxes)
            boxes.append(Box(text, column, tables.definition_link(key).to if isinstance(key, Place) else None, strong))
        return at[key]

    classes = [
        index
        for index, one in enumerate(subject.facts.definitions)
        if one.bases or subject.place(index) in repository.subclasses
    ]
    for index in classes[:_MOST_CLASSES]:
        box(subject.place(index), subject.definition(index).qualname, 1, strong=True)
    for index in classes[:_MOST_CLASSES]:
        one, place = subject.definition(index), subject.place(index)
        me = at[place]
        known = {base.text: base.place for base in repository.bases.get(place, [])}
        for text in one.bases:
            base = known.get(text)
            name = repository.definition(base).qualname if base is not None else text
            arrows.append((me, box(base if base is not None else text, name, 0)))
        below = sorted(repository.subclasses.get(place, []))
        elsewhere = [child for child in below if child.file != subject.index]
        for child in elsewhere[:_MOST_BOXES]:
            arrows.append((box(child, repository.definition(child).qualname, 2), me))
        if len(elsewhere) > _MOST_BOXES:
            arrows.append((box(f"{place}", f"and {len(elsewhere) - _MOST_BOXES:,} more", 2), me))
        items.append(_inherits(subject, index, known, below))
    if not items:
        return []
    said = [f"{boxes[first].text} inherits from {boxes[second].text}" for first, second in arrows]
    picture = Picture("; ".join(said), boxes, arrows)
    more = len(classes) - len(items)
    if more:
        items.append((f"and {counted(more, 'more class', 'more classes')}",))
    return [
        Paragraph((Strong("Inheritance"), f" of {counted(len(classes), 'class', 'classes')}:")),
        picture,
        Bullets(items),
    ]


def _inherits(subject: Subject, index: int, known: dict[str, Place | None], below: Sequence[Place]) -> Runs:
    one = subject.definition(index)
    runs: Runs = (subject.link(index), ", ", subject.line(one.line))
    if one.bases:
        bases: list[Runs] = []
        for text in one.bases:
            base = known.get(text)
            bases.append((subject.tables.definition_link(base),) if base is not None else (text,))
        runs = (*runs, ", inherits from ", *joined(bases))
    if below:
        shown = joined((subject.tables.definition_link(child),) for child in below[:_MOST_BOXES])
        more = f" and {len(below) - _MOST_BOXES:,} more" if len(below) > _MOST_BOXES else ""
        runs = (*runs, ", is the base of ", *shown, more)
    return runs


def _inside(subject: Subject) -> list[Block]:
    """What each definition at the top mentions of the others."""
    found: dict[int, dict[int, int]] = {}
    for use in subject.mentions:
        if use.sure and use.target.file == subject.index and use.within >= 0:
            user, used = subject.top_of[use.within], subject.top_of[use.target.definition]
            if user != used:
                found.setdefault(user, {}).setdefault(used, use.line)
    if not found:
        return []
    items: list[Runs] = []
    for user in sorted(found)[:_MOST_LISTED]:
        parts: list[Runs] = [
            (subject.link(used), " (", Link(f"{line}", ToLine(subject.path, line)), ")")
            for used, line in found[user].items()
        ]
        shown = joined(parts[:_MOST_BOXES])
        more = f" and {len(parts) - _MOST_BOXES:,} more" if len(parts) > _MOST_BOXES else ""
        items.append((subject.link(user), " uses ", *shown, more))
    if len(found) > _MOST_LISTED:
        items.append((f"and {number(len(found) - _MOST_LISTED)} more",))
    head = f" {counted(len(found), 'definition')} at the top {'uses' if len(found) == 1 else 'use'} others of them (first line):"
    return [Paragraph((Strong("Inside the file,"), head)), Bullets(items)]
