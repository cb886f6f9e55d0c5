"""Any other text: the identifiers and the words that it mentions, and where that is simple its sections.

Found are names as ``is_name`` tells them and English words. In data (JSON, CSV, lock files, SVG) only keys and short
strings would be of use among much that isn't: of them, no words are taken, and names only of the first lines.
Makefiles give their targets, TOML and INI their tables, YAML its keys at the margin. Definitions of other languages
aren't found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pygments.lexers import find_lexer_class_for_filename
from pygments.util import ClassNotFound

from pagedex.languages.contract import Language
from pagedex.languages.tokens import Index, add_prose
from pagedex.model.facts import Definition, Facts, Problem
from pagedex.words.identifiers import names_in_prose

# Of data: what follows is more of the same.
DATA_LINES = 2_000
# A line of data or of generated text is read this far.
LONGEST_LINE = 20_000
_LONGEST_SIGNATURE = 300

_DATA_SUFFIXES = (
    ".json", ".jsonl", ".ndjson", ".geojson", ".csv", ".tsv", ".lock", ".svg", ".map", ".ipynb", ".dat", ".data",
    ".log", ".sum", ".obj", ".po", ".pot", ".xml", ".patch", ".diff",
)  # fmt: skip
_DATA_NAMES = frozenset({"package-lock.json", "pnpm-lock.yaml", "yarn.lock", "poetry.lock", "go.sum", "cargo.lock"})

# A target of a Makefile: names before a colon that isn't := or ::=.
_TARGET = re.compile(r"^(?P<names>[^\s:#=$%.][^:#=]*?)\s*::?(?![:=])(?P<rest>.*)$")
_TABLE = re.compile(r"^\s*\[\[?\s*(?P<name>[^\[\]\s][^\[\]\n]*)\]\]?\s*(?:[#;].*)?$")
_KEY = re.compile(r"^(?P<name>[A-Za-z_][\w./-]*):(?:\s|$)")

_SECTIONED = {"TOML": _TABLE, "INI": _TABLE, "YAML": _KEY}


def read_plain(path: str, text: str) -> Facts:
    """The facts of any text: see above."""
    name = path.rsplit("/", 1)[-1]
    language, lexer = _lexer_of(name)
    facts = Facts(language, lexer)
    identifiers, words = Index(), Index()
    data = _is_data(name)
    lines = text.split("\n")
    cut = 0
    for number, line in enumerate(lines, 1):
        if data:
            if number > DATA_LINES:
                facts.problems.append(Problem(number, f"data: the names of the first {DATA_LINES:,} lines were read"))
                break
            identifiers.add_all((one for one, _ in names_in_prose(line[:LONGEST_LINE])), number)
            continue
        if len(line) > LONGEST_LINE:
            cut = cut or number
        add_prose(line[:LONGEST_LINE], number, identifiers, words)
    if cut:
        facts.problems.append(Problem(cut, f"line {cut} was read up to its letter {LONGEST_LINE:,}"))
    if not data:
        facts.definitions = list(_definitions(language, lines))
    for one in facts.definitions:
        # "[tool.a b]" names nothing that is looked up.
        if " " not in one.name:
            identifiers.add(one.name, one.line)
    facts.identifiers, facts.words = identifiers.frozen(), words.frozen()
    return facts


def _is_data(name: str) -> bool:
    name = name.lower()
    return name in _DATA_NAMES or name.endswith(_DATA_SUFFIXES)


# Where Pygments knows a name as something else, or a suffix as a dialect.
_KNOWN = {
    "go.mod": ("Go module", "text"),
    "go.sum": ("Text", "text"),
    ".clang-format": ("YAML", "yaml"),
    ".clang-tidy": ("YAML", "yaml"),
    "cmakelists.txt": ("CMake", "cmake"),
    "meson.build": ("Meson", "meson"),
    "meson_options.txt": ("Meson", "meson"),
    "dockerfile": ("Dockerfile", "docker"),
    "containerfile": ("Dockerfile", "docker"),
    ".sql": ("SQL", "sql"),
    ".txt": ("Text", "text"),
}


def _lexer_of(name: str) -> tuple[str, str]:
    lower = name.lower()
    stem, dot, suffix = lower.rpartition(".")
    known = _KNOWN.get(lower) or (_KNOWN.get(dot + suffix) if stem else None)
    # What decides is the suffix, or the whole name where there is none: Pygments is asked once for each.
    return known or _lexer_of_kind("x." + name.rpartition(".")[2] if stem else name)


@lru_cache(maxsize=1 << 10)
def _lexer_of_kind(name: str) -> tuple[str, str]:
    """How a language is called and Pygments' name of its lexer, by a file's name."""
    try:
        found = find_lexer_class_for_filename(name)
    except ClassNotFound:
        found = None
    if found is None or not found.aliases:
        return "Text", "text"
    return ("Text", "text") if found.aliases[0] == "text" else (found.name, found.aliases[0])


def _definitions(language: str, lines: list[str]) -> Iterator[Definition]:
    if language == "Makefile":
        yield from _targets(lines)
    elif language in _SECTIONED:
        yield from _sections(_SECTIONED[language], lines)


def _targets(lines: list[str]) -> Iterator[Definition]:
    """Each target of a Makefile with its recipe; targets of patterns and special ones are none."""
    for row, line in enumerate(lines):
        match = _TARGET.match(line[:LONGEST_LINE])
        if match is None:
            continue
        end = row + 1
        while end < len(lines) and lines[end].startswith("\t"):
            end += 1
        doc, doc_line = _comment_above(lines, row)
        # "test: ## runs the tests" is a custom of Makefiles that print their own help.
        rest, _, beside = match["rest"].partition("##")
        beside = beside.strip()
        for name in match["names"].split():
            yield Definition(
                name,
                name,
                "target",
                row + 1,
                end,
                column=line.index(name),
                signature=f"{match['names']}:{rest}".strip()[:_LONGEST_SIGNATURE],
                doc=doc or beside,
                doc_line=doc_line or (row + 1 if beside else 0),
            )


def _sections(pattern: re.Pattern[str], lines: list[str]) -> Iterator[Definition]:
    found = [(row, match) for row, line in enumerate(lines) if (match := pattern.match(line[:LONGEST_LINE]))]
    for index, (row, match) in enumerate(found, 1):
        end = found[index][0] if index < len(found) else len(lines)
        # Blank lines and the comment of what follows belong to that.
        while end > row + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        name = match["name"].strip()
        doc, doc_line = _comment_above(lines, row)
        yield Definition(
            name,
            name,
            "section",
            row + 1,
            end,
            match.start("name"),
            lines[row].strip()[:_LONGEST_SIGNATURE],
            doc,
            doc_line,
        )


def _comment_above(lines: list[str], row: int) -> tuple[str, int]:
    first = row
    while first > 0 and re.match(r"#(?!!)", lines[first - 1]):
        first -= 1
    text = "\n".join(line.lstrip("#").strip() for line in lines[first:row]).strip()
    return (text, first + 1) if text else ("", 0)


PLAIN = Language("Text", "text", read_plain, 1)
