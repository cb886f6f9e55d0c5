"""Java: what is found in a small source, with its lines."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts
from tests.languages.sources import found, imported, looked, named

SOURCE = """\
/*
 * Copyright 2024 The Authors. All rights reserved.
 */
package org.frames;

import java.util.List;
import static org.frames.Kinds.*;

/**
 * Reads frames.
 */
@Deprecated
public abstract class Reader<T> extends Base<T> implements Source, Closeable {
    private static final int LIMIT = 10;
    /** Its name. */
    protected String name;

    public Reader(int size) throws IOException {
        Runtime.getRuntime().exec("ls"); // runs run_it
    }

    private synchronized void close() {}

    enum Kind {
        RAW,
        PACKED(2);
    }
}

interface Source {
    void next(int n);
}
"""


@pytest.fixture(scope="module")
def facts() -> Facts:
    return language_of("A.java", SOURCE.split("\n")[0]).read("A.java", SOURCE)


def test_definitions(facts: Facts) -> None:
    assert found(facts) == [
        ("class", "Reader", 13, 28, 22),
        ("constant", "Reader.LIMIT", 14, 14, 29),
        ("member", "Reader.name", 16, 16, 21),
        ("method", "Reader.Reader", 18, 20, 11),
        ("method", "Reader.close", 22, 22, 30),
        ("enum", "Reader.Kind", 24, 27, 9),
        ("constant", "Reader.Kind.RAW", 25, 25, 8),
        ("constant", "Reader.Kind.PACKED", 26, 26, 8),
        ("interface", "Source", 30, 32, 10),
        ("method", "Source.next", 31, 31, 9),
    ]
    assert [one.qualname for one in facts.definitions if not one.public] == [
        "Reader.LIMIT",
        "Reader.close",
    ]


def test_imports(facts: Facts) -> None:
    assert imported(facts) == [
        (6, "import", "java.util", "List", ""),
        (7, "import", "org.frames.Kinds", "*", ""),
    ]


def test_findings(facts: Facts) -> None:
    assert looked(facts) == [
        (13, "patterns", "owned resources"),
        (19, "security", "commands"),
        (22, "performance", "locks"),
    ]


def test_documentation_labels_and_bases(facts: Facts) -> None:
    assert (facts.doc, facts.doc_line) == ("", 0)
    reader = named(facts, "Reader")
    assert (reader.doc, reader.doc_line) == ("Reads frames.", 9)
    assert reader.bases == ("Base<T>", "Source", "Closeable")
    assert (reader.decorators, reader.labels) == (("Deprecated",), ("abstract",))
    assert named(facts, "Reader.LIMIT").value == "10"
    assert named(facts, "Reader.name").doc == "Its name."
    assert facts.identifiers["run_it"] == (19,)
    assert "ls" not in facts.identifiers
