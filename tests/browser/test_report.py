"""A report in a real browser: it draws, sorts, filters, drills down and prints, with few and with 20,000 tensors."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dcpx
from dcpx.views.report.content import content
from dcpx.views.report.exponents import Exponents, Read
from dcpx.views.report.joined import joined
from dcpx.views.summary import Item, Part, Summary

Open = Callable[..., Any]
NARROW = {"viewport": {"width": 360, "height": 760}, "device_scale_factor": 2, "has_touch": True}
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e{a|b}"


def block(scale: float) -> dict[str, Any]:
    return {
        "attention": {"weight": (torch.randn(64, 64) * scale).bfloat16(), "bias": torch.zeros(64)},
        "norm": torch.ones(64),
    }


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of reports: of a small checkpoint, of three steps, and of 20,000 tensors."""
    folder = tmp_path_factory.mktemp("reports")
    torch.manual_seed(0)
    for step in (1, 2, 3):
        layers = {str(number): block(0.1 * step) for number in range(3)}
        state = {"model": {"layers": layers, "embed": torch.randn(200, 64)}, HOSTILE: torch.ones(3), "step": step}
        dcpx.save(state, folder / f"step-{step}", user={"step": step, HOSTILE: HOSTILE}, sync=False)
    dcpx.report(folder / "step-3", folder / "small.html")
    dcpx.report([folder / f"step-{step}" for step in (1, 2, 3)], folder / "steps.html")
    (folder / "large.html").write_text(large(20_000), encoding="utf-8")
    return folder


def large(count: int) -> str:
    """The page of a made-up checkpoint with so many tensors."""
    kinds = ("self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    items = []
    for number in range(count):
        layer, expert = number // 200, number // 5 % 40
        name = f"model.layers.{layer}.experts.{expert}.{kinds[number % 5]}.weight"
        shape, stored = (512, 512 + number % 7), 350_000 + number
        part = Part(f"{layer % 16}.distcp", 0, 0, (0, 0), shape, 2 * 512 * shape[1], stored, ("stream.pack",), "float")
        items.append(Item(name, "bfloat16", shape, part.nbytes, (part,)))
    summary = Summary("large", "dcpx", None, None, None, None, 16, {}, items, {})
    counts = np.zeros(256, np.int64)
    counts[100:128] = range(28)
    return joined("large", content(summary, Read([Exponents("bfloat16", counts, int(counts.sum()), 900.0)])))


def names(page: Any) -> list[str]:
    found: list[str] = page.locator("#grid .rows .name").evaluate_all("all => all.map((one) => one.title)")
    return found


def parts(page: Any) -> list[str]:
    found: list[str] = page.locator("#children .part-name").all_text_contents()
    return found


def is_drawn(page: Any, box: str) -> bool:
    """Whether a chart's canvas has pixels of more than one colour."""
    page.locator(box).first.scroll_into_view_if_needed()
    page.wait_for_selector(f"{box} canvas")
    page.wait_for_timeout(350)
    script = """(canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size > 3;
    }"""
    drawn: bool = page.locator(f"{box} canvas").first.evaluate(script)
    return drawn


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_of_it_is_drawn(reports: Path, opened: Open, scheme: str) -> None:
    page = opened(reports / "steps.html", color_scheme=scheme)
    assert page.locator("h1").text_content() == str(reports / "step-3")
    assert page.locator(".total b").all_text_contents()[1] == "11"
    for box in ("#treemap", "#dtypes", "#layers", ".histogram", ".line"):
        assert is_drawn(page, box), box
    assert page.locator("#steps article").count() == 4
    assert page.locator("#steps-table tbody tr").count() == 3


def test_names_are_text(reports: Path, opened: Open) -> None:
    page = opened(reports / "small.html")
    shown = HOSTILE.replace("\u202e", "\\u202e")
    assert page.locator("img").count() == 0
    assert page.locator(".chip").nth(1).text_content() == f'{shown}"{shown}"'
    page.get_by_role("searchbox").fill("onerror")
    assert names(page) == [shown]
    page.locator("#grid .rows .row").click()
    assert page.locator("dialog h2").text_content() == shown
    page.keyboard.press("Escape")
    # The tile of it, which is too small to be met by chance, has a tooltip of nodes as any other.
    page.locator("#treemap").hover()
    page.wait_for_selector(".tip")


def test_sorting_and_filtering(reports: Path, opened: Open) -> None:
    page = opened(reports / "small.html")
    assert page.locator("#found").text_content().startswith("12 items")
    raw = page.get_by_role("columnheader", name="Raw")
    raw.get_by_role("button").click()
    assert raw.get_attribute("aria-sort") == "descending"
    assert names(page)[0] == "model.embed"
    raw.get_by_role("button").click()
    assert raw.get_attribute("aria-sort") == "ascending"
    assert names(page)[-1] == "model.embed"
    page.get_by_role("searchbox").fill("Layers weight")
    assert names(page) == [f"model.layers.{number}.attention.weight" for number in range(3)]
    assert page.locator("#found").text_content().startswith("3 of 12 items")
    page.get_by_label("Data type", exact=True).select_option("float32")
    assert page.locator(".nothing").is_visible()


def test_drilling_down_and_up_again(reports: Path, opened: Open) -> None:
    page = opened(reports / "small.html")
    assert parts(page)[0] == "model"
    page.locator("#children button").first.click()
    assert parts(page) == ["embed", "layers"]
    page.locator("#children button").nth(1).click()
    assert sorted(parts(page)) == ["0", "1", "2"]
    page.get_by_label("Module").get_by_role("button", name="model").click()
    assert parts(page) == ["embed", "layers"]
    page.get_by_label("Module").get_by_role("button", name="all").click()
    page.wait_for_timeout(100)
    page.locator("#treemap").click(position={"x": 20, "y": 10})  # the head of the largest module
    assert parts(page) == ["embed", "layers"]


def test_all_of_it_by_keys(reports: Path, opened: Open) -> None:
    page = opened(reports / "small.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the table of all items"
    page.locator("#children button").first.focus()
    page.keyboard.press("Enter")
    assert parts(page) == ["embed", "layers"]
    assert page.evaluate("document.activeElement.closest('#children') !== null")
    page.keyboard.press("Escape")
    assert parts(page)[0] == "model"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("norm")
    page.locator("#grid").focus()
    page.keyboard.press("End")
    assert page.locator(".row.active .name").get_attribute("title") == "model.layers.2.norm"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.locator("dialog[open] h2").text_content() == "model.layers.1.norm"
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_the_switch_of_colours(reports: Path, opened: Open) -> None:
    page = opened(reports / "small.html", color_scheme="dark")
    back = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(back)
    page.get_by_role("button", name="Use light colours").click()
    assert page.evaluate(back) != dark
    page.reload()
    assert page.evaluate(back) != dark, "the choice is kept"
    page.get_by_role("button", name="Use dark colours").click()
    assert page.evaluate(back) == dark


@pytest.mark.parametrize("report", ["small", "steps", "large"])
def test_a_phone(reports: Path, opened: Open, report: str) -> None:
    page = opened(reports / f"{report}.html", **NARROW)
    for y in range(0, page.evaluate("document.documentElement.scrollHeight"), 600):
        page.evaluate(f"scrollTo(0, {y})")
        page.wait_for_timeout(30)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("#grid .rows .row").count() > 5


def test_less_motion(reports: Path, opened: Open) -> None:
    page = opened(reports / "small.html", reduced_motion="reduce")
    assert page.evaluate("echarts.getInstanceByDom(document.getElementById('treemap')).getOption().animation") is False


def test_paper(reports: Path, opened: Open) -> None:
    page = opened(reports / "large.html", color_scheme="dark")
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.count(b"/Type /Page\n") in range(4, 20)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.locator("#grid .rows .row").count() == 200
    assert "the first 200 are printed" in page.locator("#found").text_content()
    assert page.locator(".chart canvas").count() == page.locator(".chart").count()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme ?? null") is None
    assert page.locator("#grid .rows .row").count() < 50


def test_20_000_tensors(reports: Path, opened: Open) -> None:
    assert (reports / "large.html").stat().st_size < 5_000_000
    page = opened(reports / "large.html")
    assert page.evaluate("performance.getEntriesByName('first chart').length") == 1  # `bench cli` takes its time
    assert page.locator("#found").text_content().startswith("20,000 items")
    assert page.locator("#grid .rows .row").count() < 50
    page.get_by_role("columnheader", name="Stored").get_by_role("button").click()
    assert names(page)[0].startswith("model.layers.99.experts.39.")
    page.locator("#grid").focus()
    page.keyboard.press("End")
    page.wait_for_timeout(100)
    assert "model.layers.0.experts.0.self_attn.q_proj.weight" in names(page)
    assert page.locator(".row.active").get_attribute("aria-rowindex") == "20001"
    page.get_by_role("searchbox").fill("layers.42. down_proj")
    assert page.locator("#found").text_content().startswith("40 of 20,000 items")
    assert len(parts(page)) == 100
    scrolling = """async () => {
        const grid = document.getElementById("grid");
        document.getElementById("search").value = "";
        document.getElementById("search").dispatchEvent(new Event("input"));
        const shown = [];
        for (let frame = 1; frame <= 60; frame += 1) {
            grid.scrollTop = frame * 8000;
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            const rows = [...grid.querySelectorAll(".rows .row")];
            shown.push([rows.length, Number(rows[0].getAttribute("aria-rowindex"))]);
        }
        return shown;
    }"""
    counts, first = zip(*page.evaluate(scrolling), strict=True)
    assert max(counts) < 50  # whatever is scrolled past, only what is seen has nodes: that keeps scrolling smooth
    assert list(first) == sorted(set(first))


def test_an_empty_checkpoint(tmp_path: Path, opened: Open) -> None:
    dcpx.save({}, tmp_path / "empty", sync=False)
    dcpx.report(tmp_path / "empty", tmp_path / "empty.html")
    page = opened(tmp_path / "empty.html")
    assert page.locator("#found").text_content().startswith("0 items")


def test_only_objects_and_damage(tmp_path: Path, opened: Open) -> None:
    dcpx.save({"note": ("a", 1)}, tmp_path / "objects", sync=False)
    (manifest,) = (tmp_path / "objects").glob("*.manifest.json")
    manifest.write_bytes(manifest.read_bytes()[:-9])
    output = io.StringIO()
    dcpx.report(tmp_path / "objects", output)
    (tmp_path / "objects.html").write_text(output.getvalue(), encoding="utf-8")
    page = opened(tmp_path / "objects.html")
    assert page.locator("#problems h2").text_content() == "1 problem found"
    assert page.locator("#exponents-section").is_hidden()


def test_what_could_not_be_read_of_several(reports: Path, tmp_path: Path, opened: Open) -> None:
    """It is said of each checkpoint, not only of the newest."""
    for step in (1, 2, 3):
        shutil.copytree(reports / f"step-{step}", tmp_path / f"step-{step}")
    next((tmp_path / "step-1").glob("*.distcp")).unlink()
    with pytest.warns(dcpx.DcpxWarning, match=r"the page tells of \d+ problems; the first: the file is missing"):
        dcpx.report([tmp_path / f"step-{step}" for step in (1, 2, 3)], tmp_path / "report.html")
    page = opened(tmp_path / "report.html")
    assert page.locator("#problems h3").all_text_contents() == [str(tmp_path / "step-1")]
    assert "the file is missing" in page.locator("#problems li").first.text_content()


def ticks(page: Any, chart: int, axis: str) -> list[str]:
    """The labels of an axis of a chart of the steps."""
    box = page.locator("#steps .line").nth(chart)
    box.scroll_into_view_if_needed()
    page.wait_for_timeout(350)
    script = """(box, name) => echarts.getInstanceByDom(box).getModel().getComponent(name).axis
        .getViewLabels().map((label) => label.formattedLabel)"""
    found: list[str] = box.evaluate(script, axis)
    return found


def test_ticks_of_axes(tmp_path: Path, opened: Open) -> None:
    """Steps are whole, and no two ticks are the same, however near to one another the values are."""
    for step in (1, 2):
        state = {"zeros": torch.zeros(1 << 22), "weight": torch.randn(300 * step), "large": torch.full((9,), 1e5)}
        dcpx.save(state, tmp_path / f"step-{step}", sync=False)
    dcpx.report([tmp_path / "step-1", tmp_path / "step-2"], tmp_path / "report.html")
    page = opened(tmp_path / "report.html")
    assert page.locator("#steps .line").count() == 4
    for chart in range(4):
        assert ticks(page, chart, "xAxis") == ["1", "2"]
        shown = ticks(page, chart, "yAxis")
        assert len(shown) == len(set(shown)) > 1, shown


def test_sizes_fit_their_card(tmp_path: Path, opened: Open) -> None:
    dcpx.save({"x": torch.randn(37), "y": torch.randn(13).bfloat16()}, tmp_path / "c", sync=False)
    dcpx.report(tmp_path / "c", tmp_path / "report.html")
    page = opened(tmp_path / "report.html")
    for text in page.locator(".size b").all_text_contents():
        assert re.fullmatch(r"\d{1,3} B · \d{2,3}\.\d %", text), text
    wider = "[...document.querySelectorAll('.size b')].filter((one) => one.scrollWidth > one.clientWidth).length"
    assert page.evaluate(wider) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_names_that_seem_to_be_none(tmp_path: Path, opened: Open) -> None:
    dcpx.save({name: torch.ones(9) for name in ("", "  ", "a..b", "a.c")}, tmp_path / "c", sync=False)
    dcpx.report(tmp_path / "c", tmp_path / "report.html")
    page = opened(tmp_path / "report.html")
    assert set(names(page)) == {"''", "'  '", "a..b", "a.c"}
    assert set(parts(page)) == {"''", "'  '", "a"}
    page.locator("#children button").first.click()
    assert set(parts(page)) == {"''.b", "c"}
