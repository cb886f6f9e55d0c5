"""What stands on the page of a file, sentence by sentence."""

from __future__ import annotations

import pytest

from pagedex.model.blocks import Fence, Heading, Page, Picture, Source, Text, ToLine, ToPage
from pagedex.pages.authored import SECTIONS
from pagedex.pages.file_page import file_page
from pagedex.pages.tables import Tables
from tests.support.orchard import TREE, Orchard
from tests.support.plain import lines_of, section_of, targets_of

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def orchard() -> Orchard:
    return Orchard()


def page_of(orchard: Orchard, file: int) -> Page:
    return file_page(Tables(orchard.repository, orchard.text_of), file, orchard.texts[file])


@pytest.fixture(scope="module")
def tree(orchard: Orchard) -> Page:
    return page_of(orchard, orchard.tree)


def test_the_thirteen_sections_in_their_order(orchard: Orchard):
    titles = [
        "File Metadata",
        "File Purpose",
        "Original Source",
        "High-Level Overview",
        "Detailed Analysis",
        "Architecture & Design",
        "Dependencies",
        "Code Patterns & Idioms",
        "Performance Considerations",
        "Security & Safety",
        "Testing & Usage",
        "Related Files",
        "Cross-References",
    ]
    assert list(SECTIONS) == titles
    for file in range(len(orchard.repository.files)):
        page = page_of(orchard, file)
        assert [section.title for section in page.sections] == titles
        assert all(section.blocks for section in page.sections)


def test_title_and_place(tree: Page):
    assert tree.title == "Documentation: `tree.py`"
    assert tree.here == ToPage("tree.py")
    assert [crumb.text for crumb in tree.crumbs] == ["orchard"]


def test_metadata(tree: Page):
    assert lines_of(tree, "File Metadata") == [
        "- Path: [tree.py]",
        "- Folder: [root]",
        "- Language: Python",
        f"- Size: {len(TREE)} bytes",
        "- Lines: 26, 9 of them blank",
        "- Encoding: utf-8",
        f"- Digest: `{4:040x}` (BLAKE2b)",
        "- Test file: no",
        "- Keywords: [keyword index]",
    ]


def test_purpose_is_the_docstring_without_the_sections_of_it(tree: Page):
    assert lines_of(tree, "File Purpose") == [
        "Module docstring, [line 1]:",
        "> Trees.",
        "`__all__` ([line 9]) has 2 names: [Tree], [Apple].",
    ]


def test_what_the_author_says_of_a_section_comes_first_in_it(tree: Page):
    assert lines_of(tree, "Security & Safety") == [
        "The author, [line 5]:",
        "> Reads no file.",
        "Eval and exec, 1 place:",
        '- [line 22] in [Apple.height]: `return eval("1")`',
        "Exceptions raised: `ValueError` at [17].",
        "Looked for: unpickling; none found.",
    ]


def test_without_a_docstring_the_purpose_says_what_is_defined_and_who_imports_it(orchard: Orchard):
    lines = lines_of(page_of(orchard, orchard.app), "File Purpose")
    assert lines == ["Looked for a module docstring; none found. `app.py` defines 1 function."]
    lines = lines_of(page_of(orchard, orchard.empty), "File Purpose")
    assert lines[1] == "Read in part: [line 1]: no code"


def test_source_leads_from_names_to_what_they_name(tree: Page):
    (source,) = section_of(tree, "Original Source").blocks
    assert isinstance(source, Source)
    assert source.text == TREE
    links = {(line, column): (to, title) for line, column, _, to, title in source.links}
    assert links[(17, 25)] == (ToPage("tree.py", "d-LIMIT"), "constant LIMIT, tree.py:10")
    assert links[(13, 6)] == (ToPage("tree.py", "d-Tree"), "class Tree")
    assert [link[:2] for link in source.links] == sorted(link[:2] for link in source.links)
    for line, column, length, _, _ in source.links:
        assert TREE.split("\n")[line - 1][column : column + length].isidentifier()


def test_of_what_is_no_text_nothing_is_shown(orchard: Orchard):
    page = page_of(orchard, orchard.logo)
    assert lines_of(page, "Original Source") == ["Nothing is shown: `logo.png` is a binary file."]
    assert lines_of(page, "File Purpose") == ["`logo.png` is a binary file."]


def test_overview(tree: Page):
    assert lines_of(tree, "High-Level Overview") == [
        "2 classes, 1 function and 1 constant at the top; inside them 2 methods; 1 of these 6 is private.",
        "Name | Kind | Line | Used in code | In tests | Says",
        "[LIMIT] | constant | [10] | 1 | 0 | ",
        "[Tree] | class | [13] | 2 | 0 | What every tree has.",
        "[Apple] | class | [20] | 3 | 2 | ",
        "[_old] | function | [25] | 0 | 0 | ",
    ]


def test_details_of_a_class(tree: Page):
    lines = lines_of(tree, "Detailed Analysis")
    start = lines.index("### class `Apple`")
    assert lines[start : lines.index("### function `_old`")] == [
        "### class `Apple`",
        "    class Apple(Tree)",
        "[Lines 20 to 22]",
        "- Bases: [Tree]",
        "Used in code, 3 places in 2 files:",
        "- this file: [9]",
        "- [app.py]: [1]; [5] in [main]",
        "Used in tests at 2 places of [test_tree.py]: [1]; [5] in [test_height]",
        "#### method `Apple.height`",
        "    def height(self)",
        "[Lines 21 to 22]",
        "- Overrides: [Tree.height]",
        "Used in code at 1 place of [app.py]: [6] in [main]",
        "Maybe used at 1 place, where only the name agrees: [test_tree.py] [5] in [test_height]",
    ]


def test_details_of_a_private_function_that_nobody_mentions(tree: Page):
    lines = lines_of(tree, "Detailed Analysis")
    assert lines[lines.index("### function `_old`") :] == [
        "### function `_old`",
        "    def _old()",
        "[Lines 25 to 26], private",
        "Looked for mentions of `_old`; none found.",
    ]


def test_names_in_a_docstring_lead_to_what_they_name(orchard: Orchard):
    facts = orchard.repository.facts[orchard.tree]
    assert facts is not None
    facts.definitions[1].doc = "As Apple, with a LIMIT and a height."
    try:
        page = page_of(orchard, orchard.tree)
    finally:
        facts.definitions[1].doc = "What every tree has. It is the base."
    text = next(one for one in section_of(page, "Detailed Analysis").blocks if isinstance(one, Text))
    # Two methods are called height, so that the word may mean either.
    assert text.names == {"Apple": ToPage("tree.py", "d-Apple"), "LIMIT": ToPage("tree.py", "d-LIMIT")}


def test_anchors_of_equal_names_differ(tree: Page):
    anchors = [one.anchor for one in section_of(tree, "Detailed Analysis").blocks if isinstance(one, Heading)]
    assert anchors == ["d-LIMIT", "d-Tree", "d-Tree.height", "d-Apple", "d-Apple.height", "d-_old"]


def test_architecture(tree: Page):
    assert lines_of(tree, "Architecture & Design") == [
        "picture: tree.py is imported by app.py",
        "Imported by 1 file of the repository:",
        "- [app.py] at line [1] (Apple), 3 mentions",
        "1 test file imports it too.",
        "Inheritance of 2 classes:",
        "picture: Apple inherits from Tree",
        "- [Tree], [line 13], is the base of [Apple]",
        "- [Apple], [line 20], inherits from [Tree]",
        "Inside the file, 1 definition at the top uses others (the line of the first mention):",
        "- [Tree] uses [LIMIT] ([17])",
    ]


def test_arrows_of_the_picture(tree: Page):
    picture = next(one for one in section_of(tree, "Architecture & Design").blocks if isinstance(one, Picture))
    assert [(box.text, box.column, box.strong) for box in picture.boxes] == [("tree.py", 1, True), ("app.py", 0, False)]
    assert picture.arrows == [(1, 0)]


def test_dependencies(orchard: Orchard, tree: Page):
    assert lines_of(tree, "Dependencies") == [
        "1 import: 1 module of the standard library (os).",
        "Imported | Leads to | Line | Names, and on how many other lines each stands",
        "`os` | standard library | [7] | `os` (0)",
    ]
    assert lines_of(page_of(orchard, orchard.app), "Dependencies")[2] == "`tree` | [tree.py] | [1] | `Apple` (0)"
    assert lines_of(page_of(orchard, orchard.readme), "Dependencies") == [
        "1 link, 1 of them to files of the repository.",
        "Link | Leads to | Line",
        "see | [tree.py] | [7]",
    ]


def test_what_was_looked_for_and_not_found(tree: Page):
    assert lines_of(tree, "Performance Considerations") == ["Looked for: caches, locks; none found."]
    (line,) = lines_of(tree, "Code Patterns & Idioms")
    assert line.startswith("Looked for: abstract classes, dataclasses, ")


def test_tests_and_a_call_of_it(tree: Page):
    assert lines_of(tree, "Testing & Usage") == [
        "1 test file mentions 1 definition:",
        "- [Apple]: [test_height] ([test_tree.py:5])",
        "No test mentions 4 of 5 public definitions: [LIMIT], [Tree], [Tree.height], [Apple.height]",
        "In use: [Apple], [test_height] ([test_tree.py:5]):",
        "    def test_height():",
        "        assert Apple().height() == 1",
    ]
    fence = next(one for one in section_of(tree, "Testing & Usage").blocks if isinstance(one, Fence))
    assert (fence.path, fence.first_line) == ("test_tree.py", 4)


def test_a_test_says_what_it_reaches(orchard: Orchard):
    assert lines_of(page_of(orchard, orchard.test), "Testing & Usage") == [
        "1 test: [test_height]",
        "It reaches definitions of 1 file (the line of the first mention):",
        "- [tree.py]: [Apple] ([1])",
    ]


def test_related_files(tree: Page):
    assert lines_of(tree, "Related Files") == [
        "3 files of the repository have ties to it:",
        "File | Ties",
        "[app.py] | imports this file, 3 mentions of this file",
        "[README.md] | 1 link to this file, holds 1 name that this file defines",
        "[test_tree.py] | imports this file, 2 mentions of this file",
    ]


def test_cross_references(orchard: Orchard, tree: Page):
    assert lines_of(tree, "Cross-References") == [
        "Linked from 1 file (lines there):",
        "- [README.md]: [7]",
        "Mentioned elsewhere, 2 definitions of this file (mentions):",
        "- [Apple]: [app.py] (2), [test_tree.py] (2)",
        "- [Apple.height]: [app.py] (1)",
        "Keywords: [keyword index]; folder: [root]",
    ]
    assert lines_of(page_of(orchard, orchard.app), "Cross-References")[:2] == [
        "Mentioned here, 2 definitions of 1 other file (lines here):",
        "- [tree.py]: [Apple] [1], [5]; [Apple.height] [6]",
    ]


def test_of_a_document_what_it_names_is_found_by_the_name(orchard: Orchard, tree: Page):
    page = page_of(orchard, orchard.readme)
    assert lines_of(page, "Cross-References")[:2] == [
        "Named here, 1 definition of 1 other file, found by the name alone (lines here):",
        "- [tree.py]: [Tree] [3]",
    ]
    assert lines_of(page, "High-Level Overview")[2:] == [
        "[Orchard] | [1] | Trees as data.",
        "[Use] | [5] | See tree.py.",
    ]
    assert ToLine("README.md", 5) in targets_of(page)
    assert "Named in 1 file, found by the name alone: [README.md] [3]" in lines_of(tree, "Detailed Analysis")
