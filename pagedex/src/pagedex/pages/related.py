"""Related Files: the files that have most to do with this one, and what."""

from __future__ import annotations

from collections import Counter, defaultdict

from pagedex.model.blocks import Block, Runs, Table
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, paragraph

_MOST = 20
# How much a tie of each kind says. A file with a thousand mentions isn't a thousand times as near as one with one.
_WEIGHTS = {"base": 12, "subclass": 12, "imports": 6, "imported": 6, "link": 8, "tests": 0.5}
_MOST_MENTIONS_COUNTED = 40


def related(subject: Subject) -> list[Block]:
    told = _ties(subject)
    if not told:
        what = "imports, mentions, links, base classes and shared tests"
        return [paragraph(f"Looked for {what} between {subject.file.display} and other files; none found.")]
    ranked = sorted(told, key=lambda file: (-told[file][0], file))
    rows: list[tuple[Runs, ...]] = [
        ((subject.tables.page_link(file),), (", ".join(told[file][1]),)) for file in ranked[:_MOST]
    ]
    head = f"{counted(len(ranked), 'file')} of the repository {'has' if len(ranked) == 1 else 'have'} ties to it"
    shown = f"; the {_MOST} with the most:" if len(ranked) > _MOST else ":"
    return [paragraph(head + shown), Table(("File", "Ties"), rows)]


def _names(subject: Subject) -> tuple[Counter[int], Counter[int]]:
    """Files whose definitions are named here, and files that name those of this one, found by the names alone."""
    out: Counter[int] = Counter()
    if not subject.is_followed:
        defined = subject.tables.names.defined
        for name in subject.facts.identifiers.keys() & defined.keys():
            out.update({place.file for place in defined[name]})
    into: Counter[int] = Counter()
    for name, index in {one.name: index for index, one in enumerate(subject.facts.definitions)}.items():
        into.update(subject.named_in(index) if name else ())
    return out, into


def _ties(subject: Subject) -> dict[int, tuple[float, list[str]]]:
    """File -> how near it is, and why in words."""
    repository, index, tables = subject.repository, subject.index, subject.tables
    out = tables.mentioned_files(index)
    into: Counter[int] = Counter()
    for uses in repository.uses[index].values():
        into.update(use.file for use in uses if use.sure and use.file != index)
    imports = Counter(target.file for _, target in subject.imports if target.file >= 0)
    importers = Counter(file for file, _ in repository.importers[index])
    links = Counter(file for file in repository.references[index] if file >= 0)
    linked = Counter(document for document, _ in tables.referrers.get(index, []))
    names_out, names_into = _names(subject)
    bases: Counter[int] = Counter()
    subclasses: Counter[int] = Counter()
    for definition, one in enumerate(subject.facts.definitions):
        place = subject.place(definition)
        if one.bases:
            bases.update(base.place.file for base in repository.bases.get(place, []) if base.place is not None)
        subclasses.update(child.file for child in repository.subclasses.get(place, []))
    shared: Counter[int] = Counter()
    for test in into:
        if tables.is_test(test) and not subject.file.test:
            shared.update(file for file in tables.mentioned_files(test) if not tables.is_test(file))
    score: defaultdict[int, float] = defaultdict(float)
    why: defaultdict[int, list[str]] = defaultdict(list)

    def add(counts: Counter[int], weight: float, told: str, *plural: str) -> None:
        for file, count in counts.items():
            if file != index:
                score[file] += weight * min(count, _MOST_MENTIONS_COUNTED)
                why[file].append(told.format(counted(count, *plural)) if plural else told)

    add(bases, _WEIGHTS["base"], "{} here", "base class of classes", "base classes of classes")
    add(subclasses, _WEIGHTS["subclass"], "{} of classes here", "subclass", "subclasses")
    add(imports, 0, "imported here")
    add(importers, 0, "imports this file")
    for file in {*imports, *importers}:
        score[file] += _WEIGHTS["imports"] * (file in imports) + _WEIGHTS["imported"] * (file in importers)
    add(out, 1, "{} here", "mention of it", "mentions of it")
    add(into, 1, "{} of this file", "mention", "mentions")
    add(links, _WEIGHTS["link"], "{} here", "link to it", "links to it")
    add(linked, _WEIGHTS["link"], "{} to this file", "link")
    add(names_out, 0.5, "defines {} that this file holds", "name")
    add(names_into, 0.5, "holds {} that this file defines", "name")
    add(shared, _WEIGHTS["tests"], "{} of both", "test file", "test files")
    score.pop(index, None)
    return {file: (score[file], why[file]) for file in score}
