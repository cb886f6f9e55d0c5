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

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "performance.md"

SECTIONS = {
    "832 bf16 tensors, 363 MB": "disk/many",
    "104 bf16 tensors, 1.09 GB": "disk/large",
    "one bf16 tensor, 1.01 GB": "disk/one",
    "f32 weights and AdamW state, 812 tensors, 543 MB": "disk/adamw",
}
CONTENDERS = {
    "DCP, plain, 1 thread": "DCP plain, 1 thread",
    "DCP, plain, 2 threads": "DCP plain, 2 threads",
    "DCP, its ZStandard, 2 threads": "DCP ZStandard, 2 threads",
    "dcpx, level small": "dcpx small",
    "torch.save": "torch.save 2.13.0+cpu",
    "zipnn 0.5.4": "zipnn",
    "openzl 0.3.0, huffman": "openzl huffman",
    "openzl 0.3.0, fse": "openzl fse",
    "blosc2 4.14.1, shuffle + zstd 1": "blosc2 shuffle+zstd1",
}


@pytest.fixture(scope="module")
def plots() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("plots", ROOT / "docs" / "plots.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["plots"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plots"]


def table(page: Path, heading: str) -> list[list[str]]:
    """The rows of the table whose first line begins so, without that and the line below."""
    text = page.read_text(encoding="utf-8")
    lines = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def states(page: Path) -> list[tuple[str, str, list[str]]]:
    """Section, contender and figures of the rows of a table of saves and loads."""
    found, section = [], ""
    for state, contender, *figures in table(page, "| state | saved with |"):
        section = SECTIONS[state] if state else section
        found.append((section, contender, figures))
    return found


def figures(row: dict[str, Any]) -> list[str]:
    return [f"{row['of_raw']:.3f}", *(f"{row[key]:.2f}" for key in ("save_gbps", "load_gbps", "cold_gbps"))]


def test_the_guides_table_of_saves_and_loads(plots: ModuleType):
    rows = {(row.get("section"), row["contender"]): row for row in plots.rows("checkpoint")}
    shown = states(GUIDE)
    assert len(shown) == 32
    for section, contender, said in shown:
        assert said == figures(rows[section, CONTENDERS.get(contender, contender)]), (section, contender)


def test_the_readmes_table_has_plain_dcps_best_and_dcpx(plots: ModuleType):
    results = plots.rows("checkpoint")
    shown = states(ROOT / "README.md")
    assert len(shown) == 8
    for section, contender, said in shown:
        names = plots.PEERS["DCP, plain"] if contender == "DCP, plain, its best" else [contender]
        rows = [row for row in results if row.get("section") == section and row["contender"] in names]
        best = {key: max(row[key] for row in rows) for key in ("save_gbps", "load_gbps", "cold_gbps")}
        assert said == figures({**best, "of_raw": rows[0]["of_raw"]}), (section, contender)


def test_the_guides_table_of_parts(plots: ModuleType):
    rows = {(row["contender"], row.get("loaded")): row for row in plots.rows("checkpoint")}
    loaded = ("whole", "8 of 8 row slices", "1 of 8 row slices", "8 of 8 column slices")
    shown = table(GUIDE, "| loading one stored tensor")
    assert len(shown) == 3
    for contender, *said in shown:
        name = contender.replace("DCP, plain", "DCP plain").replace("DCP, its", "DCP")
        assert said == [f"{rows[name, part]['median_s']:.3f}" for part in loaded], contender


def codec(row: dict[str, Any]) -> list[str]:
    if row["codec"] == "memcpy":
        return ["1", f"{row['encode_1']:.1f}", f"{row['decode_1']:.1f}"]
    return [f"{row['ratio']:.4f}", f"{row['encode_1']:.2f}", f"{row['decode_1']:.2f}"]


def test_the_tables_of_codecs(plots: ModuleType):
    rows = {(row["data"], row["codec"]): row for row in plots.rows("codec")}
    shown = table(GUIDE, "| | bf16: of raw |")
    assert len(shown) == 8
    for contender, *said in shown:
        name = CONTENDERS.get(contender, contender)
        assert said == codec(rows["MiniLM bf16", name]) + codec(rows["MiniLM f32", name]), contender
    shown = table(ROOT / "docs" / "alternatives.md", "| | of raw | encode |")
    assert len(shown) == 6
    for contender, *said, _ in shown:
        assert said == codec(rows["MiniLM bf16", CONTENDERS.get(contender, contender)]), contender


def of(bench: str, key: str, plots: ModuleType) -> dict[tuple[str, str], Any]:
    """What a bench's rows have under `key`, by section and way; the median where it is a list."""
    found = {(row["section"], row["way"]): row[key] for row in plots.rows(bench) if key in row}
    return {case: statistics.median(value) if isinstance(value, list) else value for case, value in found.items()}


def test_the_guides_table_of_an_object_store(plots: ModuleType):
    seconds, extra = of("stores", "seconds", plots), of("stores", "extra", plots)
    save, load, wire = "save many to S3", "load many from S3", "over the wire"
    shown = table(GUIDE, "| S3 | save, s |")
    assert len(shown) == 3
    for way, *said in shown:
        times = [f"{seconds[section, way]:.3f}" for section in (save, load)]
        memory = [f"{extra[section, way] / 2**20:.0f}" for section in (save, load)]
        moved = [f"{of('stores', key, plots)[wire, way] / 1e6:.1f}" for key in ("sent", "received")]
        assert said == times + memory + moved, way


def test_the_guides_table_of_ranks(plots: ModuleType):
    seconds = of("ranks", "seconds", plots)
    shown = table(GUIDE, "| four ranks |")
    assert len(shown) == 5
    for section, *said in shown:
        stock, own = (seconds[section, way] for way in (STOCK_OR_ALONE if "S3" in section else ("stock", "dcpx")))
        assert said == [f"{stock:.3f}", f"{own:.3f}", f"{own / stock:.2f}"], section


STOCK_OR_ALONE = ("each by itself", "for one another")


def test_the_guides_table_of_saves_in_the_background(plots: ModuleType):
    shown = table(GUIDE, "| in the background |")
    assert len(shown) == 3
    for way, *said in shown:
        blocked, loop, took = (
            of("background", key, plots)["async_save", way.lower()]
            for key in ("blocked_s", "loop_of_alone", "until_saved_s")
        )
        beside = [f"{loop:.2f}", f"{took:.2f}"] if way != "clone" else ["", ""]
        assert said == [f"{blocked:.3f}", *beside], way


def test_the_guides_table_of_conversion(plots: ModuleType):
    speed, extra = of("convert", "gbps", plots), of("convert", "extra", plots)
    shown = table(GUIDE, "| converting |")
    assert len(shown) == 3
    for title, *said in shown:
        way = title.removeprefix("safetensors ").removeprefix("dcpx ")
        ways = ("verified", "not verified")
        cases = [f"convert {count} tensors, {how}" for count in ("2,496", "211") for how in ways]
        rates = [f"{speed[case, way]:.2f}" if (case, way) in speed else "" for case in cases]
        most = max(value for case, value in extra.items() if case[1] == way)
        assert said == [*rates, f"{most / 2**20:.0f}"], way


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
    worse = {("safetensors", section, "load_gbps") for section in plots.STATES}
    assert {case for case, colour in colours.items() if colour == plots.WORSE} == worse
    assert [case for case, colour in colours.items() if colour == plots.EQUAL] == [
        ("safetensors", "disk/adamw", "save_gbps")
    ]
    slower = [1 / ratios[case] for case in worse]
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


def test_the_guides_table_of_the_command(plots: ModuleType):
    seconds, opened = of("cli", "seconds", plots), of("cli", "open_s", plots)
    shown = table(GUIDE, "| looking at 1.09 GB |")
    assert len(shown) == 7
    for what, *said in shown:
        found = re.fullmatch(r"`(?:inspect|verify|diff)`(?:,| of) (.*?)(?:, from the prompt| ones)?", what)
        if found is None:
            figures = [opened["report", "of 20,000 tensors"], None, None]
        elif "inspect" in what:
            figures = [seconds["inspect from the prompt", found[1]], None, None]
        elif "verify" in what:
            figures = [seconds[f"verify, {found[1]}", way] for way in ("verify", "read the files", "load")]
        else:
            figures = [seconds["diff", f"diff of {found[1]} ones"], None, seconds["diff", "load both"]]
        assert said == ["" if figure is None else f"{figure:.3f}" for figure in figures], what


def test_the_guides_table_of_very_many(plots: ModuleType):
    rows = {f"{row['section']}, {row['way']}": row for row in plots.rows("scale")}
    shown = table(GUIDE, "| very many |")
    assert [what for what, *_ in shown] == list(rows)
    for what, *said in shown:
        row = rows[what]
        data, described = ("write_data", "finish") if row["way"] == "save" else ("read_data", "read_metadata")
        times = ["" if row.get(key) is None else f"{row[key]:.2f}" for key in ("seconds", "planning", data, described)]
        assert said == [*times, f"{row['extra'] / 2**20:.0f}"], what
