"""What a docstring says under the title of a section."""

from __future__ import annotations

import pytest

from pagedex.pages.authored import SECTIONS, authored_sections


@pytest.mark.parametrize(
    "heading",
    [
        ["Security & Safety", "================="],
        ["security and safety", "-----"],
        ["## Security & Safety"],
        ["# SECURITY & SAFETY #"],
        ["Security & Safety:"],
    ],
)
def test_forms_of_a_heading(heading: list[str]):
    found = authored_sections("\n".join(["Trees.", "", *heading, "", "Reads no file.", "Writes none.", ""]), 10)
    part = found.parts["Security & Safety"]
    assert part.text == "Reads no file.\nWrites none."
    assert part.line == 10 + 2 + len(heading) + 1
    assert [one.text for one in found.rest] == ["Trees."]


def test_a_section_ends_at_the_next_heading():
    doc = "Trees.\n\n## Related Files\n\nNone.\n\n## Notes\n\nMore."
    found = authored_sections(doc, 1)
    assert {title: part.text for title, part in found.parts.items()} == {"Related Files": "None."}
    assert [(one.text, one.line) for one in found.rest] == [("Trees.", 1), ("## Notes\n\nMore.", 7)]


def test_other_words_with_a_colon_are_no_headings():
    doc = "Trees.\n\nDependencies:\n\nNone.\n\nNote:\nstill the same."
    found = authored_sections(doc, 1)
    assert found.parts["Dependencies"].text == "None.\n\nNote:\nstill the same."


def test_a_title_in_a_sentence_is_no_heading():
    doc = "Dependencies\nare none.\n\nTesting & Usage is said elsewhere."
    found = authored_sections(doc, 1)
    assert not found.parts
    assert [one.text for one in found.rest] == [doc]


def test_no_text_is_lost_or_doubled():
    doc = "\n\n".join(f"## {title}\n\nOf {title}." for title in SECTIONS)
    found = authored_sections(doc, 1)
    assert {title: part.text for title, part in found.parts.items()} == {title: f"Of {title}." for title in SECTIONS}
    assert not found.rest
