"""Cross-References: every tie to other files, by file, with lines."""

from __future__ import annotations

from collections import Counter

from pagedex.model.blocks import Block, Bullets, Link, Paragraph, Runs, Strong, ToKeywords
from pagedex.model.ties import Place
from pagedex.pages.about import folder_link
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, joined, line_links, number

_MOST_FILES = 100
_MOST_NAMES = 40
_MOST_LINES = 4
_MOST_DEFINITIONS = 300


def cross_references(subject: Subject) -> list[Block]:
    blocks = [*_mentioned(subject), *_linked(subject), *_mentioned_elsewhere(subject)]
    if not blocks:
        looked = f"Looked for mentions and links between {subject.file.display} and other files; none found."
        blocks.append(Paragraph((looked,)))
    leads: Runs = (
        "Keywords: ",
        Link("keyword index", ToKeywords(subject.path)),
        "; folder: ",
        folder_link(subject.file.folder),
    )
    return [*blocks, Paragraph(leads)]


def _mentioned(subject: Subject) -> list[Block]:
    """The definitions of other files that are mentioned here."""
    found: dict[int, dict[int, list[int]]] = {}
    for use in subject.mentions:
        if use.sure and use.target.file != subject.index:
            lines = found.setdefault(use.target.file, {}).setdefault(use.target.definition, [])
            if not lines or lines[-1] != use.line:
                lines.append(use.line)
    if not found:
        return []
    items: list[Runs] = []
    for file in sorted(found)[:_MOST_FILES]:
        parts: list[Runs] = [
            (subject.tables.definition_link(Place(file, index)), " ", *line_links(subject.path, lines, _MOST_LINES))
            for index, lines in sorted(found[file].items())
        ]
        more = f"; {number(len(parts) - _MOST_NAMES)} more" if len(parts) > _MOST_NAMES else ""
        items.append((subject.tables.page_link(file), ": ", *joined(parts[:_MOST_NAMES], "; "), more))
    if len(found) > _MOST_FILES:
        items.append((f"{counted(len(found) - _MOST_FILES, 'more file')}",))
    names = sum(map(len, found.values()))
    head = f", {counted(names, 'definition')} of {counted(len(found), 'other file')} (lines here):"
    return [Paragraph((Strong("Mentioned here"), head)), Bullets(items)]


def _linked(subject: Subject) -> list[Block]:
    referrers = subject.tables.referrers.get(subject.index, [])
    if not referrers:
        return []
    lines: dict[int, list[int]] = {}
    for document, index in referrers:
        facts = subject.repository.facts[document]
        if facts is not None:
            lines.setdefault(document, []).append(facts.references[index].line)
    items: list[Runs] = [
        (subject.tables.page_link(file), ": ", *line_links(subject.tables.path(file), sorted(set(where)), _MOST_LINES))
        for file, where in list(lines.items())[:_MOST_FILES]
    ]
    if len(lines) > _MOST_FILES:
        items.append((counted(len(lines) - _MOST_FILES, "more file"),))
    return [Paragraph((Strong("Linked from"), f" {counted(len(lines), 'file')}:")), Bullets(items)]


def _mentioned_elsewhere(subject: Subject) -> list[Block]:
    items: list[Runs] = []
    count = 0
    for index, _ in enumerate(subject.facts.definitions):
        files = Counter(use.file for use in subject.uses(index) if use.sure and use.file != subject.index)
        if not files:
            continue
        count += 1
        if count <= _MOST_DEFINITIONS:
            listed: list[Runs] = [
                (subject.tables.page_link(file), f" ({times:,})") for file, times in files.most_common(_MOST_LINES)
            ]
            more = f" and {counted(len(files) - _MOST_LINES, 'more file')}" if len(files) > _MOST_LINES else ""
            items.append((subject.link(index), ": ", *joined(listed), more))
    if not items:
        return []
    if count > len(items):
        items.append((counted(count - len(items), "more definition"),))
    return [
        Paragraph((Strong("Mentioned elsewhere"), f", {counted(count, 'definition')} of this file (mentions):")),
        Bullets(items),
    ]
