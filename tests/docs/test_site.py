"""The site of the docs is built without a warning, needs nothing from elsewhere, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
CODE = "code"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "docs"
    options = ["-W", "--keep-going", "-n", "-q", "-b", "html", "-d", out.parent / "doctrees"]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ROOT / "docs", out], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return out


def pages(site: Path) -> list[Path]:
    return [page for page in sorted(site.rglob("*.html")) if "_static" not in page.parts]


def test_every_page_of_the_repository_has_one(site: Path):
    names = {str(page.relative_to(site)) for page in pages(site)}
    sources = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("spec/*.md"), *(ROOT / "docs").glob("design/*.md")]
    assert len(sources) > 25
    assert {str(source.relative_to(ROOT / "docs").with_suffix(".html")) for source in sources} <= names


def test_nothing_is_fetched_from_elsewhere(site: Path):
    for page in pages(site):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|source|iframe)\b[^>]*\bsrc="([^"]*)"', text)
        fetched += re.findall(r'<link\b[^>]*\bhref="([^"]*)"', text)
        assert fetched
        assert [address for address in fetched if re.match(r"(\w+:)?//", address)] == []


def test_links_lead_to_files_and_headings(site: Path):
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8"))) for page in pages(site)}
    followed = 0
    for page in anchors:
        text = page.read_text(encoding="utf-8")
        for address in re.findall(r'<(?:a|img)\b[^>]*\b(?:href|src)="([^"]+)"', text):
            if re.match(r"(\w+:)?//|mailto:", address) or page.name in ("search.html", "genindex.html"):
                continue
            path, _, anchor = address.partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            if target.is_relative_to(site / CODE):
                # Made by pagedex, from a file or folder of the repository.
                name = str(target.relative_to(site / CODE)).removesuffix("_docs.html").removesuffix("index.html")
                assert (ROOT / name).exists(), (page.name, address)
                continue
            assert target.is_file(), (page.name, address)
            assert not anchor or anchor in anchors[target], (page.name, address)
            followed += 1
    assert followed > 500


def test_the_sidebar_leads_to_the_code(site: Path):
    assert f'href="{CODE}/index.html">The code, file by file</a>' in (site / "index.html").read_text(encoding="utf-8")
    assert f'href="../{CODE}/index.html">The code, file by file</a>' in (site / "spec" / "format.html").read_text(
        "utf-8"
    )


def test_files_of_the_repository_lead_to_their_pages(site: Path):
    text = (site / "extensions.html").read_text("utf-8")
    assert f'href="{CODE}/src/dcpx/extension.py_docs.html"' in text


def test_the_search_is_over_the_code_as_well(site: Path):
    page = (site / "start.html").read_text("utf-8")
    assert f'<script src="{CODE}/_pagedex/site.js" defer data-root="{CODE}/">' in page
    assert f'data-root="../{CODE}/">' in (site / "spec" / "format.html").read_text("utf-8")
