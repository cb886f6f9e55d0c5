"""How pages say numbers, lists and sentences."""

from __future__ import annotations

import pytest

from pagedex.model.blocks import Link, ToLine
from pagedex.words.phrases import (
    bullets,
    counted,
    enumerated,
    first_paragraph,
    first_sentence,
    line_links,
    some,
    span_link,
)


def test_numbers_with_their_nouns():
    assert counted(0, "file") == "0 files"
    assert counted(1, "file") == "1 file"
    assert counted(2300, "class", "classes") == "2,300 classes"


def test_enumerations():
    assert [enumerated(list(letters)) for letters in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Reads a file. Closes it.", "Reads a file."),
        ("Reads\n  a file.\n\nMore.", "Reads a file."),
        ("No dot at all", "No dot at all"),
        ("Names, e.g. Tree, of it. More.", "Names, e.g. Tree, of it."),
        ("As of Python 3.12 it goes. More.", "As of Python 3.12 it goes."),
        ("Is it? Yes.", "Is it?"),
        ('Says "go." Then more.', 'Says "go."'),
        ("See tree.py for more. End.", "See tree.py for more."),
        ("", ""),
    ],
)
def test_first_sentence(text: str, sentence: str):
    assert first_sentence(text) == sentence


def test_a_sentence_without_end_is_cut_at_a_word():
    cut = first_sentence("word " * 200)
    assert cut.endswith("word …")
    assert len(cut) < 250


def test_first_paragraph():
    assert first_paragraph("\n One\ntwo.\n \nThree.") == "One two."


def test_what_is_too_much_is_counted():
    assert some([("a",), ("b",)], 2) == ("a", ", ", "b")
    assert some([("a",), ("b",), ("c",)], 1) == ("a", ", and 2 more")
    assert some([("a",), ("b",)], 1, "; ") == ("a", "; and 1 more")
    assert bullets([("a",), ("b",), ("c",)], 2).items == [("a",), ("b",), ("and 1 more",)]


def test_lines():
    assert line_links("a.py", [3, 7], 2) == (Link("3", ToLine("a.py", 3)), ", ", Link("7", ToLine("a.py", 7)))
    assert line_links("a.py", [3, 7, 9], 1) == (Link("3", ToLine("a.py", 3)), ", and 2 more")
    assert span_link("a.py", 3, 3).text == "line 3"
    assert span_link("a.py", 3, 9) == Link("lines 3 to 9", ToLine("a.py", 3))
