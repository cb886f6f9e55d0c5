"""The three pages of a folder: its files, what it is, and what is defined below it."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property

from pagedex.index.letters import DIGITS, letter_of, sort_key
from pagedex.model.blocks import (
    Block,
    Bullets,
    Code,
    Link,
    Page,
    Paragraph,
    Runs,
    Section,
    Strong,
    Table,
    Text,
    ToFolder,
    ToKeywords,
    ToLetter,
    ToLine,
    ToPage,
)
from pagedex.model.facts import Definition, Facts
from pagedex.model.files import display
from pagedex.model.ties import Place, Repository
from pagedex.words.phrases import (
    bullets,
    counted,
    enumerated,
    first_paragraph,
    first_sentence,
    joined,
    line_links,
    number,
    paragraph,
    some,
    span_link,
)

# Above so many, the page of what is defined below a folder leads to those of its subfolders.
_MOST_DEFINITIONS = 5000
_MOST_USED = 20
_MOST_PLACES = 12
_MOST_FOLDERS = 30
_MOST_ENTRY_POINTS = 60
_MOST_NAMES = 4
# Files that say what their folder is, the first of these that is there and says something.
_DESCRIBING = (
    "readme.md",
    "readme.rst",
    "readme.txt",
    "readme",
    "__init__.py",
    "mod.rs",
    "doc.go",
    "package-info.java",
)


class Folders:
    """The folders of a repository. ``paths`` are those with files in or below them, the root's ``""`` first."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.files: defaultdict[str, list[int]] = defaultdict(list)
        self.subfolders: defaultdict[str, set[str]] = defaultdict(set)
        for index, file in enumerate(repository.files):
            folder = file.folder
            self.files[folder].append(index)
            while folder:
                parent = folder.rpartition("/")[0]
                self.subfolders[parent].add(folder)
                folder = parent
        self.paths: list[str] = sorted({"", *self.files, *(sub for subs in self.subfolders.values() for sub in subs)})

    def below(self, path: str) -> Iterator[int]:
        """The files in a folder and in all folders below it."""
        waiting = [path]
        while waiting:
            folder = waiting.pop()
            yield from self.files.get(folder, ())
            waiting += sorted(self.subfolders.get(folder, ()), reverse=True)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Folder -> the number of files in it and below."""
        found: Counter[str] = Counter()
        for path, files in self.files.items():
            folder = path
            found[folder] += len(files)
            while folder:
                folder = folder.rpartition("/")[0]
                found[folder] += len(files)
        return found

    @cached_property
    def used(self) -> list[list[tuple[int, int]]]:
        """Of each file the definitions that are mentioned most in other files: (mentions, definition)."""
        found = []
        for file, uses in enumerate(self.repository.uses):
            counts = ((sum(use.sure and use.file != file for use in some), -index) for index, some in uses.items())
            found.append([(count, -index) for count, index in heapq.nlargest(_MOST_USED, counts) if count])
        return found

    def described(self, path: str) -> tuple[int, str, int] | None:
        """The file that says what a folder is, the first paragraph of it, and its line."""
        names = {self.repository.files[file].name.lower(): file for file in self.files.get(path, ())}
        for name in _DESCRIBING:
            facts = self.repository.facts[names[name]] if name in names else None
            if facts is not None and (said := first_paragraph(facts.doc)):
                return names[name], said, max(facts.doc_line, 1)
        return None


def folder_pages(folders: Folders, path: str) -> list[Page]:
    """The pages "index", "doc" and "sub" of a folder."""
    name = display(path) or folders.repository.name
    pages = (
        ("index", f"Folder: `{name}`", _index(folders, path)),
        ("doc", f"About the folder `{name}`", _doc(folders, path)),
        ("sub", f"Defined below `{name}`", _sub(folders, path)),
    )
    return [
        Page(title, ToFolder(path, kind), path, sections, _crumbs(folders, path, kind), [_lead(folders, path, kind)])
        for kind, title, sections in pages
    ]


def _crumbs(folders: Folders, path: str, kind: str) -> list[Link]:
    parts = path.split("/") if path else []
    every = [Link(folders.repository.name, ToFolder(""))]
    every += (Link(display(part), ToFolder("/".join(parts[: at + 1]))) for at, part in enumerate(parts))
    return every if kind != "index" else every[:-1]


def _lead(folders: Folders, path: str, kind: str) -> Paragraph:
    titles = {"index": "files", "doc": "what it is", "sub": "what is defined below it"}
    others = joined((Link(titles[one], ToFolder(path, one)),) for one in titles if one != kind)
    counts = f"{counted(folders.counts.get(path, 0), 'file')} in and below this folder. See also "
    if path:
        return paragraph(counts, *others, ".")
    # The commit stands here alone: pages of files that didn't change stay as they are from one to the next.
    revision = folders.repository.revision
    commit: Runs = (" At commit ", Code(revision), ".") if revision else ()
    return paragraph(counts, *others, ", ", Link("A to Z", ToLetter("")), ".", *commit)


def _folder(path: str, page: str = "index") -> Link:
    return Link(display(path) or "root", ToFolder(path, page), code=bool(path))


def _index(folders: Folders, path: str) -> list[Section]:
    repository = folders.repository
    rows: list[tuple[Runs, ...]] = []
    for file in folders.files.get(path, ()):
        source, facts = repository.files[file], repository.facts[file]
        rows.append(
            (
                (Link(display(source.name), ToPage(source.path), code=True),),
                (facts.language if facts is not None else source.kind.value,),
                (number(source.lines) if facts is not None else "",),
                (_says(facts) if facts is not None else source.note,),
                (Link("keywords", ToKeywords(source.path)),),
            )
        )
    files: list[Block] = [Table(("File", "Language", "Lines", "Says", "Index"), rows)] if rows else []
    subfolders = sorted(folders.subfolders.get(path, ()))
    below: list[tuple[Runs, ...]] = []
    for sub in subfolders:
        described = folders.described(sub)
        name = display(sub.rpartition("/")[2])
        says = first_sentence(described[1]) if described is not None else ""
        below.append(((Link(name, ToFolder(sub), code=True),), (number(folders.counts[sub]),), (says,)))
    sections = [Section("Files", [paragraph(f"{counted(len(rows), 'file')} in this folder itself."), *files])]
    if below:
        sections.append(Section("Subfolders", [Table(("Folder", "Files", "Says"), below)]))
    return sections


def _says(facts: Facts) -> str:
    """What a file says of itself; where it says nothing, what it defines."""
    if facts.doc:
        return first_sentence(facts.doc)
    names = [one.name for one in facts.definitions if one.parent < 0 and one.public]
    shown = (
        names if len(names) <= _MOST_NAMES else [*names[: _MOST_NAMES - 1], f"{len(names) - _MOST_NAMES + 1:,} more"]
    )
    return f"Defines {enumerated(shown)}" if names else ""


def _doc(folders: Folders, path: str) -> list[Section]:
    return [
        Section("What It Is", _what(folders, path)),
        Section("Files by Language", [_languages(folders, path)]),
        Section("Most Used Definitions", _most_used(folders, path)),
        Section("Imports", _imports(folders, path)),
        Section("Entry Points", _entry_points(folders, path)),
    ]


def _what(folders: Folders, path: str) -> list[Block]:
    described = folders.described(path)
    if described is None:
        return [
            paragraph(
                f"Looked for a README and a package's documentation in {display(path) or 'the root'}; none found."
            )
        ]
    file, said, line = described
    source = folders.repository.files[file]
    return [
        paragraph(
            Link(display(source.name), ToPage(source.path), code=True), ", ", span_link(source.path, line, line), ":"
        ),
        Text(said),
    ]


def _languages(folders: Folders, path: str) -> Block:
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for file in folders.below(path):
        source, facts = folders.repository.files[file], folders.repository.facts[file]
        language = facts.language if facts is not None else source.kind.value
        files[language] += 1
        lines[language] += source.lines if facts is not None else 0
    rows: list[tuple[Runs, ...]] = [
        ((language,), (number(count),), (number(lines[language]),)) for language, count in files.most_common()
    ]
    return Table(("Language", "Files", "Lines"), rows)


def _most_used(folders: Folders, path: str) -> list[Block]:
    every = ((count, file, index) for file in folders.below(path) for count, index in folders.used[file])
    used = heapq.nsmallest(_MOST_USED, every, key=lambda one: (-one[0], one[1], one[2]))
    if not used:
        return [paragraph(f"Looked for mentions of what {display(path) or 'the repository'} defines; none found.")]
    rows: list[tuple[Runs, ...]] = []
    for count, file, index in used:
        one = folders.repository.definition(Place(file, index))
        rows.append(((*_defined(folders, file, one),), (one.kind,), (number(count),), (first_sentence(one.doc),)))
    return [Table(("Definition", "Kind", "Mentions in other files", "Says"), rows)]


def _defined(folders: Folders, file: int, one: Definition) -> Runs:
    source = folders.repository.files[file]
    return (Code(one.qualname), " ", Link(f"{source.display}:{one.line}", ToLine(source.path, one.line)))


def _imports(folders: Folders, path: str) -> list[Block]:
    repository = folders.repository
    files = set(folders.below(path))
    out: Counter[str] = Counter()
    into: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for file in files:
        for target in repository.imports[file]:
            if target.file < 0:
                outside[target.outside.partition(".")[0] or target.outside] += 1
            elif target.file not in files:
                out[repository.files[target.file].folder] += 1
        into.update(
            repository.files[importer].folder for importer, _ in repository.importers[file] if importer not in files
        )
    items: list[Runs] = []
    for title, counts in (("Imports from", out), ("Is imported from", into)):
        if counts:
            listed: list[Runs] = [(_folder(folder, "doc"), f" ({count:,})") for folder, count in _ranked(counts)]
            items.append((Strong(title), f" {counted(len(counts), 'folder')}: ", *some(listed, _MOST_FOLDERS)))
    if outside:
        names: list[Runs] = [(Code(name), f" ({count:,})") for name, count in _ranked(outside)]
        packages = counted(len(outside), "package")
        items.append(
            (
                Strong("Imports from elsewhere"),
                f" {packages}, those of Python among them: ",
                *some(names, _MOST_FOLDERS),
            )
        )
    if not items:
        return [paragraph(f"Looked for imports in and of {display(path) or 'the repository'}; none found.")]
    return [Bullets(items)]


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _entry_points(folders: Folders, path: str) -> list[Block]:
    """Where a program may begin: a package's __main__, files that the system runs, functions called main."""
    items: list[Runs] = []
    for file in folders.below(path):
        source, facts = folders.repository.files[file], folders.repository.facts[file]
        link = Link(source.display, ToPage(source.path), code=True)
        if source.name == "__main__.py":
            items.append((link, ", run by python -m"))
        elif source.executable:
            items.append((link, ", an executable file"))
        mains = [one for one in facts.definitions if one.name == "main" and one.parent < 0] if facts is not None else []
        items += ((link, ", function ", Code("main"), " at ", *line_links(source.path, [one.line], 1)) for one in mains)
    if not items:
        where = display(path) or "the repository"
        return [
            paragraph(f"Looked for __main__.py, executable files and functions called main in {where}; none found.")
        ]
    return [bullets(items, _MOST_ENTRY_POINTS)]


def _sub(folders: Folders, path: str) -> list[Section]:
    count, by_name = _defined_below(folders, path)
    if count > _MOST_DEFINITIONS:
        return [Section("By Subfolder", _by_subfolder(folders, path, count))]
    if not count:
        where = display(path) or "the repository"
        return [Section("Definitions", [paragraph(f"Looked for definitions in {where}; none found.")])]
    letters: dict[str, list[Runs]] = {}
    for name in sorted(by_name, key=sort_key):
        places = some([_place(folders, file, one) for file, one in by_name[name]], _MOST_PLACES)
        letters.setdefault(letter_of(name), []).append((Code(name), ": ", *places))
    return [
        Section(letter.upper() if letter != DIGITS else letter, [Bullets(items)]) for letter, items in letters.items()
    ]


def _defined_below(folders: Folders, path: str) -> tuple[int, dict[str, list[tuple[int, Definition]]]]:
    """How many definitions there are below a folder, sections of documents left out, and those by their names."""
    count = 0
    found: dict[str, list[tuple[int, Definition]]] = {}
    for file in folders.below(path):
        facts = folders.repository.facts[file]
        for one in facts.definitions if facts is not None else ():
            if one.kind != "section":
                count += 1
                if count <= _MOST_DEFINITIONS:
                    found.setdefault(one.name, []).append((file, one))
    return count, found


def _place(folders: Folders, file: int, one: Definition) -> Runs:
    source = folders.repository.files[file]
    return (f"{one.kind} ", Link(f"{source.display}:{one.line}", ToLine(source.path, one.line)))


def _by_subfolder(folders: Folders, path: str, count: int) -> list[Block]:
    rows: list[tuple[Runs, ...]] = []
    for sub in sorted(folders.subfolders.get(path, ())):
        rows.append(((_folder(sub, "sub"),), (number(_defined_below(folders, sub)[0]),)))
    for file in folders.files.get(path, ()):
        source, facts = folders.repository.files[file], folders.repository.facts[file]
        own = sum(one.kind != "section" for one in facts.definitions) if facts is not None else 0
        if own:
            rows.append(((Link(source.display, ToKeywords(source.path), code=True),), (number(own),)))
    return [
        paragraph(f"{counted(count, 'definition')}, more than one page holds:"),
        Table(("Below", "Definitions"), rows),
    ]
