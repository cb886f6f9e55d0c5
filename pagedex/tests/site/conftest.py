"""A real browser, and a site to look at in it, from the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.folders import document

FIXTURE = Path(__file__).parents[1] / "resolving" / "fixture"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a small repository."""
    out = tmp_path_factory.mktemp("site") / "out"
    document(FIXTURE, out, name="orchard")
    return out


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A started Chromium; skipped where there is none, which is no excuse in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        assert os.environ.get("CI") != "true", "Chromium and playwright are needed for these tests"
        pytest.skip("Chromium or playwright isn't installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Seen:
    """What happened in a browser that a reader wouldn't want."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []


@pytest.fixture
def opened(chromium: Any) -> Iterator[Any]:
    """Opens an address in a page of its own, with options of a browser's context; at the end nobody may have complained
    and nothing may have been asked of the network."""
    seen, contexts = Seen(), []

    def open_page(address: str, **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: seen.complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert seen.complaints == []
    assert [one for one in seen.requests if not one.startswith("file://")] == []
