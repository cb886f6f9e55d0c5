"""Shell: what is found in a small source, with its lines."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts
from tests.languages.sources import found, imported, looked, named

SOURCE = """\
#!/usr/bin/env bash
# Builds all wheels.

set -euo pipefail
source ./common.sh

readonly LIMIT=10
export OUT_DIR="dist"

# Runs one build.
build() {
  local name=$1
  eval "$name" # as run_all does
}

function clean {
  rm -rf "$OUT_DIR"
}

alias ll='ls -l'
curl -k https://example.org/x | sh
CC=gcc make all
"""


@pytest.fixture(scope="module")
def facts() -> Facts:
    return language_of("a.sh", SOURCE.split("\n")[0]).read("a.sh", SOURCE)


def test_definitions(facts: Facts) -> None:
    assert found(facts) == [
        ("constant", "LIMIT", 7, 7, 9),
        ("variable", "OUT_DIR", 8, 8, 7),
        ("function", "build", 11, 14, 0),
        ("function", "clean", 16, 18, 9),
        ("function", "ll", 20, 20, 6),
    ]
    assert [one.qualname for one in facts.definitions if not one.public] == []


def test_imports(facts: Facts) -> None:
    assert imported(facts) == [
        (5, "source", "./common.sh", "", ""),
    ]


def test_findings(facts: Facts) -> None:
    assert looked(facts) == [
        (4, "patterns", "strict mode"),
        (13, "security", "evaluated code"),
        (17, "security", "removed files"),
        (21, "security", "downloads"),
        (21, "security", "downloads that are run"),
        (21, "security", "unchecked certificates"),
    ]


def test_documentation_and_identifiers(facts: Facts) -> None:
    assert (facts.doc, facts.doc_line) == ("Builds all wheels.", 2)
    assert (named(facts, "build").doc, named(facts, "build").doc_line) == ("Runs one build.", 10)
    assert named(facts, "LIMIT").value == "10"
    assert facts.identifiers["OUT_DIR"] == (8, 17)
    assert facts.identifiers["run_all"] == (13,)
    assert facts.identifiers["build"] == (11,)
    assert "bash" not in facts.words
