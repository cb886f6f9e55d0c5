"""The tables and plots on performance say what the committed results say."""

from __future__ import annotations

import importlib.util
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import tables

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "performance.md"


@pytest.fixture(scope="module")
def plots() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("plots", ROOT / "docs" / "plots.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["plots"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plots"]


@pytest.mark.parametrize("page", [tables.README, tables.GUIDE, tables.ALTERNATIVES])
def test_the_tables_are_written_from_the_results(page: str):
    assert tables.filled(page) == (ROOT / page).read_text(encoding="utf-8")


def test_another_figure_is_noticed(monkeypatch: pytest.MonkeyPatch):
    real = tables.results
    monkeypatch.setattr(tables, "results", lambda bench: [row | {"save_gbps": 99.0} for row in real(bench)])
    assert tables.filled(tables.README).count(" 99.00 ") == 8


def test_a_row_without_results_is_refused():
    with pytest.raises(KeyError, match="no row of"):
        tables.TABLES[1].filled("| state | saved with |\n| - | - |\n| one bf16 tensor, 1.01 GB | nobody | 1 |\n\n")


def test_very_many_items_and_ranks_are_all_shown():
    table = next(table for table in tables.TABLES if table.heading.startswith("| very many"))
    text = GUIDE.read_text(encoding="utf-8")
    lines = text[text.index(table.heading) :].split("\n\n")[0].splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == [
        f"{row['section']}, {row['way']}" for row in tables.results("scale") if row["section"] != "plan caching"
    ]


def test_tiny_tensors(plots: ModuleType):
    rows = {(row.get("section"), row["contender"]): row for row in plots.rows("checkpoint")}
    plain, dcpx = rows["disk/tiny", "DCP plain, 1 thread"], rows["disk/tiny", "dcpx"]
    (said,) = re.findall(r"20,000 tensors of 4 to 256 bytes: (.*?)\.\n", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    expected = []
    for row in (plain, dcpx):
        expected += [statistics.median(row["save_s"]), statistics.median(row["load_s"]), row["bytes"] / 1e6]
    assert re.findall(r"[\d.]+(?= s| MB)", said) == [f"{value:.1f}" for value in expected]


def test_what_is_better_equal_and_worse(plots: ModuleType):
    results = plots.rows("checkpoint")
    ratios = {
        (peer, section, key): plots.best(results, section, ["dcpx"], key) / plots.best(results, section, names, key)
        for peer, names in plots.PEERS.items()
        for section in plots.STATES
        for key in plots.WAYS
    }
    colours = {case: plots.compare(ratio, plots.MARGIN) for case, ratio in ratios.items()}
    loads = {("safetensors", section, "load_gbps") for section in plots.STATES}
    saved = ("safetensors", "disk/many", "save_gbps")
    assert {case for case, colour in colours.items() if colour == plots.WORSE} == {*loads, saved}
    assert [case for case, colour in colours.items() if colour == plots.EQUAL] == [
        ("safetensors", "disk/adamw", "save_gbps")
    ]
    slower = [1 / ratios[case] for case in loads]
    (said,) = re.findall(r"safetensors loads ([\d.]+) to ([\d.]+) times as fast", GUIDE.read_text(encoding="utf-8"))
    assert said == (f"{min(slower):.1f}", f"{max(slower):.1f}")


@pytest.mark.parametrize("name", ["speed", "peers", "codecs", "memory"])
def test_the_plots_are_drawn_from_the_results(plots: ModuleType, name: str):
    assert set(plots.DRAWINGS) == {path.stem for path in (ROOT / "docs" / "plots").iterdir()}
    committed = (ROOT / "docs" / "plots" / f"{name}.svg").read_text(encoding="utf-8")
    drawn = plots.what_is_drawn(plots.draw(name))
    assert len(drawn) > 50
    assert plots.what_is_drawn(committed) == drawn


def test_a_plot_of_other_results_is_noticed(plots: ModuleType, monkeypatch: pytest.MonkeyPatch):
    before = plots.what_is_drawn(plots.draw("peers"))
    real = plots.rows

    def changed(name: str) -> list[dict[str, Any]]:
        return [row | {"save_gbps": 9.0} if row["contender"] == "dcpx" else row for row in real(name)]

    monkeypatch.setattr(plots, "rows", changed)
    assert plots.what_is_drawn(plots.draw("peers")) != before
