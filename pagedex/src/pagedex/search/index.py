"""What can be found, as plain columns that a browser reads as quickly as Python.

One table of *names* holds every name once: of definitions, of names that are only used, and the names of files. What
bears a name points to its row. Words, of prose and of names, are held by their stems, each with the files in which
they stand. The index lies in scripts that call ``pagedexIndex``: a page that was opened from a disk may load scripts
and nothing else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pagedex.errors import PagedexError
from pagedex.model.anchors import definition_anchors
from pagedex.model.ties import Repository
from pagedex.words.english import stem
from pagedex.words.identifiers import parts_of

SCHEMA = "pagedex/search/1"
# A stem that stands in more files than this tells nothing by itself: the files where it stands most often are kept.
_MOST_FILES = 500
_SHORTEST_PART = 3
_CALL = "pagedexIndex"
# The scripts, in the order in which they are loaded: search answers after the first, and better after the others.
SCRIPTS = ("search-index-0.js", "search-index-1.js", "search-index-2.js")


@dataclass(slots=True)
class Index:
    """Columns run parallel. ``d_*`` are definitions: name, kind, file, line, the definition around it or -1, uses, and
    whether it is public; ``u_*`` names that are used and defined nowhere here: name, file and line of the first use,
    how many files use it. ``stems`` are sorted; ``s_files[i]`` are pairs of file and line, in order of files.

    ``addresses`` has the page of each file whose name doesn't follow from its path, ``anchors`` the anchor of each
    definition whose doesn't follow from its name, ``rendered`` files with a page elsewhere, where search leads instead.
    """

    files: list[str] = field(default_factory=list)
    tests: list[int] = field(default_factory=list)  # of 0 and 1
    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    f_name: list[int] = field(default_factory=list)
    d_name: list[int] = field(default_factory=list)
    d_kind: list[int] = field(default_factory=list)
    d_file: list[int] = field(default_factory=list)
    d_line: list[int] = field(default_factory=list)
    d_parent: list[int] = field(default_factory=list)
    d_uses: list[int] = field(default_factory=list)
    d_public: list[int] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    rendered: dict[str, str] = field(default_factory=dict)
    anchors: dict[str, str] = field(default_factory=dict)
    u_name: list[int] = field(default_factory=list)
    u_file: list[int] = field(default_factory=list)
    u_line: list[int] = field(default_factory=list)
    u_count: list[int] = field(default_factory=list)
    used_names: list[str] = field(default_factory=list)  # rows of ``names`` that come with the second script
    stems: list[str] = field(default_factory=list)
    s_files: list[list[int]] = field(default_factory=list)


_SHARDS = (
    (
        "files tests names kinds f_name d_name d_kind d_file d_line d_parent d_uses d_public addresses rendered anchors"
    ).split(),
    "used_names u_name u_file u_line u_count".split(),
    "stems s_files".split(),
)


def build_index(
    repository: Repository, page_of: Callable[[str], str], rendered: Callable[[str], str] = lambda path: ""
) -> Index:
    """The index of a repository. ``page_of`` gives the address of a file's page, ``rendered`` that of a page which
    another tool made of it, or nothing; both as seen from the output's folder."""
    index = Index()
    rows: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for number, file in enumerate(repository.files):
        path = file.display
        index.files.append(path)
        index.tests.append(int(file.test))
        index.f_name.append(_row(rows, index.names, path.rpartition("/")[2]))
        if (address := page_of(file.path)) != default_page(path):
            index.addresses[str(number)] = address
        if address := rendered(file.path):
            index.rendered[str(number)] = address
    for number, facts in enumerate(repository.facts):
        if facts is None:
            continue
        first = len(index.d_name)
        anchors = definition_anchors(facts.definitions)
        for position, one in enumerate(facts.definitions):
            parent = one.parent if one.parent < position else -1
            index.d_name.append(_row(rows, index.names, one.name))
            index.d_kind.append(_row(kinds, index.kinds, one.kind))
            index.d_file.append(number)
            index.d_line.append(one.line)
            index.d_parent.append(first + parent if parent >= 0 else -1)
            index.d_uses.append(len(repository.uses[number].get(position, ())))
            index.d_public.append(int(one.public))
            if anchors[position] != f"d-{qualname(index, first + position)}":
                index.anchors[str(first + position)] = anchors[position]
    _add_used(index, repository, rows)
    _add_words(index, repository)
    return index


def default_page(path: str) -> str:
    """The page of a file as a rule: what ``addresses`` doesn't say."""
    return f"{path}_docs.html"


def qualname(index: Index, definition: int) -> str:
    """The dotted name of a definition."""
    parts = []
    while definition >= 0:
        parts.append(index.names[index.d_name[definition]])
        definition = index.d_parent[definition]
    return ".".join(reversed(parts))


def _row(rows: dict[str, int], values: list[str], value: str) -> int:
    row = rows.get(value)
    if row is None:
        row = rows[value] = len(values)
        values.append(value)
    return row


def _add_used(index: Index, repository: Repository, rows: dict[str, int]) -> None:
    defined = {index.names[row] for row in index.d_name}
    used: dict[str, list[int]] = {}
    for number, facts in enumerate(repository.facts):
        for name, lines in facts.identifiers.items() if facts is not None else ():
            if name in defined or not lines:
                continue
            known = used.setdefault(name, [number, lines[0], 0])
            known[2] += 1
    first = len(index.names)
    for name in sorted(used):
        file, line, count = used[name]
        row = rows.get(name)
        if row is None:
            row = first + len(index.used_names)
            index.used_names.append(name)
        index.u_name.append(row)
        index.u_file.append(file)
        index.u_line.append(line)
        index.u_count.append(count)


def _add_words(index: Index, repository: Repository) -> None:
    stems: defaultdict[str, dict[int, tuple[int, int]]] = defaultdict(
        dict
    )  # stem -> file -> first line, how many lines
    for number, facts in enumerate(repository.facts):
        if facts is None:
            continue
        for word, lines in facts.words.items():
            _add(stems[stem(word)], number, lines)
        # The parts of names say what a file is about as well as its prose does: TruncatedError, zstd_level.
        for name, lines in facts.identifiers.items():
            for part in set(parts_of(name)):
                if len(part) >= _SHORTEST_PART and not part.isdigit():
                    _add(stems[stem(part)], number, lines)
    for one in sorted(stems):
        files = stems[one]
        kept = sorted(sorted(files, key=lambda number: (-files[number][1], number))[:_MOST_FILES])
        index.stems.append(one)
        index.s_files.append([value for number in kept for value in (number, files[number][0])])


def _add(files: dict[int, tuple[int, int]], number: int, lines: Sequence[int]) -> None:
    if lines:
        line, count = files.get(number, (lines[0], 0))
        files[number] = (min(line, lines[0]), count + len(lines))


def to_scripts(index: Index) -> dict[str, bytes]:
    """The scripts of an index, by name."""
    scripts = {}
    for number, (name, columns) in enumerate(zip(SCRIPTS, _SHARDS, strict=True)):
        said: dict[str, Any] = {"schema": SCHEMA, **{column: getattr(index, column) for column in columns}}
        text = json.dumps(said, separators=(",", ":"))
        # Neither ends a script, wherever it stands.
        text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028")
        scripts[name] = f"{_CALL}({number},{text});\n".encode("ascii")
    return scripts


def from_scripts(read: Callable[[str], bytes]) -> Index:
    """The index that scripts hold; ``read`` gives the content of one by its name.

    Raises:
        PagedexError: a script isn't what ``to_scripts`` gives.
    """
    index = Index()
    for number, name in enumerate(SCRIPTS):
        content = read(name)
        start = f"{_CALL}({number},".encode()
        try:
            if not content.startswith(start):
                raise ValueError("it doesn't begin as one")
            said = json.loads(content[len(start) :].rstrip().removesuffix(b");"))
            if said["schema"] != SCHEMA:
                raise ValueError(f"it is of {said['schema']!r}")
            for column in _SHARDS[number]:
                setattr(index, column, said[column])
        except (ValueError, KeyError, TypeError) as error:
            raise PagedexError(f"{name} isn't an index of this version: build again ({error})") from error
    _check(index)
    return index


def _check(index: Index) -> None:
    names, files, definitions = len(index.names) + len(index.used_names), len(index.files), len(index.d_name)
    columns: tuple[tuple[list[int], int, int], ...] = (
        (index.f_name, files, names),
        (index.d_name, definitions, names),
        (index.d_kind, definitions, len(index.kinds)),
        (index.d_file, definitions, files),
        (index.d_line, definitions, 1 << 62),
        (index.d_uses, definitions, 1 << 62),
        (index.d_public, definitions, 2),
        (index.u_name, len(index.u_name), names),
        (index.u_file, len(index.u_name), files),
        (index.u_line, len(index.u_name), 1 << 62),
        (index.u_count, len(index.u_name), 1 << 62),
    )
    right = all(
        len(column) == length and all(type(value) is int and 0 <= value < below for value in column)
        for column, length, below in columns
    )
    # A definition stands in one that comes before it: there are no circles.
    right &= len(index.d_parent) == definitions and all(-1 <= one < at for at, one in enumerate(index.d_parent))
    right &= len(index.tests) == files and len(index.stems) == len(index.s_files)
    right &= all(0 <= file < files for pairs in index.s_files for file in pairs[::2])
    if not right:
        raise PagedexError("the search's index is damaged: build again")
