"""Go: what is found in a small source, with its lines."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts
from tests.languages.sources import found, imported, looked, named

SOURCE = """\
// Package frames reads frames.
package frames

import (
	"fmt"
	osexec "os/exec"
)

// Limit is how many are read.
const Limit = 10

const (
	// First is the first.
	First = iota
	second
)

// Reader reads.
type Reader struct {
	Name string
	size int
	Base
}

type Source interface {
	Next(n int) error
}

var count int

// Read reads one frame.
func (r *Reader) Read(n int) error {
	go func() { fmt.Println("go func()") }()
	return osexec.Command("ls").Run()
}

func helper[T any](x T) {
	local := 1
	_ = local
}
"""


@pytest.fixture(scope="module")
def facts() -> Facts:
    return language_of("a.go", SOURCE.split("\n")[0]).read("a.go", SOURCE)


def test_definitions(facts: Facts) -> None:
    assert found(facts) == [
        ("constant", "Limit", 10, 10, 6),
        ("constant", "First", 14, 14, 1),
        ("constant", "second", 15, 15, 1),
        ("struct", "Reader", 19, 23, 5),
        ("member", "Reader.Name", 20, 20, 1),
        ("member", "Reader.size", 21, 21, 1),
        ("interface", "Source", 25, 27, 5),
        ("method", "Source.Next", 26, 26, 1),
        ("variable", "count", 29, 29, 4),
        ("method", "Reader.Read", 32, 35, 17),
        ("function", "helper", 37, 40, 5),
    ]
    assert [one.qualname for one in facts.definitions if not one.public] == [
        "second",
        "Reader.size",
        "count",
        "helper",
    ]


def test_imports(facts: Facts) -> None:
    assert imported(facts) == [
        (5, "import", "fmt", "", ""),
        (6, "import", "os/exec", "", "osexec"),
    ]


def test_findings(facts: Facts) -> None:
    assert looked(facts) == [
        (33, "performance", "goroutines"),
        (34, "security", "commands"),
    ]


def test_documentation_values_and_bases(facts: Facts) -> None:
    assert (facts.doc, facts.doc_line) == ("Package frames reads frames.", 1)
    assert named(facts, "Limit").value == "10"
    assert (named(facts, "First").doc, named(facts, "First").doc_line) == ("First is the first.", 13)
    assert named(facts, "Reader").bases == ("Base",)
    assert named(facts, "Reader.Read").signature == "func (r *Reader) Read(n int) error"
    assert named(facts, "Source").signature == "type Source"
