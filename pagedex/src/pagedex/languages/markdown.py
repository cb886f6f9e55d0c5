"""Markdown: CommonMark with tables; front matter is passed over, MyST's directives are fences.

Found: headings as sections, links and images as references, names in inline code, in fences and in the text, the
words of the text. Not found: headings inside quotes and lists, and footnotes as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pagedex.languages.contract import Language
from pagedex.languages.prose import add_code
from pagedex.languages.sections import LONGEST_DOC, Heading, bounded, sections
from pagedex.languages.tokens import Index, add_prose
from pagedex.model.facts import Facts, Problem, Reference

# Parsing takes about a second for a megabyte.
_LONGEST = 4_000_000
_LONGEST_TARGET = 1_000

# What of a line of text is no prose: targets of links, addresses, tags of HTML, entities.
_TARGET = re.compile(
    r"\]\([^()\s]*(?:\s+\"[^\"]*\")?\)|^\s{0,3}\[[^\]]+\]:\s*\S+|<?\bhttps?://[^\s<>)\]]+>?|</?[A-Za-z!][^<>]*>|&\#?\w+;"
)
_ATTRIBUTE = re.compile(r"\b(?:href|src)\s*=\s*[\"']([^\"']+)[\"']")
_DIRECTIVE = re.compile(r"^\{([\w:-]+)\}\s*(\S*)")
_CODE_DIRECTIVES = frozenset({"code", "code-block", "code-cell", "sourcecode", "testcode", "doctest", "ipython"})
_PROSE_DIRECTIVES = frozenset(
    {
        "note",
        "warning",
        "tip",
        "important",
        "caution",
        "danger",
        "error",
        "hint",
        "attention",
        "seealso",
        "admonition",
        "dropdown",
    }
)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    # Targets are looked up as they are written.
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    return parser


_PARSER = _parser()


def read_markdown(path: str, text: str) -> Facts:
    """The facts of a Markdown file: see above."""
    facts = Facts("Markdown", "markdown")
    names, words = Index(), Index()
    lines = text.split("\n")
    _read(_without_front_matter(lines), facts, names, words)
    facts.identifiers, facts.words = names.frozen(), words.frozen()
    return facts


def read_cells(lines: list[str], facts: Facts, names: Index, words: Index) -> None:
    """Add what is found in the lines of a document to ``facts``, ``names`` and ``words``."""
    _read(lines, facts, names, words)


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines[0].rstrip() != "---":
        return lines
    end = next((row for row in range(1, min(len(lines), 500)) if lines[row].rstrip() in {"---", "..."}), 0)
    return [""] * (end + 1) + lines[end + 1 :] if end else lines


def _read(lines: list[str], facts: Facts, names: Index, words: Index) -> None:
    text = "\n".join(lines)
    if len(text) > _LONGEST:
        text = text[:_LONGEST]
        facts.problems.append(Problem(text.count("\n") + 1, f"the first {_LONGEST:,} letters were read"))
    headings: list[Heading] = []
    done: set[int] = set()
    rows = range(0)
    heading = None
    for token in _PARSER.parse(text):
        if token.map is not None:
            rows = range(*token.map)
        if token.type == "heading_open":
            heading = token if token.level == 0 else None
        elif token.type in {"fence", "code_block"}:
            _fence(token, rows, names, words)
        elif token.type == "html_block":
            _html(lines, rows, done, facts, names, words)
        elif token.type == "inline":
            shown = _shown(token)
            if heading is not None:
                row = rows[0] if rows else 0
                column = max(lines[row].find(token.content.split("\n")[0]), 0)
                headings.append(Heading(shown, int(heading.tag[1:]), row, rows.stop, column))
                heading = None
            elif shown and token.level == 1:
                _paragraph(shown, rows, headings, facts)
            facts.references.extend(_links(token, lines, rows))
            _prose(lines, rows, done, names, words)
    facts.definitions = sections(headings, lines)


def _paragraph(text: str, rows: range, headings: list[Heading], facts: Facts) -> None:
    """The first paragraph below a heading documents the section, the first of all the file."""
    line = rows[0] + 1 if rows else 1
    if not facts.doc:
        facts.doc, facts.doc_line = bounded(text, LONGEST_DOC), line
    if headings and not headings[-1].doc:
        headings[-1].doc, headings[-1].doc_line = bounded(text, LONGEST_DOC), line


def _shown(token: Token) -> str:
    """The text of a paragraph without markup; images say nothing."""
    parts = []
    for child in token.children or []:
        if child.type in {"text", "code_inline"}:
            parts.append(child.content)
        elif child.type in {"softbreak", "hardbreak"}:
            parts.append(" ")
    return "".join(parts).strip()


def _fence(token: Token, rows: range, names: Index, words: Index) -> None:
    line = (rows[0] if rows else 0) + (2 if token.type == "fence" else 1)
    info = token.info.strip()
    directive = _DIRECTIVE.match(info)
    if directive is None:
        language = re.split(r"[\s,{]", info, maxsplit=1)[0] if info else ""
        add_code(language, token.content, line, names, words)
    elif directive[1] in _CODE_DIRECTIVES:
        add_code(directive[2] or "python", token.content, line, names, words)
    elif directive[1] in _PROSE_DIRECTIVES:
        add_prose(token.content, line, names, words)
    else:
        add_code("", token.content, line, names, words)


def _prose(lines: Sequence[str], rows: range, done: set[int], names: Index, words: Index) -> None:
    for row in rows:
        # The cells of a table share their row.
        if row not in done:
            done.add(row)
            add_prose(_TARGET.sub(" ", lines[row]), row + 1, names, words)


def _html(lines: Sequence[str], rows: range, done: set[int], facts: Facts, names: Index, words: Index) -> None:
    for row in rows:
        facts.references.extend(Reference(row + 1, "", target) for target in _ATTRIBUTE.findall(lines[row]))
    _prose(lines, rows, done, names, words)


def _links(token: Token, lines: Sequence[str], rows: range) -> Iterator[Reference]:
    """The links and images of a paragraph. The parser says no lines inside of one: they are where the target, or the
    text of a link whose target stands elsewhere, is found next."""
    row, column = (rows[0] if rows else 0), 0
    children = token.children or []
    for index, child in enumerate(children):
        if child.type == "link_open":
            target = str(child.attrGet("href") or "")
            text = _link_text(children, index)
        elif child.type == "image":
            target, text = str(child.attrGet("src") or ""), child.content
        elif child.type == "html_inline":
            for target in _ATTRIBUTE.findall(child.content):
                yield Reference(row + 1, "", target)
            continue
        else:
            continue
        for sought in (target, text):
            found = _find(lines, rows, row, column, sought)
            if found is not None:
                row, column = found
                break
        if target and len(target) <= _LONGEST_TARGET:
            yield Reference(row + 1, bounded(text, LONGEST_DOC), target)


def _link_text(children: Sequence[Token], index: int) -> str:
    parts = []
    for child in children[index + 1 :]:
        if child.type == "link_close":
            break
        parts.append(" " if child.type in {"softbreak", "hardbreak"} else child.content)
    return "".join(parts)


def _find(lines: Sequence[str], rows: range, row: int, column: int, sought: str) -> tuple[int, int] | None:
    if not sought:
        return None
    for one in range(row, rows.stop):
        found = lines[one].find(sought, column if one == row else 0)
        if found >= 0:
            return one, found
    return None


MARKDOWN = Language("Markdown", "markdown", read_markdown, 1, suffixes=(".md", ".markdown", ".mdown", ".mkd", ".mdx"))
