"""The keyword index of a file."""

from __future__ import annotations

import re

import pytest

from pagedex.index.keywords import keyword_page
from pagedex.index.tokens import texts_of
from pagedex.model.blocks import Page, ToFile, ToFolder, ToKeywords, ToLine, ToPage
from pagedex.model.facts import Facts
from pagedex.pages.file_page import file_page
from pagedex.pages.tables import Tables
from tests.support.made import Made, defined
from tests.support.orchard import Orchard
from tests.support.plain import lines_of, targets_of


def both(made: Made, file: int) -> tuple[Page, Page]:
    page = file_page(Tables(made.repository, made.text_of), file, made.texts[file])
    return page, keyword_page(made.repository, file, page)


@pytest.fixture(scope="module")
def orchard() -> Orchard:
    return Orchard()


@pytest.fixture(scope="module")
def tree(orchard: Orchard) -> Page:
    return both(orchard, orchard.tree)[1]


def test_title_and_sections(tree: Page):
    assert tree.title == "Keyword Index: `tree.py`"
    assert tree.here == ToKeywords("tree.py")
    assert [section.title for section in tree.sections] == [
        "File Information",
        "Keywords Extracted",
        "Keyword → Section Map",
    ]
    assert [crumb.text for crumb in tree.crumbs] == ["orchard", "tree.py"]


def test_information(tree: Page):
    assert lines_of(tree, "File Information") == [
        "- Original File: [tree.py]",
        "- Documentation: [tree.py]",
        "- Folder: [root]",
    ]
    assert {ToFile("tree.py"), ToPage("tree.py"), ToFolder("")} <= set(targets_of(tree))


def test_names_stand_under_what_they_are(tree: Page):
    lines = lines_of(tree, "Keywords Extracted")
    assert lines[0] == "Classes: 2, Functions: 1, Methods: 1, Constants: 1, Imports: 1, Other Names: 4, Words: 3."
    headings = [line for line in lines if line.startswith("### ")]
    assert headings == [
        "### Classes",
        "### Functions",
        "### Methods",
        "### Constants",
        "### Imports",
        "### Other Names",
        "### Words",
    ]
    assert [re.match(r"- \[(\w+)\]", line).group(1) for line in lines[lines.index("### Other Names") + 1 :][:4]] == [  # type: ignore[union-attr]
        "__all__",
        "eval",
        "self",
        "ValueError",
    ]


def test_an_entry_leads_to_its_definition_its_lines_and_its_sections(tree: Page):
    line = next(line for line in lines_of(tree, "Keywords Extracted") if line.startswith("- [LIMIT]"))
    assert line == (
        "- [LIMIT]: [10], [17]; [Original Source], [High-Level Overview], [Detailed Analysis], "
        "[Architecture & Design], [Testing & Usage]"
    )
    assert ToLine("tree.py", 10) in set(targets_of(tree))


def test_forms_of_a_word_are_one_entry():
    made = Made()
    words = {"truncated": (1, 4), "truncation": (2,), "end": (3,)}
    file = made.add("a.py", "# truncated\n# truncation\n# end\n# truncated\n", Facts("Python", "python", words=words))
    _, keywords = both(made, file)
    lines = lines_of(keywords, "Keywords Extracted")
    assert lines[lines.index("### Words") + 1 :] == [
        "- [end]: [3]; [Original Source]",
        "- [truncated] (truncation): [1], [2], [4]; [Original Source]",
    ]


def test_the_map_says_where_each_keyword_really_stands(orchard: Orchard):
    page, keywords = both(orchard, orchard.tree)
    lines = lines_of(keywords, "Keyword → Section Map")
    mapped = {}
    for line in lines:
        if found := re.match(r"- `(\w+)` → (.*)", line):
            mapped[found.group(1)] = set(re.findall(r"\[(.*?)\]", found.group(2)))
    for name in ("LIMIT", "Apple", "eval", "ValueError", "_old", "os"):
        expected = {
            section.title
            for section in page.sections
            if re.search(rf"(?<!\w){name}(?!\w)", "\n".join(texts_of(section.blocks)))
        }
        assert mapped[name] == expected, name
    # Sections that a keyword is no part of are not claimed.
    assert mapped["_old"] == {"Original Source", "High-Level Overview", "Detailed Analysis"}


def test_of_a_document_identifiers_lead_to_its_own_sections(orchard: Orchard):
    _, keywords = both(orchard, orchard.readme)
    lines = lines_of(keywords, "Keywords Extracted")
    assert "### Identifiers" in lines
    assert "### Other Names" not in lines
    entry = next(line for line in lines if line.startswith("- [Tree]"))
    assert entry.startswith("- [Tree]: [3]; under [Orchard]; ")


def test_many_lines_are_counted():
    made = Made()
    facts = Facts("Python", "python", definitions=[defined("x", "variable", 3)], identifiers={"x": tuple(range(1, 21))})
    file = made.add("a.py", "x\n" * 20, facts)
    _, keywords = both(made, file)
    entry = next(line for line in lines_of(keywords, "Keywords Extracted") if line.startswith("- [x]"))
    assert entry.startswith("- [x]: [3], [1], [2], [4], [5], [6], [7], [8], and 12 more; [Original Source]")


def test_a_name_that_is_no_token_is_found_as_it_is():
    made = Made()
    facts = Facts("C++", "cpp", definitions=[defined("operator<", "function", 1, signature="bool operator<(X, X)")])
    file = made.add("a.cpp", "bool operator<(X, X);\n", facts)
    _, keywords = both(made, file)
    entry = next(line for line in lines_of(keywords, "Keywords Extracted") if line.startswith("- [operator<]"))
    assert "[Original Source]" in entry
    assert "[Dependencies]" not in entry


def test_of_a_file_that_is_not_read_there_are_none(orchard: Orchard):
    _, keywords = both(orchard, orchard.logo)
    assert lines_of(keywords, "Keywords Extracted") == ["Looked for keywords in logo.png; it isn't read (binary)."]
