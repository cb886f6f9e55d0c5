"""Any other text, and which language a file is in."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import LANGUAGES, language_of
from tests.languages.sources import found


@pytest.mark.parametrize(
    ("path", "first_line", "name"),
    [
        ("src/a.c", "", "C"),
        ("a.H", "", "C++"),
        ("a.d.ts", "", "TypeScript"),
        ("a.min.js", "", "JavaScript"),
        ("README.md", "", "Markdown"),
        (".bashrc", "", "Shell"),
        ("tool", "#!/bin/sh", "Shell"),
        ("tool", "#!/usr/bin/env -S node --flag", "JavaScript"),
        ("tool", "#! /usr/bin/env A=1 bash", "Shell"),
        ("tool", "#!/usr/bin/bash5.1", "Shell"),
        ("tool", "#!", "Text"),
        ("tool", "text", "Text"),
        (".c", "", "Text"),
        ("a.unheard", "", "Text"),
        ("dir.c/file", "", "Text"),
    ],
)
def test_language_of(path: str, first_line: str, name: str) -> None:
    assert language_of(path, first_line).name == name


def test_no_name_and_no_suffix_is_of_two_languages() -> None:
    for part in ("names", "suffixes", "interpreters"):
        known = [one for language in LANGUAGES for one in getattr(language, part)]
        assert len(known) == len(set(known))
        assert all(one == one.lower() for one in known)


@pytest.mark.parametrize(
    ("path", "language", "lexer"),
    [
        ("Makefile", "Makefile", "make"),
        ("x/CMakeLists.txt", "CMake", "cmake"),
        ("a.cmake", "CMake", "cmake"),
        ("Dockerfile", "Dockerfile", "docker"),
        ("a.toml", "TOML", "toml"),
        ("a.yml", "YAML", "yaml"),
        (".clang-format", "YAML", "yaml"),
        ("a.json", "JSON", "json"),
        ("a.html", "HTML", "html"),
        ("a.sql", "SQL", "sql"),
        ("go.mod", "Go module", "text"),
        ("LICENSE", "Text", "text"),
        ("a.txt", "Text", "text"),
        ("a.unheard", "Text", "text"),
    ],
)
def test_the_lexer_of_other_text(path: str, language: str, lexer: str) -> None:
    facts = language_of(path, "").read(path, "text\n")
    assert (facts.language, facts.lexer) == (language, lexer)


def test_identifiers_and_words_of_any_text() -> None:
    facts = language_of("a.txt", "").read("a.txt", "An Example of some_name\nand the ZStandard of some_name\n")
    assert facts.identifiers == {"some_name": (1, 2), "ZStandard": (2,)}
    assert facts.words == {"example": (1,), "name": (1, 2), "zstandard": (2,)}


def test_targets_of_a_makefile() -> None:
    text = (
        "A := 1\n\n# Runs the tests.\ntest check: all\n\tpytest\n\techo $(A)\n\n"
        "clean: ## removes all\n%.o: %.c\n.PHONY: test\n"
    )
    facts = language_of("Makefile", "").read("Makefile", text)
    assert found(facts) == [
        ("target", "test", 4, 6, 0),
        ("target", "check", 4, 6, 5),
        ("target", "clean", 8, 8, 0),
    ]
    assert [(one.doc, one.doc_line) for one in facts.definitions] == [
        ("Runs the tests.", 3),
        ("Runs the tests.", 3),
        ("removes all", 8),
    ]


def test_sections_of_toml_ini_and_yaml() -> None:
    toml = "[tool.ruff]\nline = 1\n\n# of b\n[[b]]\nc = [1]\n"
    assert found(language_of("a.toml", "").read("a.toml", toml)) == [
        ("section", "tool.ruff", 1, 2, 1),
        ("section", "b", 5, 6, 2),
    ]
    assert found(language_of("a.ini", "").read("a.ini", "[x y]\na = 1\n")) == [("section", "x y", 1, 2, 1)]
    yaml = "jobs:\n  build: 1\n- x: y\non: [push]\n"
    assert found(language_of("a.yaml", "").read("a.yaml", yaml)) == [
        ("section", "jobs", 1, 3, 0),
        ("section", "on", 4, 4, 0),
    ]


def test_of_data_the_first_names_are_read() -> None:
    text = "\n".join(f'"name_{number}": "some words"' for number in range(1, 3001))
    facts = language_of("a.json", "").read("a.json", text)
    assert len(facts.identifiers) == 2000
    assert facts.words == {}
    assert [(one.line, one.text) for one in facts.problems] == [
        (2001, "data: the names of the first 2,000 lines were read")
    ]


def test_a_long_line_is_read_in_part() -> None:
    facts = language_of("a.txt", "").read("a.txt", "x\n" + "some_name " * 10_000)
    assert facts.identifiers == {"some_name": (2,)}
    assert [(one.line, one.text) for one in facts.problems] == [(2, "line 2 was read up to its letter 20,000")]
