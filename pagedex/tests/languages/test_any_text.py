"""Every language reads any text, whatever its length, depth and script."""

from __future__ import annotations

import time
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagedex.languages import trees
from pagedex.languages.tables import language_of
from pagedex.model.facts import KINDS, Facts

SOURCES = {
    "a.c": "#include <x.h>\n/* doc */\nstatic int f(int a) { return a; }\nstruct S { int x; };\n#define M(x) x\n",
    "a.cpp": ("namespace n { template <class T> class A : B<T> { public: A(); int x = 1; enum E { P, Q = 2 }; }; }\n"),
    "a.cu": "__global__ void k(float *x) { __shared__ int s; }\nint main() { k<<<1, 2>>>(0); }\n",
    "a.rs": (
        "//! m\nuse a::{b, c as d};\n#[x]\npub struct S<'a> { a: &'a str }\n"
        "impl T for S<'_> { fn f(&self) { unsafe {} } }\n"
    ),
    "a.go": (
        'package p\nimport (\n"a"\n)\nconst (\nA = iota\nB\n)\nfunc (s *S[T]) M() { go f() }\ntype S struct { a int }\n'
    ),
    "a.java": (
        "package p; import a.*; @A class C<T> extends D implements E { enum F { G(1) } void m() {} "
        "static final int X = 1; }\n"
    ),
    "a.js": (
        "import a from 'b'; class A extends B { #x = 1; get y() {} }\n"
        "const f = () => 1; exports.g = function() { eval('') }\n"
    ),
    "a.ts": (
        "interface I { a: number }\nenum E { A, B = 1 }\nnamespace N { export const x = 1 }\n"
        "@D() class C { private x?: string }\n"
    ),
    "a.tsx": "const A = () => <div a={1}>text</div>\n",
    "a.sh": '#!/bin/sh\n. ./x\nf() { local a=1; eval "$a"; }\nA=1; readonly B=2\ncat <<X\nt $A\nX\n',
    "a.md": ('---\na: b\n---\n# T `x`\np [a](b) ![c](d)\n\n```py\nf(None)\n```\n\n| a |\n|---|\n| b |\n<a href="x">\n'),
    "a.rst": (
        "===\nT T\n===\np :class:`a.B` `x <y>`_::\n\n  f(1)\n\nS\n-\n.. code-block:: c\n   :x: y\n\n"
        "   int z;\n\n.. toctree::\n\n   a\n"
    ),
    "a.ipynb": '{"cells": [\n{\n"cell_type": "markdown",\n"source": [\n"# T\\n",\n"x"\n]\n}]}\n',
    "Makefile": "all: a b\n	cmd\n# doc\na: ## help\n",
    "a.toml": "[a.b]\nc = 1\n[[d]]\n",
    "a.yaml": "a:\n  b: c\nd: e\n",
    "a.json": '{"a_b": 1}\n',
    "a.unknown": "some_name and Words\n",
}

# What is put into sources to break them.
PIECES = ["", "\n", "\0", "é", "漢字", "{", "}", "(", '"', "'", "`", "\x0b", "\u2028", "\ud800", "/*"]


def read(path: str, text: str) -> Facts:
    return language_of(path, text.split("\n", 1)[0]).read(path, text)


def check(facts: Facts, text: str) -> None:
    """What holds of all facts."""
    lines = text.count("\n") + 1
    for index, one in enumerate(facts.definitions):
        assert one.kind in KINDS
        assert one.name
        assert 1 <= one.line <= one.end_line <= lines
        assert one.column >= 0
        assert -1 <= one.parent < index
        assert "\n" not in one.signature
        assert len(one.signature) <= 300
        assert 0 <= one.doc_line <= lines
        assert bool(one.doc) == bool(one.doc_line)
    for found in (facts.identifiers, facts.words):
        for key, at in found.items():
            assert key
            assert list(at) == sorted(set(at))
            assert at[0] >= 1
            assert at[-1] <= lines
    for finding in facts.findings:
        assert finding.topic in facts.looked_for[finding.section]
        assert 1 <= finding.line <= lines
        assert -1 <= finding.definition < len(facts.definitions)
    for import_ in facts.imports:
        assert 1 <= import_.line <= lines
    for reference in facts.references:
        assert 1 <= reference.line <= lines
    for problem in facts.problems:
        assert 0 <= problem.line <= lines
        assert problem.text
    assert bool(facts.doc) == bool(facts.doc_line)


@pytest.mark.parametrize("path", SOURCES)
def test_its_own_text_is_read_the_same_way_each_time(path: str) -> None:
    text = SOURCES[path]
    facts = read(path, text)
    check(facts, text)
    assert not facts.problems
    assert facts.definitions or facts.identifiers
    assert asdict(facts) == asdict(read(path, text))


@pytest.mark.parametrize("path", SOURCES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text())
def test_arbitrary_text(path: str, text: str) -> None:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    check(read(path, text), text)


@pytest.mark.parametrize("path", SOURCES)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mutated_sources(path: str, data: st.DataObject) -> None:
    text = SOURCES[path]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        end = min(len(text), at + data.draw(st.integers(0, 8)))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[end:]
    check(read(path, text), text)


@pytest.mark.parametrize("path", SOURCES)
@pytest.mark.parametrize(
    "piece",
    ["(", "{", "[", "<", "> ", "- ", "a(", "class a{", "*", "[a](", "`", '"', "/*", "#if 1\n", "\0", "a::", "!["],
)
def test_depth_takes_seconds_at_most(path: str, piece: str) -> None:
    for text in (piece * 100_000, (piece * 20 + "\n") * 300):
        begun = time.process_time()
        check(read(path, text), text)
        assert time.process_time() - begun < 60  # up to 10 on a slow machine; what grows with the square takes hours


@pytest.mark.parametrize("path", SOURCES)
@pytest.mark.parametrize("text", ["", "\n", "\0", "\ufeff", "\n\n\n", "#", "a"])
def test_next_to_nothing(path: str, text: str) -> None:
    check(read(path, text), text)


def test_minified_code_is_read_without_its_definitions() -> None:
    text = "function f(a){var b=a+1;return g(b,'x')}" * 125_000
    begun = time.process_time()
    facts = read("a.min.js", text)
    assert time.process_time() - begun < 60
    assert facts.definitions == []
    assert [one.text for one in facts.problems] == ["line 1 has 5,000,000 bytes: only its first names were read"]
    assert facts.problems[0].line == 1


@pytest.mark.parametrize("path", ["a.c", "a.cpp", "a.cu", "a.rs", "a.go", "a.java", "a.js", "a.ts", "a.sh"])
def test_without_its_grammar_code_is_read_as_plain_text(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = read(path, SOURCES[path])
    monkeypatch.setattr(trees, "_parser", lambda module, function: None)
    facts = read(path, SOURCES[path])
    assert (facts.language, facts.lexer) == (known.language, known.lexer)
    assert facts.definitions == []
    assert [(one.line, one.text) for one in facts.problems] == [
        (0, "read as plain text: pip install 'pagedex[languages]' for its definitions")
    ]
