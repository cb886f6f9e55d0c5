"""Cross-References: every tie to other files, by file, with lines."""

from __future__ import annotations

from collections import Counter

from pagedex.model.blocks import Block, Link, Runs, Strong, ToKeywords
from pagedex.model.ties import Place
from pagedex.pages.about import folder_link
from pagedex.pages.subject import Subject
from pagedex.words.phrases import bullets, counted, line_links, paragraph, some

_MOST_FILES = 100
_MOST_NAMES = 40
_MOST_LINES = 4
_MOST_DEFINITIONS = 300


def cross_references(subject: Subject) -> list[Block]:
    blocks = [*_mentioned(subject), *_named(subject), *_linked(subject), *_mentioned_elsewhere(subject)]
    if not blocks:
        looked = f"Looked for mentions and links between {subject.file.display} and other files; none found."
        blocks.append(paragraph(looked))
    keywords = Link("keyword index", ToKeywords(subject.path))
    return [*blocks, paragraph("Keywords: ", keywords, "; folder: ", folder_link(subject.file.folder))]


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
    for file in sorted(found):
        parts: list[Runs] = [
            (subject.tables.definition_link(Place(file, index)), " ", *line_links(subject.path, lines, _MOST_LINES))
            for index, lines in sorted(found[file].items())
        ]
        items.append((subject.tables.page_link(file), ": ", *some(parts, _MOST_NAMES, "; ")))
    names = counted(sum(map(len, found.values())), "definition")
    head = f", {names} of {counted(len(found), 'other file')} (lines here):"
    return [paragraph(Strong("Mentioned here"), head), bullets(items, _MOST_FILES)]


def _named(subject: Subject) -> list[Block]:
    """Of a file whose mentions aren't followed: the definitions elsewhere whose names stand here."""
    if subject.is_followed:
        return []
    found: dict[int, list[Runs]] = {}
    for name in sorted(subject.facts.identifiers.keys() & subject.tables.names.defined.keys()):
        for place in subject.tables.names.defined[name]:
            if place.file != subject.index:
                lines = line_links(subject.path, subject.facts.identifiers[name], _MOST_LINES)
                found.setdefault(place.file, []).append((subject.tables.definition_link(place), " ", *lines))
    if not found:
        return []
    items: list[Runs] = [
        (subject.tables.page_link(file), ": ", *some(found[file], _MOST_NAMES, "; ")) for file in sorted(found)
    ]
    names = counted(sum(map(len, found.values())), "definition")
    head = f", {names} of {counted(len(found), 'other file')}, found by the name alone (lines here):"
    return [paragraph(Strong("Named here"), head), bullets(items, _MOST_FILES)]


def _linked(subject: Subject) -> list[Block]:
    lines: dict[int, list[int]] = {}
    for document, index in subject.tables.referrers.get(subject.index, []):
        facts = subject.repository.facts[document]
        if facts is not None:
            lines.setdefault(document, []).append(facts.references[index].line)
    if not lines:
        return []
    items: list[Runs] = [
        (subject.tables.page_link(file), ": ", *line_links(subject.tables.path(file), sorted(set(where)), _MOST_LINES))
        for file, where in lines.items()
    ]
    head = paragraph(Strong("Linked from"), f" {counted(len(lines), 'file')} (lines there):")
    return [head, bullets(items, _MOST_FILES)]


def _mentioned_elsewhere(subject: Subject) -> list[Block]:
    """The definitions of this file that others mention, each with the files that do so most."""
    items: list[Runs] = []
    for index, _ in enumerate(subject.facts.definitions):
        files = Counter(use.file for use in subject.uses(index) if use.sure and use.file != subject.index)
        if files:
            ranked = sorted(files.items(), key=lambda one: (-one[1], one[0]))
            listed: list[Runs] = [(subject.tables.page_link(file), f" ({times:,})") for file, times in ranked]
            items.append((subject.link(index), ": ", *some(listed, _MOST_LINES)))
    if not items:
        return []
    head = f", {counted(len(items), 'definition')} of this file (mentions):"
    return [paragraph(Strong("Mentioned elsewhere"), head), bullets(items, _MOST_DEFINITIONS)]
