"""The three pages of a folder."""

from __future__ import annotations

import pytest

from pagedex.index.folders import Folders, folder_pages
from pagedex.model.blocks import Page, ToFolder
from pagedex.model.facts import Facts
from pagedex.model.ties import Place
from tests.support.made import Made, defined
from tests.support.plain import lines_of, plain


@pytest.fixture(scope="module")
def made() -> Made:
    made = Made()
    app = made.add("app.py", "go()\n", Facts("Python", "python", definitions=[defined("main", "function", 1)]))
    about = Facts("Python", "python", "Trees as data. And more.", 2)
    made.add("src/orchard/__init__.py", '"""\nTrees as data. And more."""\n', about)
    go = defined("go", "function", 1, doc="Goes on. Far.")
    core = made.add("src/orchard/core.py", "def go(): ...\n", Facts("Python", "python", definitions=[go]))
    made.add(
        "src/orchard/ripe/__main__.py", "x = 1\n", Facts("Python", "python", definitions=[defined("x", "variable", 1)])
    )
    made.imports(app, 1, core, "go")
    made.mention(app, 1, 0, Place(core, 0))
    return made


def pages_of(made: Made, path: str) -> dict[str, Page]:
    pages = {}
    for page in folder_pages(Folders(made.repository), path):
        assert isinstance(page.here, ToFolder)
        assert page.here.path == page.about == path
        pages[page.here.page] = page
    assert list(pages) == ["index", "doc", "sub"]
    return pages


def test_every_folder_has_its_place(made: Made):
    assert Folders(made.repository).paths == ["", "src", "src/orchard", "src/orchard/ripe"]


def test_index(made: Made):
    page = pages_of(made, "src/orchard")["index"]
    assert page.title == "Folder: `src/orchard`"
    assert [crumb.text for crumb in page.crumbs] == ["orchard", "src"]
    assert plain(page.lead[0].runs) == (  # type: ignore[union-attr]
        "3 files in and below this folder. See also [what it is], [what is defined below it]."
    )
    assert lines_of(page, "Files") == [
        "2 files in this folder itself.",
        "File | Language | Lines | Says | Index",
        "[__init__.py] | Python | 2 | Trees as data. | [keywords]",
        "[core.py] | Python | 1 | Defines go | [keywords]",
    ]
    assert lines_of(page, "Subfolders") == ["Folder | Files | Says", "[ripe] | 1 | "]


def test_the_root_leads_to_the_letters_and_says_the_commit():
    made = Made(revision="f00d")
    made.add("a.py", "\n")
    (lead,) = pages_of(made, "")["index"].lead
    assert plain(lead.runs) == (  # type: ignore[union-attr]
        "1 file in and below this folder. See also [what it is], [what is defined below it], [A to Z]. "
        "At commit `f00d`."
    )


def test_a_folder_without_files_leads_to_its_subfolders(made: Made):
    page = pages_of(made, "src")["index"]
    assert lines_of(page, "Files") == ["0 files in this folder itself."]
    assert lines_of(page, "Subfolders")[1:] == ["[orchard] | 3 | Trees as data."]


def test_doc(made: Made):
    page = pages_of(made, "src/orchard")["doc"]
    assert lines_of(page, "What It Is") == ["[__init__.py], [line 2]:", "> Trees as data. And more."]
    assert lines_of(page, "Files by Language") == ["Language | Files | Lines", "Python | 3 | 4"]
    assert lines_of(page, "Most Used Definitions")[1:] == ["`go` [src/orchard/core.py:1] | function | 1 | Goes on."]
    assert lines_of(page, "Imports") == ["- Is imported from 1 folder: [root] (1)"]
    assert lines_of(page, "Entry Points") == ["- [src/orchard/ripe/__main__.py], run by python -m"]


def test_what_was_looked_for(made: Made):
    page = pages_of(made, "src/orchard/ripe")["doc"]
    assert lines_of(page, "What It Is") == [
        "Looked for a README and a package's documentation in src/orchard/ripe; none found."
    ]
    assert lines_of(page, "Imports") == ["Looked for imports in and of src/orchard/ripe; none found."]


def test_sub(made: Made):
    page = pages_of(made, "")["sub"]
    assert [section.title for section in page.sections] == ["G", "M", "X"]
    assert lines_of(page, "G") == ["- `go`: function [src/orchard/core.py:1]"]


def test_above_five_thousand_definitions_subfolders_are_counted():
    made = Made()
    for number in range(3):
        definitions = [defined(f"x{number}_{one}", "variable", 1) for one in range(2_000)]
        made.add(f"s/{number}/a.py", "\n", Facts("Python", "python", definitions=definitions))
    page = pages_of(made, "s")["sub"]
    assert lines_of(page, "By Subfolder") == [
        "6,000 definitions, more than one page holds:",
        "Below | Definitions",
        "[s/0] | 2,000",
        "[s/1] | 2,000",
        "[s/2] | 2,000",
    ]
    assert len(lines_of(pages_of(made, "s/0")["sub"], "X")) == 2_000


def test_an_empty_repository_has_a_root():
    pages = pages_of(Made(), "")
    assert lines_of(pages["index"], "Files") == ["0 files in this folder itself."]
    assert lines_of(pages["sub"], "Definitions") == ["Looked for definitions in the repository; none found."]
