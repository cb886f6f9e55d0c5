"""The A to Z of a repository."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pagedex.index.a_to_z import letter_pages
from pagedex.index.letters import letter_of
from pagedex.model.blocks import Bullets, Code, Page, Runs, Section, ToLetter
from pagedex.model.facts import Facts
from tests.support.made import Made, defined
from tests.support.orchard import Orchard
from tests.support.plain import lines_of, targets_of


def pages_of(made: Made) -> dict[str, Page]:
    pages = list(letter_pages(made.repository))
    found = {page.here.letter: page for page in pages if isinstance(page.here, ToLetter)}
    assert len(found) == len(pages)
    return found


def test_letters_and_what_stands_there():
    pages = pages_of(Orchard())
    assert lines_of(pages[""], "Letters") == [
        "- [A]: 1 name",
        "- [B]: 1 word",
        "- [D]: 1 word",
        "- [F]: 1 word",
        "- [H]: 1 name",
        "- [L]: 1 name",
        "- [M]: 1 name",
        "- [O]: 1 name",
        "- [T]: 2 names and 1 word",
    ]
    assert lines_of(pages["t"], "Names") == [
        "- `test_height`: function [test_tree.py:4]",
        "- `Tree`: class [tree.py:13]",
    ]
    # "trees" stands in two files, "tree" in one of these.
    assert lines_of(pages["t"], "Words") == ["- trees: [README.md], [tree.py]"]
    assert lines_of(pages["o"], "Names") == ["- `_old`: function [tree.py:25]"]
    assert lines_of(pages["h"], "Names") == ["- `height`: method [tree.py:16], method [tree.py:21]"]


def test_what_is_too_much_for_a_page_is_divided():
    made = Made()
    definitions = [defined(f"get_{number:05}", "function", 1) for number in range(2_500)]
    definitions += [defined("g", "function", 1), defined("Gone", "class", 1)]
    made.add("a.py", "\n", Facts("Python", "python", definitions=definitions))
    pages = pages_of(made)
    assert lines_of(pages["g"], "Beginnings") == ["- [GE]: 2,500 names", "- [GO]: 1 name"]
    assert lines_of(pages["g"], "Names") == ["- `g`: function [a.py:1]"]
    assert lines_of(pages["ge"], "Beginnings") == ["- [GET]: 2,500 names"]
    assert [crumb.text for crumb in pages["get"].crumbs] == ["orchard", "A to Z", "G", "GE"]
    assert lines_of(pages["get_0"], "Beginnings")[0] == "- [GET_00]: 1,000 names"
    assert len(lines_of(pages["get_01"], "Names")) == 1_000


def test_a_name_with_many_places_and_more_names_than_a_page_holds():
    made = Made()
    definitions = [defined("go", "function", line) for line in range(1, 31)]
    definitions += [defined(f"same_name_{number}", "function", 1) for number in range(2_100)]
    made.add("a.py", "\n" * 30, Facts("Python", "python", definitions=definitions))
    pages = pages_of(made)
    assert lines_of(pages["g"], "Names")[0].endswith("function [a.py:12], and 18 more")
    names = lines_of(pages["same_n"], "Names")
    assert len(names) == 2_001
    assert names[-1] == "- and 100 more"


def test_nothing_to_list():
    assert lines_of(pages_of(Made())[""], "Letters") == ["Looked for names and words; none found."]


@given(st.lists(st.text(min_size=1, max_size=5), max_size=30))
def test_every_name_stands_on_a_page_that_is_led_to(names: list[str]):
    made = Made()
    facts = Facts("Python", "python", definitions=[defined(name, "function", 1) for name in names])
    made.add("a.py", "\n", facts)
    pages = pages_of(made)
    led = {to.letter for page in pages.values() for to in targets_of(page) if isinstance(to, ToLetter)}
    assert led | {""} == set(pages)
    for name in names:
        items = [item for section in pages[letter_of(name)].sections for item in _items(section)]
        assert sum(item[0] == Code(name) for item in items) == 1


def _items(section: Section) -> list[Runs]:
    return [item for block in section.blocks if isinstance(block, Bullets) for item in block.items]


def test_the_list_of_letters_has_a_name_of_its_own() -> None:
    from pagedex.output import names

    letters = ["", *"abcdefghijklmnopqrstuvwxyz0", "é", "è", "-"]
    assert len({names.of_letter(letter, "md") for letter in letters}) == len(letters)
