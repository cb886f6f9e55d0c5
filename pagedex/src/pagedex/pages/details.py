"""Detailed Analysis: each definition of the file with all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence

from pagedex.model.blocks import Block, Bullets, Code, Fence, Heading, Link, Run, Runs, Strong
from pagedex.model.facts import Definition
from pagedex.model.ties import Place
from pagedex.pages.subject import Subject
from pagedex.pages.used_by import used_by
from pagedex.words.phrases import counted, enumerated, joined, paragraph, some, span_link

# Beyond so many, only names and lines: such files are generated.
_MOST = 2000
_MOST_RELATIVES = 30
_DEEPEST = 6
_MOST_ALIKE = 8


def details(subject: Subject) -> list[Block]:
    same: dict[str, list[int]] = {}
    for index, one in enumerate(subject.facts.definitions):
        same.setdefault(one.qualname, []).append(index)
    blocks: list[Block] = []
    for count, (index, depth) in enumerate(subject.in_order()):
        one = subject.definition(index)
        name = one.name if one.kind == "section" else one.qualname
        runs: Runs = (name,) if one.kind == "section" else (f"{one.kind} ", Code(name))
        blocks.append(Heading(min(3 + depth, _DEEPEST), runs, subject.anchor(index)))
        if count < _MOST:
            blocks += _definition(subject, index, one)
            blocks += _uses(subject, index, same[one.qualname]) if one.kind != "section" else []
        else:
            blocks.append(paragraph(subject.line(one.line)))
    if not blocks:
        return [paragraph(f"Looked for definitions in {subject.file.display}; none found.")]
    if len(subject.facts.definitions) > _MOST:
        left = len(subject.facts.definitions) - _MOST
        blocks.insert(0, paragraph(f"Of the last {counted(left, 'definition')}, only the lines are given."))
    return blocks


def _definition(subject: Subject, index: int, one: Definition) -> list[Block]:
    if one.kind == "section":
        blocks: list[Block] = [paragraph(_capital(span_link(subject.path, one.line, one.end_line)))]
        return [*blocks, subject.written(one.doc)] if one.doc else blocks
    blocks = []
    if one.signature:
        blocks.append(Fence("\n".join([*(f"@{text}" for text in one.decorators), one.signature]), subject.facts.lexer))
    blocks.append(paragraph(*_where(subject, one)))
    if items := _ties(subject, index, one):
        blocks.append(Bullets(items))
    if one.doc:
        blocks.append(subject.written(one.doc))
    return blocks


def _uses(subject: Subject, index: int, same: Sequence[int]) -> list[Block]:
    """Where it is used. Of a name that is defined again and again each use may mean any: they stand once."""
    if len(same) <= _MOST_ALIKE or index == same[-1]:
        return used_by(subject, index)
    last = subject.definition(same[-1])
    return [
        paragraph(
            f"Defined {len(same):,} times; what uses the name stands where it is defined last, ",
            subject.line(last.line),
            ".",
        )
    ]


def _where(subject: Subject, one: Definition) -> Runs:
    runs: list[Run] = [_capital(span_link(subject.path, one.line, one.end_line))]
    said = [label for label in one.labels if label != one.kind]
    if not one.public:
        said.insert(0, "private")
    if said:
        runs.append(f", {enumerated(said)}")
    if one.value:
        runs += [", value ", Code(one.value)]
    if one.doc_line and one.doc_line > one.line:
        runs += [", documented from ", subject.line(one.doc_line)]
    if one.decorators and not one.signature:
        runs += [", decorated with ", *joined((Code(f"@{text}"),) for text in one.decorators)]
    return tuple(runs)


def _capital(link: Link) -> Link:
    return link._replace(text=link.text.capitalize())


def _ties(subject: Subject, index: int, one: Definition) -> list[Runs]:
    repository, place = subject.repository, subject.place(index)
    items: list[Runs] = []
    if one.bases:
        bases = [(subject.tables.definition_link(base) if base else Code(text),) for text, base in subject.bases(index)]
        items.append((Strong("Bases"), ": ", *joined(bases)))
    items += _relatives(subject, "Subclasses", repository.subclasses.get(place, []))
    items += _relatives(subject, "Overrides", repository.overrides.get(place, []))
    items += _relatives(subject, "Overridden by", repository.overridden.get(place, []))
    if one.raises:
        items.append((Strong("Raises"), ": ", *subject.raised(one.raises)))
    return items


def _relatives(subject: Subject, title: str, places: Sequence[Place]) -> list[Runs]:
    if not places:
        return []
    count = f" ({len(places):,})" if len(places) > 1 else ""
    relatives = [subject.relative(place) for place in sorted(places)]
    return [(Strong(title), f"{count}: ", *some(relatives, _MOST_RELATIVES))]
