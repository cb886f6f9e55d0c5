"""Every page does what it shows, and everything that it shows as said is really said."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcpx import registry
from tests.docs.pages import ROOT, plain, run

PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")) if not page.is_symlink())]

BEFORE: dict[str, dict[str, str]] = {}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*no checkpoint:UserWarning")
def test_a_page_does_what_it_shows(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plug_ins", dict)  # errors list the known extensions: those of other tests aren't
    (tmp_path / "spec").symlink_to(ROOT / "spec")
    for said in run(ROOT / page, BEFORE.get(page)):
        assert plain(said.shown) == plain(said.really)
