"""Rust: what is found in a small source, with its lines."""

from __future__ import annotations

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts
from tests.languages.sources import found, imported, looked, named

SOURCE = """\
//! Frames and what reads them.

use std::{fs::File, io::*};
use crate::kernel as k;

/// A frame.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Its bytes.
    pub data: &'a [u8],
    size: usize,
}

pub enum Kind {
    Raw,
    Packed(u8),
}

pub trait Read: Sized {
    const LIMIT: usize = 10;
    fn read(&self) -> usize;
}

impl<'a> Read for Frame<'a> {
    fn read(&self) -> usize {
        // unsafe, as raw_parts says
        unsafe { *self.data.as_ptr() as usize }
    }
}

impl Frame<'_> {
    pub async unsafe fn open(path: &str) -> Self {
        let s = "unsafe { }";
        todo!()
    }
    fn hidden(&self) {}
}

static mut COUNT: u32 = 0;

macro_rules! square {
    ($x:expr) => {
        $x * $x
    };
}

mod inner {
    pub fn f() {}
}
"""


@pytest.fixture(scope="module")
def facts() -> Facts:
    return language_of("a.rs", SOURCE.split("\n")[0]).read("a.rs", SOURCE)


def test_definitions(facts: Facts) -> None:
    assert found(facts) == [
        ("struct", "Frame", 8, 12, 11),
        ("member", "Frame::data", 10, 10, 8),
        ("member", "Frame::size", 11, 11, 4),
        ("enum", "Kind", 14, 17, 9),
        ("constant", "Kind::Raw", 15, 15, 4),
        ("constant", "Kind::Packed", 16, 16, 4),
        ("trait", "Read", 19, 22, 10),
        ("constant", "Read::LIMIT", 20, 20, 10),
        ("method", "Read::read", 21, 21, 7),
        ("implementation", "Frame", 24, 29, 18),
        ("method", "Frame::read", 25, 28, 7),
        ("implementation", "Frame", 31, 37, 5),
        ("method", "Frame::open", 32, 35, 24),
        ("method", "Frame::hidden", 36, 36, 7),
        ("variable", "COUNT", 39, 39, 11),
        ("macro", "square", 41, 45, 13),
        ("module", "inner", 47, 49, 4),
        ("function", "inner::f", 48, 48, 11),
    ]
    assert [one.qualname for one in facts.definitions if not one.public] == [
        "Frame::size",
        "Frame::hidden",
        "COUNT",
        "square",
        "inner",
        "inner::f",
    ]


def test_imports(facts: Facts) -> None:
    assert imported(facts) == [
        (3, "use", "std::fs", "File", ""),
        (3, "use", "std::io", "*", ""),
        (4, "use", "crate", "kernel", "k"),
    ]


def test_findings(facts: Facts) -> None:
    assert looked(facts) == [
        (27, "security", "unsafe code"),
        (32, "performance", "async"),
        (32, "security", "unsafe code"),
        (34, "security", "panics"),
    ]


def test_documentation_labels_and_bases(facts: Facts) -> None:
    assert (facts.doc, facts.doc_line) == ("Frames and what reads them.", 1)
    frame = named(facts, "Frame")
    assert (frame.doc, frame.doc_line) == ("A frame.", 6)
    assert named(facts, "Frame::data").doc == "Its bytes."
    assert [(one.bases, one.signature) for one in facts.definitions if one.kind == "implementation"] == [
        (("Read",), "impl<'a> Read for Frame<'a>"),
        ((), "impl Frame<'_>"),
    ]
    assert named(facts, "Read").bases == ("Sized",)
    assert named(facts, "Frame::open").labels == ("async", "unsafe")
    assert named(facts, "Read::LIMIT").value == "10"


def test_comments_and_strings_are_no_code(facts: Facts) -> None:
    assert facts.identifiers["raw_parts"] == (26,)
    assert [one.line for one in facts.findings if one.topic == "unsafe code"] == [27, 32]
