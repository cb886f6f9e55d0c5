"""A real browser, which writes down what a reader wouldn't want."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


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


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file in a page of its own, with options of a browser's context. At the end nothing may have been written
    to the console, and nothing but the files asked for."""
    complaints: list[str] = []
    requests: list[str] = []
    addresses: list[str] = []
    contexts = []

    def open_page(file: Path, **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        addresses.append(file.as_uri())
        page.goto(file.as_uri())
        page.wait_for_function("performance.getEntriesByName('first chart').length > 0")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert set(requests) - {"data:,"} == set(addresses)
