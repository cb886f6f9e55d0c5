"""The site in headless Chromium, opened from the disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGES = (
    "index.html",
    "doc.html",
    "sub.html",
    "src/orchard/core/index.html",
    "src/orchard/core/tree.py_docs.html",
    "src/orchard/core/tree.py_kw.html",
    "_pagedex/a-z/t.html",
)
TREE = "src/orchard/core/tree.py_docs.html"


def address(site: Path, name: str) -> str:
    return (site / name).as_uri()


def hits(page: Any) -> list[str]:
    page.wait_for_selector("#hits:not([hidden]) > *")
    return [one.inner_text() for one in page.query_selector_all("#hits > *")]


def type_query(page: Any, query: str) -> list[str]:
    page.keyboard.press("/")
    page.fill("#search", "")
    page.keyboard.type(query)
    # All scripts of the index have come when the last has.
    page.wait_for_function("document.querySelectorAll('script[src*=search-index]').length === 3")
    page.wait_for_load_state("networkidle")
    return hits(page)


@pytest.mark.parametrize("start", [TREE, "src/orchard/core/tree.py_kw.html", "index.html"])
def test_search_by_keyboard(site: Path, opened: Any, start: str) -> None:
    page = opened(address(site, start))
    found = type_query(page, "Engine")
    assert found[0].startswith("Engine")
    first = page.get_attribute("#hits a[aria-selected=true]", "href")
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#hits a[aria-selected=true]", "href") != first
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"_docs\.html#d-Engine$"))
    assert page.is_visible("[id='d-Engine']")


def test_search_finds_what_is_mistyped_and_says_when_it_finds_nothing(site: Path, opened: Any) -> None:
    page = opened(address(site, TREE))
    assert type_query(page, "Engnie")[0].startswith("Engine")
    assert type_query(page, "<qqqqqqqqqq>") == ["Nothing found for “<qqqqqqqqqq>”"]
    page.keyboard.press("Escape")
    assert not page.is_visible("#hits")
    assert page.evaluate("document.activeElement.id") != "search"


def test_lines_and_names_of_the_source_lead_on(site: Path, opened: Any) -> None:
    page = opened(address(site, TREE))
    page.click("#L12 > a.n")
    assert page.url.endswith("#L12")
    colour = "getComputedStyle(document.getElementById('{}')).backgroundColor"
    assert page.evaluate(colour.format("L12")) != page.evaluate(colour.format("L13"))
    link = page.query_selector(".source a[title]")
    target = link.get_attribute("href")
    link.click()
    page.wait_for_url(re.compile(re.escape(target.rpartition("#")[2]) + "$"))
    assert page.query_selector(f"[id='{target.rpartition('#')[2]}']") is not None


_CONTRAST = """() => {
  const bare = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const found = bare(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const worst = {};
  for (const one of document.querySelectorAll("main *, .side *, .top *")) {
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const [a, b] = [light(bare(getComputedStyle(one).color)), light(behind(one))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) worst[`${one.tagName}.${one.className}`] = contrast;
  }
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_colours(site: Path, opened: Any, scheme: str) -> None:
    for name in PAGES:
        page = opened(address(site, name), color_scheme=scheme)
        assert page.evaluate(_CONTRAST) == {}, name


def test_the_choice_of_colours_is_kept(site: Path, opened: Any) -> None:
    page = opened(address(site, TREE), color_scheme="light")
    back = "getComputedStyle(document.body).backgroundColor"
    bright = page.evaluate(back)
    page.click("#theme")
    dark = page.evaluate(back)
    assert dark != bright
    page.goto(address(site, "index.html"))
    assert page.evaluate(back) == dark
    page.click("#theme")
    assert page.evaluate(back) == bright


@pytest.mark.parametrize("name", PAGES)
def test_a_phone(site: Path, opened: Any, name: str) -> None:
    page = opened(address(site, name), viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.querySelector('.side details').open") is False
    assert page.is_visible("#search")


@pytest.mark.parametrize("name", PAGES)
def test_structure(site: Path, opened: Any, name: str) -> None:
    page = opened(address(site, name))
    assert len(page.query_selector_all("h1")) == 1
    assert page.get_attribute("html", "lang") == "en"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    names = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(set(names)) == len(names)


def test_without_scripts_every_page_still_reads(site: Path, opened: Any) -> None:
    page = opened(address(site, TREE), java_script_enabled=False)
    assert not page.is_visible("#search")
    assert not page.is_visible("#theme")
    page.click("text=keyword index")
    assert page.url.endswith("tree.py_kw.html")


def test_print(site: Path, opened: Any) -> None:
    page = opened(address(site, TREE))
    page.emulate_media(media="print")
    assert not page.is_visible(".top")
    assert not page.is_visible(".side")
    assert page.is_visible("#L1")
