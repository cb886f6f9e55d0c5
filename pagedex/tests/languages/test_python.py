"""What is found in a Python file."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagedex.building.plain import from_json, to_json
from pagedex.languages.python import PYTHON
from pagedex.model.facts import Definition, Facts


def read(text: str, path: str = "package/module.py") -> Facts:
    return PYTHON.read(path, dedent(text))


def named(facts: Facts, qualname: str) -> Definition:
    (found,) = (one for one in facts.definitions if one.qualname == qualname)
    return found


EXAMPLE = '''\
"""What it is.

More of it.
"""
import os, sys as system
from collections.abc import (
    Sequence,
    Mapping as M,
)
from . import sibling
from ..up import *

LIMIT: int = 3  # the most
name = "x"


@dataclass(frozen=True)
class Point(Base, Generic[T], metaclass=ABCMeta):
    """A place.

    In the plane.
    """

    x: int = 0
    """The distance."""

    @property
    def size(self) -> float: ...

    @staticmethod
    async def fetch(url, *, timeout: float = 1.0, **options) -> "Point":
        if not url:
            raise ValueError("empty")
        def inner():
            raise errors.Deep
        self_made = 1

    def _hidden(self):
        self.made = [1]
        yield self.made


class Color(enum.Enum):
    RED = 1
'''


def test_definitions() -> None:
    facts = read(EXAMPLE)
    assert [(one.line, one.kind, one.qualname) for one in facts.definitions] == [
        (13, "constant", "LIMIT"),
        (14, "variable", "name"),
        (18, "class", "Point"),
        (24, "attribute", "Point.x"),
        (28, "property", "Point.size"),
        (31, "method", "Point.fetch"),
        (34, "function", "Point.fetch.inner"),
        (38, "method", "Point._hidden"),
        (39, "attribute", "Point.made"),
        (43, "class", "Color"),
        (44, "member", "Color.RED"),
    ]
    assert (facts.doc, facts.doc_line) == ("What it is.\n\nMore of it.", 1)
    point = named(facts, "Point")
    assert point.signature == "class Point(Base, Generic[T], metaclass=ABCMeta)"
    assert (point.doc, point.doc_line, point.column) == ("A place.\n\nIn the plane.", 19, 6)
    assert point.bases == ("Base", "Generic[T]")
    assert point.decorators == ("dataclass(frozen=True)",)
    assert set(point.labels) == {"dataclass", "abstract"}
    fetch = named(facts, "Point.fetch")
    assert fetch.signature == "async def fetch(url, *, timeout: float=1.0, **options) -> 'Point'"
    assert fetch.raises == (("ValueError", 33),)
    assert set(fetch.labels) == {"staticmethod", "async"}
    assert named(facts, "Point.fetch.inner").raises == (("errors.Deep", 35),)
    assert named(facts, "Point.x").doc == "The distance."
    assert named(facts, "LIMIT").value == "3"
    assert [one.qualname for one in facts.definitions if not one.public] == ["Point.fetch.inner", "Point._hidden"]
    assert "generator" in named(facts, "Point._hidden").labels


def test_imports() -> None:
    facts = read(EXAMPLE)
    assert [(one.line, one.module, one.name, one.alias, one.level) for one in facts.imports] == [
        (5, "os", "", "", 0),
        (5, "sys", "", "system", 0),
        (7, "collections.abc", "Sequence", "", 0),
        (8, "collections.abc", "Mapping", "M", 0),
        (10, "", "sibling", "", 1),
        (11, "up", "*", "", 2),
    ]
    assert all(one.top and not one.typing_only for one in facts.imports)
    inner = read("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\ndef f():\n    import b\n").imports
    assert [(one.module, one.typing_only, one.top) for one in inner[1:]] == [("a", True, True), ("b", False, False)]


def test_identifiers_and_words_have_their_lines() -> None:
    facts = read(
        '''\
        """Reads a PyTorch checkpoint. An offset, But no more."""
        # The Writer of torch.save is other: see zstd_level
        def read_it(path): return f"{path.suffix}"
        '''
    )
    assert facts.identifiers["PyTorch"] == (1,)
    assert facts.identifiers["read_it"] == (3,)
    assert facts.identifiers["suffix"] == (3,)
    assert facts.identifiers["zstd_level"] == (2,)
    assert not {"An", "But", "Reads", "The", "return", "def"} & set(facts.identifiers)
    assert facts.words["checkpoint"] == (1,)
    assert facts.words["offset"] == (1,)
    assert not {"the", "an", "but", "of"} & set(facts.words)


@pytest.mark.parametrize(
    ("code", "topic"),
    [
        ("eval(x)", "eval and exec"),
        ("import pickle\npickle.loads(b)", "unpickling"),
        ("from subprocess import Popen as P\nP(x, shell=True)", "subprocesses"),
        ("import ctypes\nctypes.CDLL('x')", "native calls"),
        ("import tempfile\ntempfile.mkdtemp()", "temporary files"),
        ("from urllib.request import urlopen\nurlopen(a)", "network"),
        ("assert x", "assertions used as checks"),
        ("import hashlib\nhashlib.md5(b)", "what else bandit knows"),
        ("from functools import lru_cache\n@lru_cache\ndef f(): pass", "caches"),
        ("import threading\nlock = threading.Lock()", "locks"),
        ("import threading as t\nt.Thread(target=f)", "threads"),
        ("import multiprocessing\nmultiprocessing.Pool()", "processes"),
        ("async def f(): pass", "asynchronous code"),
        ("for x in y:\n    open(x)", "input and output in loops"),
        ("while x:\n    file.read()", "input and output in loops"),
        ("def f():\n    global x\n    x = 1", "module variables that functions change"),
        ("def f():\n    import x", "imports inside functions"),
        ("def __getattr__(name): pass", "attributes computed by a module's __getattr__"),
        ("import os\nos.getcwd = None", "attributes of imported modules replaced"),
    ],
)
def test_findings(code: str, topic: str) -> None:
    facts = read(code)
    found = [one for one in facts.findings if one.topic == topic]
    assert found, facts.findings
    assert topic in facts.looked_for[found[0].section]
    # Each names a line that holds what it says.
    lines = dedent(code).split("\n")
    assert all(lines[one.line - 1].strip() in one.text for one in found)


def test_nothing_is_found_where_nothing_is() -> None:
    assert read("def open_file(read):\n    return read(1)\n").findings == []


def test_assertions_of_a_test_are_no_finding() -> None:
    assert read("assert x", "tests/test_a.py").findings == []


def test_a_finding_marked_nosec_is_shown_as_marked() -> None:
    (found,) = read("eval(x)  # nosec\n").findings
    assert "marked nosec" in found.text


def test_what_does_not_parse_is_read_as_far_as_it_goes() -> None:
    facts = read("def good(): pass\n\ndef bad(:\n    x = 1\n\nclass After:\n    pass\n")
    assert [one.qualname for one in facts.definitions] == ["good", "After"]
    assert named(facts, "After").line == 6
    (problem,) = facts.problems
    assert problem.line == 3
    assert problem.text.startswith("lines 3 to 5 don't parse as Python")
    assert "bad" in facts.identifiers


def test_python_2() -> None:
    facts = read("import os\nprint 'x'\ndef f(): pass\nexec 'y'\n")
    assert [one.name for one in facts.definitions] == ["f"]
    assert [one.line for one in facts.problems] == [2, 4]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "x" * 100_000,
        "(" * 10_000,
        "x = " + "+".join(["a"] * 20_000),
        "x = " + "not " * 50_000 + "a",
        "if a: pass\n" + "elif b: pass\n" * 5_000,
        "a" + ".b" * 20_000,
        "x = '" + "y" * 1_000_000 + "'",
        "\x00",
        "def f():\n\tpass\n        pass",
        "'''unterminated",
        "名前 = 1\nclass Ünïcode: pass\n",
        "x = '\ud800'",
        "__all__ = ['a', *b, c.d] + e",
        "def f(a: 'b c', b: '('): pass",
        "match x:\n    case A(b=c, *d) | {'e': f, **g}: pass\n    case _: pass",
        "class A(A): pass",
        "lambda: (yield)",
    ],
    ids=range(19),
)
def test_unusual_texts(text: str) -> None:
    facts = read(text)
    count = text.count("\n") + 1
    assert all(1 <= one.line <= one.end_line <= count for one in facts.definitions)
    assert from_json(to_json(facts)) == facts


def test_columns_are_of_characters() -> None:
    facts = read("é = 'ä'; zebra = 1\n")
    assert [(one.name, one.column) for one in facts.definitions] == [("é", 0), ("zebra", 9)]


def test_every_file_of_this_package_is_read_whole() -> None:
    for path in sorted((Path(__file__).parents[2] / "src").rglob("*.py")):
        text = path.read_text()
        facts = PYTHON.read(str(path), text)
        assert facts.problems == []
        assert facts.doc == (ast.get_docstring(ast.parse(text)) or "")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400))
def test_any_text(text: str) -> None:
    facts = PYTHON.read("x.py", text.replace("\r", "\n"))
    assert from_json(to_json(facts)) == facts


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_file_with_something_cut_out(data: st.DataObject) -> None:
    text = Path(__file__).read_text()[:6000]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    facts = PYTHON.read("x.py", text[:start] + text[end:])
    lines = (text[:start] + text[end:]).split("\n")
    for one in facts.definitions:
        assert one.name in lines[one.line - 1]
