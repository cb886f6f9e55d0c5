"""Files parsed by a tree-sitter grammar: what all such languages have in common.

A language is a ``Grammar``: which wheel parses it, and a handler for each kind of node that defines or imports
something. One query finds those nodes, the comments and the strings, wherever they stand; nothing recurses, so that
depth costs nothing. Identifiers are the words of the code without comments and strings that are no keywords; words
and mentioned names are those of the comments.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from pagedex.languages.comments import Comment, Comments, licences, of_file
from pagedex.languages.defining import define
from pagedex.languages.looks import find
from pagedex.languages.nodes import Grammar, Kinds, Tree, last_row
from pagedex.languages.plain import read_plain
from pagedex.languages.tokens import LONGEST_NAME, SHORTEST_NAME, Index, add_prose
from pagedex.model.facts import Facts, Problem
from pagedex.words.identifiers import names_in_prose

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser

# Generated and minified code stands in lines that nobody reads: they are left out, but for their first names.
LONGEST_LINE = 20_000
MISSING = "read as plain text: pip install 'pagedex[languages]' for its definitions"


@cache
def _parser(module: str, function: str) -> tuple[Parser, Language] | None:
    """The parser of a grammar's wheel and its language, None where the wheel or tree-sitter isn't installed, or where
    the one is too new for the other."""
    try:
        tree_sitter = importlib.import_module("tree_sitter")
        language = tree_sitter.Language(getattr(importlib.import_module(module), function)())
        return tree_sitter.Parser(language), language
    except (ImportError, ValueError):
        return None


@cache
def _captures(module: str, function: str, kinds: Kinds) -> Callable[[Node], dict[str, list[Node]]]:
    """A function that gives the nodes of each group of kinds, wherever they stand below a node."""
    found = _parser(module, function)
    assert found is not None
    tree_sitter = importlib.import_module("tree_sitter")
    source = "".join(f"[{' '.join(f'({kind})' for kind in group)}] @{name}\n" for name, group in kinds if group)
    if not hasattr(tree_sitter, "QueryCursor"):
        # Before tree-sitter 0.25 a query holds its own cursor.
        return found[1].query(source).captures  # type: ignore[attr-defined,no-any-return]
    query = tree_sitter.Query(found[1], source)

    def captures(node: Node) -> dict[str, list[Node]]:
        return dict(tree_sitter.QueryCursor(query).captures(node))

    return captures


def read_tree(grammar: Grammar, path: str, text: str) -> Facts:
    """The facts of a text in a grammar's language."""
    found = _parser(grammar.module, grammar.function)
    if found is None:
        facts = read_plain(path, text)
        facts.language, facts.lexer = grammar.name, grammar.lexer
        facts.problems.append(Problem(0, MISSING))
        return facts
    whole = text.encode("utf-8", "replace").split(b"\n")
    long = [row for row, line in enumerate(whole) if len(line) > LONGEST_LINE]
    lines = [b"" if len(line) > LONGEST_LINE else line for line in whole] if long else whole
    data = b"\n".join(lines)
    parsed = grammar.soften(data).replace(b"\0", b" ")
    tree = Tree(data, parsed, found[0].parse(parsed).root_node, lines)
    captured = _captures(grammar.module, grammar.function, grammar.kinds)(tree.root)
    comments = _comments(tree, captured)
    code = _code(tree, captured)
    names = Index()
    for number, line in enumerate(code, 1):
        names.add_all(re.findall(grammar.token, line), number)

    facts = Facts(grammar.name, grammar.lexer, looked_for=grammar.looks.topics())
    facts.definitions, facts.imports = define(grammar, tree, captured.get("node", []), comments)
    facts.findings = find(grammar.looks, names, code, text.split("\n"), facts)
    preamble = re.compile(grammar.preamble)
    first = next((row for row, line in enumerate(code) if line.strip() and not preamble.match(line)), len(code))
    leading = comments.leading(first)
    facts.doc, facts.doc_line = of_file(leading, {one.doc_line for one in facts.definitions})
    facts.problems = [*_unparsed(grammar.name, tree), *_unread(whole, long)]

    identifiers = _leaves(tree, captured.get("leaf", []), code) if grammar.leaves else names
    for definition in facts.definitions:
        if definition.name.isidentifier():
            identifiers.add(definition.name, definition.line)
    for row in long:
        begin = whole[row][:LONGEST_LINE].decode("utf-8", "replace")
        identifiers.add_all((one for one, _ in names_in_prose(begin)), row + 1)
    words = Index()
    terms = licences(leading)
    for comment in comments.all:
        if comment.row not in terms:
            add_prose(comment.raw, comment.row + 1, identifiers, words)
    known = identifiers.frozen()
    facts.identifiers = {one: known[one] for one in known if _is_identifier(one) and one not in grammar.keywords}
    facts.words = words.frozen()
    return facts


def _leaves(tree: Tree, nodes: Sequence[Node], code: Sequence[str]) -> Index:
    """The names of a language in which most words are text: what nodes say, and what looks like a name."""
    identifiers = Index()
    for node in nodes:
        identifiers.add(tree.of(node), node.start_point[0] + 1)
    for number, line in enumerate(code, 1):
        identifiers.add_all((one for one, _ in names_in_prose(line)), number)
    return identifiers


def _is_identifier(name: str) -> bool:
    return SHORTEST_NAME <= len(name) <= LONGEST_NAME and not name[0].isdigit()


def _comments(tree: Tree, captured: Mapping[str, list[Node]]) -> Comments:
    comments = Comments()
    for node in captured.get("comment", []):
        row, column = node.start_point
        if row == 0 and tree.data.startswith(b"#!"):
            continue
        raw = tree.data[node.start_byte : node.end_byte].decode("utf-8", "replace").rstrip("\n")
        comments.add(Comment(row, row + raw.count("\n"), raw, not tree.lines[row][:column].strip()))
    comments.all.sort(key=lambda one: one.row)
    for node in captured.get("between", []):
        comments.skipped[last_row(node)] = node.start_point[0]
    return comments


def _code(tree: Tree, captured: Mapping[str, list[Node]]) -> list[str]:
    """The lines of the code without comments and the contents of strings."""
    parts = []
    position = 0
    hidden = [*captured.get("comment", []), *captured.get("hidden", [])]
    for start, end in sorted((node.start_byte, node.end_byte) for node in hidden):
        if end <= position:
            continue
        start = max(start, position)
        parts.append(tree.data[position:start])
        parts.append(b" " + b"\n" * tree.data.count(b"\n", start, end))
        position = end
    parts.append(tree.data[position:])
    return b"".join(parts).decode("utf-8", "replace").split("\n")


def _unparsed(language: str, tree: Tree) -> list[Problem]:
    """One problem for all places that the grammar couldn't parse."""
    places: list[Node] = []
    pending = [tree.root]
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            places.append(node)
        elif node.has_error:
            pending.extend(reversed(node.children))
    if not places:
        return []
    line, end_line = places[0].start_point[0] + 1, last_row(places[0]) + 1
    first = f"line {line}" if line == end_line else f"lines {line} to {end_line}"
    more = f" and {len(places) - 1} more places" if len(places) > 1 else ""
    verb = "doesn't" if line == end_line and not more else "don't"
    return [Problem(line, f"{first}{more} {verb} parse as {language}; the rest was read")]


def _unread(lines: Sequence[bytes], rows: Sequence[int]) -> list[Problem]:
    """One problem for all lines that are too long."""
    if not rows:
        return []
    more = f", and {len(rows) - 1} more such lines" if len(rows) > 1 else ""
    text = f"line {rows[0] + 1} has {len(lines[rows[0]]):,} bytes{more}: only its first names were read"
    return [Problem(rows[0] + 1, text)]
