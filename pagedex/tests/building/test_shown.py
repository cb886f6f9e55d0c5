"""The pages of torch's ``_extension.py``, and of that page in turn: every name that the reference generator's index of
it has, each leading to its line and section, and no plain word among them."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest

from tests.support.folders import document
from tests.support.reading import site_packages_of

PATH = "torch/distributed/checkpoint/_extension.py"
PAGE = f"docs/{PATH}_docs.md"
SECTIONS = (
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
)
NAMES = (
    "ABC Buffer EndlessZstdDecompressor Extension ExtensionRegistry IO RawIOBase Reader Sequence "
    "StreamTransformExtension ValueError Writer ZStandard ZstdCompressor ZstdDecompressor"
).split()
# What else the reference's index of the page has that isn't a mere word and stands in the source as it is now.
MORE = "EOF False None NOTE True".split()
PLAIN = "An But If The This Each Takes When".split()
_ENTRY = re.compile(r"^- \[`+ ?([^`]+?) ?`+\]\(([^)]+)\): (.*)$", re.M)


@pytest.fixture(scope="module")
def source() -> str:
    folder = site_packages_of("torch")
    if folder is None:
        pytest.skip("torch isn't installed")
    return (folder / PATH).read_text()


@pytest.fixture(scope="module")
def first(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the source, alone in a repository."""
    folder = tmp_path_factory.mktemp("first")
    file = folder / "root" / PATH
    file.parent.mkdir(parents=True)
    file.write_text(source)
    document(folder / "root", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def second(first: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The pages of that page, and its text."""
    folder = tmp_path_factory.mktemp("second")
    file = folder / "root" / PAGE
    file.parent.mkdir(parents=True)
    file.write_text((first / f"{PATH}_docs.md").read_text())
    document(folder / "root", folder / "out")
    return folder / "out", file.read_text()


@lru_cache(maxsize=4)
def entries(index: Path) -> dict[str, tuple[str, str]]:
    """Name -> where it leads, and the rest of its line; of the part that has the keywords."""
    text = index.read_text()
    keywords = text[text.index("\n## Keywords Extracted") : text.index("\n## Keyword → Section Map")]
    found: dict[str, tuple[str, str]] = {}
    for name, target, rest in _ENTRY.findall(keywords):
        found.setdefault(name, (target, rest))
    return found


def section_list(page: str) -> list[str]:
    fence = re.compile(r"^(`{3,}).*?^\1$", re.M | re.S)
    return [line[3:].replace("\\", "") for line in fence.sub("", page).split("\n") if line.startswith("## ")]


def test_the_page_has_its_sections_in_order(first: Path) -> None:
    assert tuple(section_list((first / f"{PATH}_docs.md").read_text())) == SECTIONS


def test_every_name_leads_to_its_line_and_sections(first: Path, source: str) -> None:
    found = entries(first / f"{PATH}_kw.md")
    assert not set(NAMES) - set(found)
    assert not set(PLAIN) & set(found)
    lines = source.split("\n")
    for name in NAMES:
        target, rest = found[name]
        line = int(target.rpartition("#L")[2])
        assert re.search(rf"\b{name}\b", lines[line - 1]), name
        assert target.endswith(f"{PATH}#L{line}")
        assert "[Original Source](_extension.py_docs.md#original-source)" in rest
    # A definition leads to where it is defined.
    for name in ("Extension", "StreamTransformExtension", "ZStandard", "ExtensionRegistry", "Writer", "Reader"):
        line = int(found[name][0].rpartition("#L")[2])
        assert re.match(rf"\s*class {name}\b", lines[line - 1])


def test_the_page_documented_in_turn(second: tuple[Path, str]) -> None:
    out, page = second
    text = (out / f"{PAGE}_kw.md").read_text()
    assert text.startswith(f"# Keyword Index: `{PAGE}`\n")
    assert section_list(text) == ["File Information", "Keywords Extracted", "Keyword → Section Map"]
    for heading in ("**Original File**", "**Documentation**", "**Folder**", "### Identifiers"):
        assert heading in text
    found = entries(out / f"{PAGE}_kw.md")
    assert not set(NAMES + MORE) - set(found)
    assert not set(PLAIN) & set(found)
    lines = page.split("\n")
    headings = [(number, line[3:].replace("\\", "")) for number, line in enumerate(lines, 1) if line.startswith("## ")]
    for name in NAMES + MORE:
        target, rest = found[name]
        line = int(target.rpartition("#L")[2])
        assert re.search(rf"\b{name}\b", lines[line - 1]), name
        # The document's own section around that line is named beside it.
        around = [title for number, title in headings if number <= line][-1]
        assert around in rest.replace("\\", ""), (name, around, rest)


def test_the_map_is_a_map(first: Path) -> None:
    text = (first / f"{PATH}_kw.md").read_text()
    mapped = text[text.index("\n## Keyword → Section Map") :]
    lines = {line.split("`")[1]: line for line in mapped.split("\n") if line.startswith("- `")}
    assert "[Performance Considerations]" not in lines["ZStandard"]
    assert "[Detailed Analysis](_extension.py_docs.md#detailed-analysis)" in lines["ZStandard"]
    assert "[Dependencies](_extension.py_docs.md#dependencies)" in lines["Buffer"]
    assert "[Security & Safety](_extension.py_docs.md#security--safety)" in lines["ValueError"]
    assert len(set(lines.values())) > 20
