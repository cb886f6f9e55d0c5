"""Pages of files that are used a great deal, or define a great deal, are made quickly and stay readable."""

from __future__ import annotations

import time

from pagedex.model.blocks import Bullets, Paragraph
from pagedex.model.facts import Facts
from pagedex.model.ties import Place
from pagedex.pages.file_page import file_page
from pagedex.pages.tables import Tables
from tests.support.made import Made, defined
from tests.support.plain import lines_of, plain, section_of


def test_of_many_uses_the_first_are_shown_and_the_others_counted():
    made = Made()
    users = [made.add(f"a{number}.py", "go()\n" * 150) for number in range(3)]
    file = made.add("b.py", "def go(): ...\n", Facts("Python", "python", definitions=[defined("go", "function", 1)]))
    for user in users:
        for line in range(1, 151):
            made.mention(user, line, 0, Place(file, 0))
    page = file_page(Tables(made.repository, made.text_of), file, made.texts[file])
    lines = lines_of(page, "Detailed Analysis")
    assert "Used in code, 450 places in 3 files:" in lines
    assert lines[-1] == "- 250 more by file: [a2.py] (150), [a1.py] (100)"
    assert sum(line.count("[") - 1 for line in lines if line.startswith("- [a")) == 200


def test_five_hundred_definitions_and_twenty_thousand_mentions_are_gone_through_once():
    made = Made()
    definitions = [
        defined(
            f"go_{number}", "function", number + 1, signature=f"def go_{number}()", doc="Goes on.", doc_line=number + 1
        )
        for number in range(500)
    ]
    text = "".join(f"def {one.name}(): ...\n" for one in definitions)
    file = made.add("a.py", text, Facts("Python", "python", definitions=definitions))
    user = made.add("b.py", "x\n" * 20_000)
    for line in range(1, 20_001):
        target = Place(file, line % 500)
        made.mention(user, line, 0, target)
    began = time.process_time()
    page = file_page(Tables(made.repository, made.text_of), file, text)
    # About 0.15 s where nothing else runs, and several times that on a slow machine.
    assert time.process_time() - began < 5
    assert plain(next(one for one in section_of(page, "Detailed Analysis").blocks if isinstance(one, Paragraph)).runs)


def test_beyond_two_thousand_definitions_only_lines_are_given():
    made = Made()
    definitions = [defined(f"x{number}", "variable", number + 1) for number in range(2_100)]
    text = "".join(f"{one.name} = 0\n" for one in definitions)
    file = made.add("a.py", text, Facts("Python", "python", definitions=definitions))
    page = file_page(Tables(made.repository, made.text_of), file, made.texts[file])
    lines = lines_of(page, "Detailed Analysis")
    assert lines[0] == "Of the last 100 definitions, only the lines are given."
    assert lines[-2:] == ["### variable `x2099`", "[line 2100]"]
    assert sum(line.startswith("### ") for line in lines) == 2_100
    overview = lines_of(page, "High-Level Overview")
    assert overview[0] == "2,100 variables at the top."
    assert overview[-1] == "The table has the first 1,000 of 2,100."


def test_lists_are_cut_and_say_so():
    made = Made()
    tests = [made.add(f"test_{number:03}.py", "go()\n", test=True) for number in range(150)]
    file = made.add("went.py", "def go(): ...\n", Facts("Python", "python", definitions=[defined("go", "function", 1)]))
    for test in tests:
        made.imports(test, 1, file, "go")
        made.mention(test, 1, 0, Place(file, 0))
    page = file_page(Tables(made.repository, made.text_of), file, made.texts[file])
    for section in page.sections:
        for block in section.blocks:
            assert not isinstance(block, Bullets) or len(block.items) <= 201
    assert lines_of(page, "Related Files")[0] == "150 files of the repository have ties to it; the 20 with the most:"
    assert lines_of(page, "Testing & Usage")[:2] == [
        "150 test files mention 1 definition:",
        "- [go]: " + ", ".join(f"[test_{number:03}.py:1]" for number in range(8)) + ", and 142 more",
    ]
