"""Every link of a page to a file of this repository leads to one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (".", "design", "docs", "spec", "fuzz", "tests/golden")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md") if not page.is_symlink())


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


def test_there_are_pages_with_links():
    assert {"README.md", "0001-commit.md", "trust.md", "format.md"} <= {page.name for page in PAGES}
    assert "docs/trust.md" in links(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    assert [link for link in links(page) if not (page.parent / link).exists()] == []
