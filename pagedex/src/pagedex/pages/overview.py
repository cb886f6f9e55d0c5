"""High-Level Overview: what the file defines at its top, and how much each is used."""

from __future__ import annotations

from pagedex.model.blocks import Block, Link, Runs, Table, ToLine
from pagedex.pages.about import defined_in_words
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, first_sentence, number, paragraph

_MOST_ROWS = 1000


def overview(subject: Subject) -> list[Block]:
    top = subject.top
    if not top:
        looked = f"Looked for definitions in {subject.file.display}; none found."
        return [paragraph(looked), *_lines_without_definitions(subject)]
    shown = top[:_MOST_ROWS]
    blocks: list[Block] = [paragraph(_counts(subject)), Table(_head(subject), [_row(subject, one) for one in shown])]
    if len(top) > len(shown):
        blocks.append(paragraph(f"The table has the first {number(len(shown))} of {number(len(top))}."))
    return blocks


def _counts(subject: Subject) -> str:
    top, every = set(subject.top), subject.facts.definitions
    told = f"{defined_in_words(subject, subject.top)} {'in all' if subject.is_document else 'at the top'}"
    inside = defined_in_words(subject, [index for index in range(len(every)) if index not in top])
    if inside:
        told += f"; inside them {inside}"
    private = sum(not one.public for one in every)
    if private:
        told += f"; {number(private)} of these {number(len(every))} {'is' if private == 1 else 'are'} private"
    return told + "."


def _head(subject: Subject) -> tuple[str, ...]:
    if subject.is_document:
        return "Section", "Line", "Begins"
    return "Name", "Kind", "Line", "Used in code", "In tests", "Says"


def _row(subject: Subject, index: int) -> tuple[Runs, ...]:
    one = subject.definition(index)
    name: Runs = (Link(one.name, subject.link(index).to, code=not subject.is_document),)
    line: Runs = (Link(f"{one.line}", ToLine(subject.path, one.line)),)
    says: Runs = (first_sentence(one.doc),)
    if subject.is_document:
        return name, line, says
    sure = [use for use in subject.uses(index) if use.sure and not subject.tables.is_document(use.file)]
    tests = sum(subject.tables.is_test(use.file) for use in sure)
    return name, (one.kind,), line, (number(len(sure) - tests),), (number(tests),), says


def _lines_without_definitions(subject: Subject) -> list[Block]:
    imports = len(subject.facts.imports)
    if not imports:
        return []
    return [paragraph(f"What it does is {counted(imports, 'import')}, under Dependencies.")]
