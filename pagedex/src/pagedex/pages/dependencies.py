"""Dependencies: what is imported, where it leads, and how much each name of it is used."""

from __future__ import annotations

import sys
from itertools import groupby

from pagedex.model.blocks import Block, Code, Link, Runs, Table, ToAddress, ToLine
from pagedex.model.facts import Import, Reference
from pagedex.model.ties import ImportTarget
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, enumerated, joined, line_link, number, paragraph

_MOST_ROWS = 500


def dependencies(subject: Subject) -> list[Block]:
    imports = subject.imports
    blocks: list[Block] = []
    if imports:
        statements = [list(group) for _, group in groupby(imports, key=_statement)]
        rows = [_row(subject, group) for group in statements[:_MOST_ROWS]]
        blocks.append(paragraph(f"{counted(len(statements), 'import')}: {_counts(subject, imports)}."))
        head: tuple[str, ...] = ("Imported", "Leads to", "Line", "Names, and on how many other lines each stands")
        if not any(row[-1] for row in rows):  # files that are included name nothing
            head, rows = head[:-1], [row[:-1] for row in rows]
        blocks.append(Table(head, rows))
        if len(statements) > len(rows):
            blocks.append(paragraph(f"The table has the first {number(len(rows))} of {number(len(statements))}."))
    if subject.facts.references:
        blocks += _references(subject)
    if not blocks:
        what = "links" if subject.is_document else "imports"
        return [paragraph(f"Looked for {what} in {subject.file.display}; none found.")]
    return blocks


def _counts(subject: Subject, imports: list[tuple[Import, ImportTarget]]) -> str:
    inside = {target.file for _, target in imports if target.file >= 0}
    beyond = [target for _, target in imports if target.file < 0]
    standard = {_top(target) for target in beyond if _is_standard(subject, target)}
    outside = {_top(target) for target in beyond if not _is_standard(subject, target)}
    parts = []
    if inside:
        parts.append(f"{counted(len(inside), 'file')} of the repository")
    if standard:
        parts.append(f"{counted(len(standard), 'module')} of the standard library ({', '.join(sorted(standard))})")
    if outside:
        parts.append(f"{number(len(outside))} from outside ({', '.join(sorted(outside))})")
    return enumerated(parts)


def _top(target: ImportTarget) -> str:
    """The package of an outside name; the name itself where it is a header's or begins with a dot."""
    return target.outside if "/" in target.outside else target.outside.partition(".")[0] or target.outside


def _is_standard(subject: Subject, target: ImportTarget) -> bool:
    return subject.facts.language == "Python" and _top(target) in sys.stdlib_module_names


def _statement(one: tuple[Import, ImportTarget]) -> tuple[object, ...]:
    """Names that are imported one after another from one module, and lead to one file, are one row."""
    imported, target = one
    line = 0 if imported.name else imported.line
    return line, imported.module, imported.level, imported.typing_only, imported.top, target.file, target.outside


def _row(subject: Subject, group: list[tuple[Import, ImportTarget]]) -> tuple[Runs, ...]:
    imported, target = group[0]
    if target.file >= 0:
        leads: Runs = (subject.tables.page_link(target.file),)
    elif _is_standard(subject, target):
        leads = ("standard library",)
    else:
        leads = ("outside: ", Code(target.outside or imported.module))
    when = ", for type checkers only" if imported.typing_only else "" if imported.top else ", inside a function"
    last = group[-1][0].line
    told = f"{imported.line}" if last == imported.line else f"{imported.line} to {last}"
    line: Runs = (Link(told, ToLine(subject.path, imported.line)), when)
    names = joined(_name(subject, one) for one, _ in group)
    return (Code("." * imported.level + imported.module),), leads, line, names


def _name(subject: Subject, one: Import) -> Runs:
    if one.name == "*":
        return ("all names",)
    if subject.facts.language != "Python":
        return (Code(one.alias or one.name),) if one.alias or one.name else ()
    bound = one.alias or one.name or one.module.partition(".")[0]
    lines = subject.facts.identifiers.get(bound, ())
    count = sum(line != one.line for line in lines)
    renamed: Runs = (Code(one.name or one.module), " as ") if one.alias and one.alias != one.name else ()
    told = f" ({number(count)})"
    return (*renamed, Code(bound), told)


def _references(subject: Subject) -> list[Block]:
    references = subject.facts.references
    targets = subject.repository.references[subject.index]
    rows = [_link(subject, one, file) for one, file in zip(references[:_MOST_ROWS], targets, strict=False)]
    inside = sum(file >= 0 for file in targets)
    head = f"{counted(len(references), 'link')}, {number(inside)} of them to files of the repository."
    blocks: list[Block] = [paragraph(head), Table(("Link", "Leads to", "Line"), rows)]
    if len(references) > len(rows):
        blocks.append(paragraph(f"The table has the first {number(len(rows))} of {number(len(references))}."))
    return blocks


def _link(subject: Subject, one: Reference, file: int) -> tuple[Runs, ...]:
    leads: Runs
    if file >= 0:
        leads = (subject.tables.page_link(file),)
    elif one.target.startswith(("https://", "http://")):
        leads = (Link(one.target, ToAddress(one.target)),)
    else:
        leads = (Code(one.target),)
    return (one.text or one.target,), leads, (line_link(subject.path, one.line),)
