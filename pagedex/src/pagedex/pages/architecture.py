"""Architecture & Design: who imports the file and what it imports, who inherits from whom, what uses what inside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pagedex.model.blocks import Block, Box, Code, Picture, Runs, Strong, ToPage
from pagedex.model.facts import Import
from pagedex.model.ties import Place
from pagedex.pages.subject import Subject
from pagedex.words.phrases import bullets, counted, enumerated, joined, line_link, line_links, paragraph, some

_MOST_BOXES = 8
_MOST_LISTED = 30
_MOST_CLASSES = 24
_MOST_NAMES = 6


def architecture(subject: Subject) -> list[Block]:
    return _of_document(subject) if subject.is_document else _of_code(subject)


def _of_document(subject: Subject) -> list[Block]:
    into, out = _links(subject)
    if not into and not out:
        return [paragraph(f"Looked for links to {subject.file.display} and from it to other files; none found.")]
    verbs = ("is linked from", "links to")
    return [
        _ties_picture(subject, into, out, verbs),
        *_listed(subject, "Linked from", into, by_others=True),
        *_listed(subject, "Links to", out, by_others=False),
    ]


def _of_code(subject: Subject) -> list[Block]:
    importers, tests = _importers(subject)
    imported = _imported(subject)
    blocks: list[Block] = []
    if importers or imported:
        blocks.append(_ties_picture(subject, importers, imported, ("is imported by", "imports")))
    blocks += _listed(subject, "Imported by", importers, by_others=True)
    if tests:
        verb = "imports" if tests == 1 else "import"
        blocks.append(paragraph(f"{counted(tests, 'test file')} {verb} it too."))
    blocks += _listed(subject, "Imports", imported, by_others=False)
    blocks += _inheritance(subject)
    blocks += _inside(subject)
    if not blocks:
        what = "imports of it, imports in it of other files here, and classes with bases"
        blocks.append(paragraph(f"Looked for {what} for {subject.file.display}; none found."))
    return blocks


@dataclass(slots=True)
class _Tie:
    """Another file, the lines of the imports or links between the two, what they name, and how often definitions are
    mentioned across."""

    file: int
    mentions: int
    lines: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, imported: Import) -> None:
        self.lines.append(imported.line)
        if imported.name:
            self.names.append("all names" if imported.name == "*" else imported.name)


def _importers(subject: Subject) -> tuple[list[_Tie], int]:
    """The files that import this one, those that mention it most first, and how many more are tests."""
    mentions: Counter[int] = Counter()
    for uses in subject.repository.uses[subject.index].values():
        mentions.update(use.file for use in uses if use.sure)
    found: dict[int, _Tie] = {}
    for file, index in subject.repository.importers[subject.index]:
        facts = subject.repository.facts[file]
        if facts is not None:
            found.setdefault(file, _Tie(file, mentions[file])).add(facts.imports[index])
    code = [tie for tie in found.values() if not subject.tables.is_test(tie.file) or subject.file.test]
    return _ranked(code), len(found) - len(code)


def _imported(subject: Subject) -> list[_Tie]:
    mentions = subject.tables.mentioned_files(subject.index)
    found: dict[int, _Tie] = {}
    for imported, target in subject.imports:
        if target.file >= 0 and target.file != subject.index:
            found.setdefault(target.file, _Tie(target.file, mentions[target.file])).add(imported)
    return _ranked(list(found.values()))


def _links(subject: Subject) -> tuple[list[_Tie], list[_Tie]]:
    """The documents that link to this one, and the files that it links to."""
    into: dict[int, _Tie] = {}
    for document, index in subject.tables.referrers.get(subject.index, []):
        facts = subject.repository.facts[document]
        if facts is not None:
            into.setdefault(document, _Tie(document, 0)).lines.append(facts.references[index].line)
    out: dict[int, _Tie] = {}
    references = zip(subject.facts.references, subject.repository.references[subject.index], strict=False)
    for reference, file in references:
        if file >= 0 and file != subject.index:
            out.setdefault(file, _Tie(file, 0)).lines.append(reference.line)
    return list(into.values()), list(out.values())


def _ranked(ties: list[_Tie]) -> list[_Tie]:
    return sorted(ties, key=lambda tie: (-tie.mentions, tie.file))


def _ties_picture(subject: Subject, into: Sequence[_Tie], out: Sequence[_Tie], verbs: tuple[str, str]) -> Picture:
    boxes = [Box(subject.file.name, 1, ToPage(subject.path), strong=True)]
    arrows: list[tuple[int, int]] = []
    said = []
    for column, ties, verb in ((0, into, verbs[0]), (2, out, verbs[1])):
        names = [subject.tables.display(tie.file) for tie in ties[:_MOST_BOXES]]
        added = [
            Box(name, column, ToPage(subject.tables.path(tie.file))) for name, tie in zip(names, ties, strict=False)
        ]
        if len(ties) > _MOST_BOXES:
            names.append(f"{len(ties) - _MOST_BOXES:,} more")
            added.append(Box(f"and {names[-1]}", column))
        for box in added:
            arrows.append((len(boxes), 0) if column == 0 else (0, len(boxes)))
            boxes.append(box)
        if names:
            said.append(f"{verb} {enumerated(names)}")
    return Picture(f"{subject.file.display} {'; it '.join(said)}", boxes, arrows)


def _listed(subject: Subject, title: str, ties: Sequence[_Tie], *, by_others: bool) -> list[Block]:
    if not ties:
        return []
    items: list[Runs] = []
    for tie in ties:
        path = subject.tables.path(tie.file) if by_others else subject.path
        lines = sorted(set(tie.lines))
        names: list[Runs] = [(name,) for name in dict.fromkeys(tie.names)]
        told: Runs = (" (", *some(names, _MOST_NAMES), ")") if names else ()
        at = " at line " if len(lines) == 1 else " at lines "
        mentions = f", {counted(tie.mentions, 'mention')}" if tie.mentions else ""
        items.append((subject.tables.page_link(tie.file), at, *line_links(path, lines, _MOST_NAMES), *told, mentions))
    head = paragraph(Strong(title), f" {counted(len(ties), 'file')} of the repository:")
    return [head, bullets(items, _MOST_LISTED)]


def _inheritance(subject: Subject) -> list[Block]:
    """The classes with bases or subclasses, as a picture and in words."""
    classes = [
        index
        for index, one in enumerate(subject.facts.definitions)
        if one.bases or subject.place(index) in subject.repository.subclasses
    ]
    if not classes:
        return []
    items = [_inherits(subject, index) for index in classes]
    head = paragraph(Strong("Inheritance"), f" of {counted(len(classes), 'class', 'classes')}:")
    return [head, _inheritance_picture(subject, classes[:_MOST_CLASSES]), bullets(items, _MOST_LISTED)]


def _inheritance_picture(subject: Subject, classes: Sequence[int]) -> Picture:
    """Bases on the left, this file's classes in the middle, other files' subclasses of them on the right."""
    repository = subject.repository
    boxes: list[Box] = []
    arrows: list[tuple[int, int]] = []
    at: dict[Place | str, int] = {}

    def box(key: Place | str, text: str, column: int, *, strong: bool = False) -> int:
        if key not in at:
            at[key] = len(boxes)
            to = subject.tables.definition_link(key).to if isinstance(key, Place) else None
            boxes.append(Box(text, column, to, strong))
        return at[key]

    for index in classes:
        box(subject.place(index), subject.definition(index).qualname, 1, strong=True)
    for index in classes:
        place = subject.place(index)
        for text, base in subject.bases(index):
            name = repository.definition(base).qualname if base is not None else text
            arrows.append((at[place], box(base if base is not None else text, name, 0)))
        elsewhere = [child for child in sorted(repository.subclasses.get(place, [])) if child.file != subject.index]
        for child in elsewhere[:_MOST_BOXES]:
            arrows.append((box(child, repository.definition(child).qualname, 2), at[place]))
        if len(elsewhere) > _MOST_BOXES:
            more = f"{len(elsewhere) - _MOST_BOXES:,} more of {subject.definition(index).name}"
            arrows.append((box(more, more, 2), at[place]))
    said = [f"{boxes[first].text} inherits from {boxes[second].text}" for first, second in dict.fromkeys(arrows)]
    return Picture("; ".join(said), boxes, list(dict.fromkeys(arrows)))


def _inherits(subject: Subject, index: int) -> Runs:
    runs: Runs = (subject.link(index), ", ", subject.line(subject.definition(index).line))
    bases: list[Runs] = [
        subject.relative(base) if base is not None else (Code(text),) for text, base in subject.bases(index)
    ]
    if bases:
        runs = (*runs, ", inherits from ", *joined(bases))
    below = [subject.relative(child) for child in sorted(subject.repository.subclasses.get(subject.place(index), []))]
    return (*runs, ", is the base of ", *some(below, _MOST_BOXES)) if below else runs


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
    for user in sorted(found):
        parts: list[Runs] = [
            (subject.link(used), " (", line_link(subject.path, line), ")") for used, line in found[user].items()
        ]
        items.append((subject.link(user), " uses ", *some(parts, _MOST_BOXES)))
    told = f" {counted(len(found), 'definition')} at the top {'uses' if len(found) == 1 else 'use'} others"
    return [
        paragraph(Strong("Inside the file,"), f"{told} (the line of the first mention):"),
        bullets(items, _MOST_LISTED),
    ]
