"""File Metadata, File Purpose, Original Source: the file as it lies there, and what it says that it is for."""

from __future__ import annotations

from collections.abc import Sequence

from pagedex.model.blocks import (
    Block,
    Bullets,
    Code,
    Link,
    Runs,
    Source,
    Strong,
    To,
    ToFile,
    ToFolder,
    ToKeywords,
)
from pagedex.model.facts import KINDS
from pagedex.model.files import FileKind, display
from pagedex.pages.subject import Subject
from pagedex.words.phrases import counted, enumerated, paragraph, some, span_link

_UNSHOWN = {
    FileKind.BINARY: "a binary file",
    FileKind.HUGE: "too large to be read",
    FileKind.LINK: "a symbolic link",
    FileKind.UNREADABLE: "a file that can't be read",
    FileKind.TEXT: "a text that wasn't read",
}
_MOST_NAMES = 60


def metadata(subject: Subject) -> list[Block]:
    file, facts = subject.file, subject.facts
    items: list[Runs] = [
        (Strong("Path"), ": ", Link(file.display, ToFile(file.path), code=True)),
        (Strong("Folder"), ": ", folder_link(file.folder)),
    ]
    if facts.language:
        items.append((Strong("Language"), f": {facts.language}"))
    items.append((Strong("Size"), f": {counted(file.size, 'byte')}"))
    if file.kind is FileKind.TEXT:
        blank = sum(not line.strip() for line in subject.lines[: file.lines])
        told = f", {blank:,} of them blank" if subject.text is not None else ""
        items.append((Strong("Lines"), f": {file.lines:,}{told}"))
    if file.encoding:
        items.append((Strong("Encoding"), f": {file.encoding}"))
    if file.digest:
        items.append((Strong("Digest"), ": ", Code(file.digest), " (BLAKE2b)"))
    if file.executable:
        items.append((Strong("Executable"), ": yes"))
    items.append((Strong("Test file"), f": {'yes' if file.test else 'no'}"))
    if file.note:
        items.append((Strong("Reading"), f": {file.note}"))
    items.append((Strong("Keywords"), ": ", Link("keyword index", ToKeywords(file.path))))
    return [Bullets(items)]


def folder_link(folder: str) -> Link:
    return Link(display(folder) or "root", ToFolder(folder), code=bool(folder))


def purpose(subject: Subject) -> list[Block]:
    blocks: list[Block] = []
    facts = subject.facts
    for part in subject.authored.rest:
        cited = span_link(subject.path, part.line, part.line + part.text.count("\n"))
        blocks += [paragraph(Strong(_doc_name(subject)), ", ", cited, ":"), subject.written(part.text)]
    if not subject.is_read:
        blocks.append(paragraph(Code(subject.file.display), f" is {_unshown(subject)}."))
    elif not subject.authored.rest:
        looked = f"Looked for a {_doc_name(subject).lower()}; none found. "
        blocks.append(paragraph(looked, *_plainly(subject)))
    for problem in facts.problems:
        blocks.append(paragraph(Strong("Read in part"), ": ", subject.line(max(problem.line, 1)), f": {problem.text}"))
    return blocks + _exports(subject)


def _unshown(subject: Subject) -> str:
    file = subject.file
    if file.kind is FileKind.LINK and file.note:
        return f"a {file.note}"
    return f"{_UNSHOWN[file.kind]} ({file.note})" if file.note else _UNSHOWN[file.kind]


def _doc_name(subject: Subject) -> str:
    if subject.facts.language == "Python":
        return "Module docstring"
    return "First paragraph" if subject.is_document else "Leading comment"


def _plainly(subject: Subject) -> Runs:
    """What a file without documentation defines, and who names it."""
    path = subject.file.display
    parts = defined_in_words(subject, subject.top)
    runs: Runs = (Code(path), f" defines {parts}" if parts else " defines nothing that was found")
    importers = {file for file, _ in subject.repository.importers[subject.index]}
    if importers:
        runs = (*runs, f" and is imported by {counted(len(importers), 'file')}")
    return (*runs, ".")


def defined_in_words(subject: Subject, indexes: Sequence[int]) -> str:
    """``3 classes and 24 functions``; empty for none."""
    kinds: dict[str, int] = {}
    for index in indexes:
        kind = subject.definition(index).kind
        kinds[kind] = kinds.get(kind, 0) + 1
    return enumerated([counted(kinds[kind], kind, KINDS[kind].lower()) for kind in KINDS if kind in kinds])


def _exports(subject: Subject) -> list[Block]:
    exports = subject.facts.exports
    if exports is None:
        return []
    leads: dict[str, To] = {}
    for index in subject.top:
        leads.setdefault(subject.definition(index).name, subject.link(index).to)
    for use in subject.mentions:
        if use.sure and use.target.file != subject.index:
            name = subject.repository.definition(use.target).name
            if name not in leads:
                leads[name] = subject.tables.definition_link(use.target).to
    named: list[Runs] = [(Link(name, leads[name], code=True) if name in leads else Code(name),) for name in exports]
    lines = subject.facts.identifiers.get("__all__", ())
    cited: Runs = (" (", subject.line(lines[0]), ")") if lines else ()
    names: Runs = (": ", *some(named, _MOST_NAMES)) if exports else ()
    return [paragraph(Code("__all__"), *cited, f" has {counted(len(exports), 'name')}", *names, ".")]


def source(subject: Subject) -> list[Block]:
    if subject.text is None:
        return [paragraph("Nothing is shown: ", Code(subject.file.display), f" is {_unshown(subject)}.")]
    return [Source(subject.path, subject.text, subject.facts.lexer, _links(subject), subject.file.note)]


def _links(subject: Subject) -> list[tuple[int, int, int, To, str]]:
    """Where the source's names lead: mentions to what they mention, definitions to what is said of them below."""
    found: dict[tuple[int, int], tuple[int, To, str]] = {}
    for use in subject.mentions:
        if use.sure and use.length:
            one = subject.repository.definition(use.target)
            title = f"{one.kind} {one.qualname}, {subject.tables.display(use.target.file)}:{one.line}"
            found.setdefault((use.line, use.column), (use.length, subject.tables.definition_link(use.target).to, title))
    for index, one in enumerate(subject.facts.definitions):
        if one.kind != "section":
            title = f"{one.kind} {one.qualname}"
            found.setdefault((one.line, one.column), (len(one.name), subject.link(index).to, title))
    for imported, target in subject.imports:
        name = imported.name if imported.name not in ("", "*") else imported.module
        if target.file >= 0 and imported.column:
            page = subject.tables.page_link(target.file)
            found.setdefault((imported.line, imported.column), (len(name), page.to, page.text))
    links: list[tuple[int, int, int, To, str]] = []
    free = (0, 0)
    for (line, column), (length, to, title) in sorted(found.items(), key=lambda one: one[0]):
        # Nothing is linked twice, and nothing beyond the end of a line.
        room = len(subject.lines[line - 1]) if 0 < line <= len(subject.lines) else 0
        if (line, column) >= free and column + length <= room:
            links.append((line, column, length, to, title))
            free = (line, column + length)
    return links
