"""High-Level Overview: what the file defines at its top, and how much each is used; of a document, its sections."""

from __future__ import annotations

from pagedex.model.blocks import Block, Link, Runs, Table
from pagedex.pages.about import defined_in_words
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, first_sentence, line_link, number, paragraph

_MOST_ROWS = 1000


def overview(subject: Subject) -> list[Block]:
    listed = [index for index, _ in subject.in_order()] if subject.is_document else subject.top
    if not listed:
        looked = f"Looked for definitions in {subject.file.display}; none found."
        imports = len(subject.facts.imports)
        told = f" Its {counted(imports, 'imported name')} {'is' if imports == 1 else 'are'} under Dependencies."
        return [paragraph(looked + told if imports else looked)]
    rows = [_row(subject, index) for index in listed[:_MOST_ROWS]]
    blocks: list[Block] = [paragraph(_counts(subject)), Table(_head(subject), rows)]
    if len(listed) > len(rows):
        blocks.append(paragraph(f"The table has the first {number(len(rows))} of {number(len(listed))}."))
    return blocks


def _counts(subject: Subject) -> str:
    top, every = set(subject.top), subject.facts.definitions
    if subject.is_document:
        return f"{defined_in_words(subject, range(len(every)))}."
    told = f"{defined_in_words(subject, subject.top)} at the top"
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
    uses = ("Used in code", "In tests") if subject.is_followed else ("Other files with its name",)
    return ("Name", "Kind", "Line", *uses, "Says")


def _row(subject: Subject, index: int) -> tuple[Runs, ...]:
    one = subject.definition(index)
    name: Runs = (Link(one.name, subject.link(index).to, code=not subject.is_document),)
    line: Runs = (line_link(subject.path, one.line),)
    says: Runs = (first_sentence(one.doc),)
    if subject.is_document:
        return name, line, says
    if not subject.is_followed:
        others = [file for file in subject.named_in(index) if file != subject.index]
        return name, (one.kind,), line, (number(len(others)),), says
    sure = [use for use in subject.uses(index) if use.sure and not subject.tables.is_document(use.file)]
    tests = sum(subject.tables.is_test(use.file) for use in sure)
    return name, (one.kind,), line, (number(len(sure) - tests),), (number(tests),), says
