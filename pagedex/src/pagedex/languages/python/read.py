"""A Python file's facts, put together."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable

from pagedex.languages.python.bandit import from_bandit
from pagedex.languages.python.builder import Builder
from pagedex.languages.python.definitions import docstring
from pagedex.languages.python.findings import LOOKED_FOR, findings_of
from pagedex.languages.python.griffe import add_from_griffe
from pagedex.languages.python.parsing import parse
from pagedex.languages.python.tokens import names_and_comments
from pagedex.model.code import Op
from pagedex.model.facts import Facts, Problem
from pagedex.words.english import words_of
from pagedex.words.identifiers import names_in_prose

# The tree is walked by functions that call one another: as deep as Python's own parser lets code nest, with room.
_DEPTH = 6000


def read(path: str, text: str) -> Facts:
    """The facts of a Python file, by its syntax tree; see ``languages.contract.Read``."""
    facts = Facts(language="Python", lexer="python", looked_for=LOOKED_FOR)
    tree, facts.problems = parse(text)
    lines = text.split("\n")
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEPTH))
    try:
        facts.doc, facts.doc_line = docstring(tree)
        Builder(facts, lines).statements(tree.body)
        facts.findings = findings_of(facts, tree, path, lines)
        if not facts.problems:
            add_from_griffe(facts, path, text)
            facts.findings += from_bandit(facts, path, text)
            facts.findings.sort(key=lambda one: (one.line, one.section, one.topic))
    except RecursionError:
        facts.problems.append(Problem(0, "nested too deeply to be analysed whole"))
    finally:
        sys.setrecursionlimit(before)
    _identifiers_and_words(facts, text)
    return facts


def _identifiers_and_words(facts: Facts, text: str) -> None:
    names, comments = names_and_comments(text)
    identifiers: defaultdict[str, set[int]] = defaultdict(set)
    words: defaultdict[str, set[int]] = defaultdict(set)
    for name, line in names:
        identifiers[name].add(line)
    if (code := facts.code) is not None:
        # Names in f-strings, which are no tokens before Python 3.12, and in quoted annotations.
        for op, name_index, line in zip(code.op, code.name, code.line, strict=True):
            if op in (Op.NAME, Op.ATTRIBUTE, Op.EXPORTED) and line:
                identifiers[code.texts[name_index]].add(line)
    docs = [(facts.doc, facts.doc_line), *((one.doc, one.doc_line) for one in facts.definitions)]
    for doc, first in (*docs, *comments):
        for offset, line_text in enumerate(doc.split("\n")) if doc else ():
            for word in words_of(line_text):
                words[word].add(first + offset)
            for name, _ in names_in_prose(line_text):
                identifiers[name].add(first + offset)
    facts.identifiers = _sorted(identifiers.items())
    facts.words = _sorted(words.items())


def _sorted(found: Iterable[tuple[str, set[int]]]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(sorted(lines)) for name, lines in sorted(found)}
