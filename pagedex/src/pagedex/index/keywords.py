"""The keyword index of a file: every name and word of it, its lines, and the sections of its page where it stands."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pagedex.index.tokens import SectionTokens
from pagedex.model.blocks import (
    Block,
    Bullets,
    Code,
    Heading,
    Link,
    Page,
    Run,
    Runs,
    Section,
    Source,
    Strong,
    Table,
    ToFile,
    ToFolder,
    ToKeywords,
    ToLine,
    ToPage,
)
from pagedex.model.facts import KINDS, Facts
from pagedex.model.files import SourceFile, display
from pagedex.model.ties import Repository
from pagedex.words.english import stem
from pagedex.words.phrases import bullets, counted, joined, line_links, number, paragraph, some

_MOST_LINES = 8
_MOST_ENTRIES = 5000


@dataclass(slots=True)
class _Keyword:
    """``defined`` are the lines that define or import it, ``lines`` the others; ``forms`` are those of a word;
    ``sections`` are those of the page where it stands."""

    name: str
    defined: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    forms: tuple[str, ...] = ()
    sections: tuple[int, ...] = ()


def keyword_page(repository: Repository, file: int, page: Page) -> Page:
    """The keyword index of a file whose page is ``page``: both name the same keywords and sections."""
    source, facts = repository.files[file], repository.facts[file]
    crumbs = [*page.crumbs, Link(display(source.name), page.here)]
    groups = _groups(facts) if facts is not None else {}
    _find_sections(page, [keyword for keywords in groups.values() for keyword in keywords])
    links = _Links(page)
    sections = [
        Section("File Information", [_information(source)]),
        Section("Keywords Extracted", _extracted(source, facts, groups, links)),
        Section("Keyword → Section Map", _map(source, page, groups, links)),
    ]
    return Page(f"Keyword Index: `{source.display}`", ToKeywords(source.path), source.path, sections, crumbs)


def _find_sections(page: Page, keywords: Sequence[_Keyword]) -> None:
    for index, section in enumerate(page.sections):
        tokens = SectionTokens(section)
        for one in keywords:
            if any(map(tokens.has_word, one.forms)) if one.forms else tokens.has_name(one.name):
                one.sections = (*one.sections, index)


class _Links:
    """The links to sections of a page. Most keywords stand in the same few."""

    def __init__(self, page: Page) -> None:
        self._each = [Link(section.title, ToPage(page.about, section.anchor)) for section in page.sections]
        self._known: dict[tuple[int, ...], Runs] = {}

    def to(self, sections: tuple[int, ...]) -> Runs:
        if sections not in self._known:
            self._known[sections] = joined((self._each[index],) for index in sections)
        return self._known[sections]


def _information(source: SourceFile) -> Bullets:
    folder = Link(display(source.folder) or "root", ToFolder(source.folder), code=bool(source.folder))
    return Bullets(
        [
            (Strong("Original File"), ": ", Link(source.display, ToFile(source.path), code=True)),
            (Strong("Documentation"), ": ", Link(source.display, ToPage(source.path), code=True)),
            (Strong("Folder"), ": ", folder),
        ]
    )


def _groups(facts: Facts) -> dict[str, list[_Keyword]]:
    """Heading -> keywords, in the order of the page."""
    defined: dict[str, dict[str, _Keyword]] = {kind: {} for kind in KINDS}
    known: set[str] = set()
    for one in facts.definitions:
        defined[one.kind].setdefault(one.name, _Keyword(one.name)).defined.append(one.line)
        known.add(one.name)
    imported: dict[str, _Keyword] = {}
    for imports in facts.imports:
        name = imports.alias or (imports.name if imports.name not in ("", "*") else imports.module)
        if name:
            imported.setdefault(name, _Keyword(name)).defined.append(imports.line)
            known.add(name)
    other = {name: _Keyword(name) for name in facts.identifiers if name not in known}
    for keywords in (*defined.values(), imported, other):
        for keyword in keywords.values():
            lines = set(keyword.defined)
            keyword.defined = sorted(lines)
            keyword.lines = [line for line in facts.identifiers.get(keyword.name, ()) if line not in lines]
    # Where nothing is defined but sections, all names are the same to a reader.
    kinds = {kind for kind in KINDS if defined[kind]}
    others = "Identifiers" if kinds <= {"section"} and not imported else "Other Names"
    groups = {KINDS[kind]: _sorted(defined[kind]) for kind in KINDS}
    groups |= {"Imports": _sorted(imported), others: _sorted(other), "Words": _words(facts)}
    return {title: keywords for title, keywords in groups.items() if keywords}


def _sorted(keywords: dict[str, _Keyword]) -> list[_Keyword]:
    return [keywords[name] for name in sorted(keywords, key=lambda name: (name.lower(), name))]


def _words(facts: Facts) -> list[_Keyword]:
    """Words by their stems, each shown as the form that comes in most lines."""
    stems: dict[str, list[str]] = {}
    for word in facts.words:
        stems.setdefault(stem(word), []).append(word)
    found: dict[str, _Keyword] = {}
    for forms in stems.values():
        shown = min(forms, key=lambda form: (-len(facts.words[form]), len(form), form))
        lines = sorted({line for form in forms for line in facts.words[form]})
        found[shown] = _Keyword(shown, [], lines, tuple(sorted(forms)))
    return _sorted(found)


def _extracted(
    source: SourceFile, facts: Facts | None, groups: dict[str, list[_Keyword]], links: _Links
) -> list[Block]:
    if facts is None or not groups:
        why = "none found" if facts is not None else f"it isn't read ({source.kind.value})"
        return [paragraph(f"Looked for keywords in {source.display}; {why}.")]
    around = _around(facts, source.path)
    blocks: list[Block] = [
        paragraph(", ".join(f"{title}: {number(len(keywords))}" for title, keywords in groups.items()), ".")
    ]
    for title, keywords in groups.items():
        blocks.append(Heading(3, (title,), f"k-{title.lower().replace(' ', '-')}"))
        items = [_entry(source.path, one, around(one) if around else (), links.to(one.sections)) for one in keywords]
        blocks.append(bullets(items, _MOST_ENTRIES))
    return blocks


def _entry(path: str, keyword: _Keyword, around: Runs, sections: Runs) -> Runs:
    lines = [*keyword.defined, *keyword.lines]
    name = display(keyword.name)
    head: Run = Link(name, ToLine(path, lines[0]), code=True) if lines else Code(name)
    other_forms = [form for form in keyword.forms if form != keyword.name]
    runs: tuple[Run, ...] = (head, f" ({', '.join(other_forms)})") if other_forms else (head,)
    if lines:
        runs = (*runs, ": ", *line_links(path, lines, _MOST_LINES))
    if around:
        runs = (*runs, "; under ", *around)
    return (*runs, "; ", *sections) if sections else runs


def _around(facts: Facts, path: str) -> Callable[[_Keyword], Runs] | None:
    """For documents: the document's own sections in which a keyword stands."""
    sections = sorted((one.line, one.name) for one in facts.definitions if one.kind == "section")
    if not sections:
        return None

    def titles(keyword: _Keyword) -> Runs:
        lines = sorted({*keyword.defined, *keyword.lines})
        found = dict.fromkeys(at for line in lines if (at := bisect_right(sections, (line, "\U0010ffff")) - 1) >= 0)
        return some([(Link(sections[at][1], ToLine(path, sections[at][0])),) for at in found], _MOST_LINES)

    return titles


def _map(source: SourceFile, page: Page, groups: dict[str, list[_Keyword]], links: _Links) -> list[Block]:
    names = [keyword for title, keywords in groups.items() if title != "Words" for keyword in keywords]
    names = _sorted({keyword.name: keyword for keyword in names})
    words = groups.get("Words", [])
    items: list[Runs] = []
    held = Counter(index for keyword in names for index in keyword.sections)
    for index, section in enumerate(page.sections):
        parts = [counted(held[index], "name"), *_holds(section)]
        items.append((*links.to((index,)), f": {', '.join(parts)}"))
    blocks: list[Block] = [paragraph(f"{counted(len(items), 'section')} of {source.display}:"), Bullets(items)]
    for title, keywords in (("names", names), ("words", words)):
        if keywords:
            blocks.append(Heading(3, (f"Sections of {counted(len(keywords), title[:-1])}",), f"m-{title}"))
            rows: list[Runs] = [
                (Code(display(keyword.name)), " → ", *(links.to(keyword.sections) or ("none",))) for keyword in keywords
            ]
            blocks.append(bullets(rows, _MOST_ENTRIES))
    return blocks


def _holds(section: Section) -> list[str]:
    """What a section consists of, in numbers."""
    counts = {
        "heading": sum(isinstance(one, Heading) for one in section.blocks),
        "table row": sum(len(one.rows) for one in section.blocks if isinstance(one, Table)),
        "list item": sum(len(one.items) for one in section.blocks if isinstance(one, Bullets)),
        "line": sum(one.text.removesuffix("\n").count("\n") + 1 for one in section.blocks if isinstance(one, Source)),
    }
    return [counted(count, noun) for noun, count in counts.items() if count]
