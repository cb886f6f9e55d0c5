"""Draws the plots of `docs/plots` from the committed results in `bench/results`.

    python docs/plots.py            # draw them anew
    python docs/plots.py --check    # fail if a plot isn't what the results say

The background is transparent, and the colours can be read on a light and on a dark one. The same results give the same
bytes with the same Matplotlib. Text is text, in the reader's own font, so that the files are small.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PLOTS = ROOT / "docs" / "plots"

BETTER, EQUAL, WORSE = "#2f7fc1", "#7d7d7d", "#d0661c"
INK = "#808080"
"""For text and lines, with enough contrast to white and to black."""

MARGIN = 0.1
"""Speeds that differ by less than this share count as equal: those of two runs on one machine differ by as much."""

SIZE_MARGIN = 0.01
"""The same of sizes, which don't differ from run to run."""

STATES = {
    "disk/many": "832 bf16 tensors,\n363 MB",
    "disk/large": "104 bf16 tensors,\n1.09 GB",
    "disk/one": "one bf16 tensor,\n1.01 GB",
    "disk/adamw": "f32 and AdamW,\n812 tensors, 543 MB",
}
WAYS = {"save_gbps": "save", "load_gbps": "first load", "cold_gbps": "load from disk"}
PEERS = {
    "DCP, plain": ("DCP plain, 1 thread", "DCP plain, 2 threads"),
    "DCP, its ZStandard": ("DCP ZStandard, 1 thread", "DCP ZStandard, 2 threads"),
    "torch.save": ("torch.save 2.13.0+cpu",),
    "orbax": ("orbax 0.12.8",),
    "safetensors": ("safetensors 0.8.0",),
}

CODECS = {
    "zipnn": "zipnn",
    "openzl, huffman": "openzl huffman",
    "openzl, fse": "openzl fse",
    "blosc2": "blosc2 shuffle+zstd1",
    "lmzip": "lmzip",
    "zstd 1": "zstd 1",
    "zstd 3": "zstd 3",
}
DATA = {
    "MiniLM bf16": "bf16 weights",
    "MiniLM f32": "f32 weights",
    "MiniLM fp8 e4m3": "fp8 e4m3 weights",
    "AdamW m f32": "first moments",
    "AdamW v f32": "second moments",
    "sorted integers": "sorted integers",
}

Row = Mapping[str, Any]


def rows(name: str) -> list[Row]:
    """The rows of one benchmark's results."""
    found: list[Row] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return found


def best(results: Sequence[Row], section: str, contenders: Sequence[str], key: str) -> float:
    """The largest figure that one of the contenders has there. ValueError if none has one."""
    return max(float(row[key]) for row in results if row.get("section") == section and row["contender"] in contenders)


def compare(ratio: float, margin: float) -> str:
    """The colour of a ratio of which more is better, and which counts as equal within the margin."""
    return BETTER if ratio > 1 + margin else WORSE if ratio < 1 / (1 + margin) else EQUAL


def speed() -> Figure:
    """Size and speed of dcpx beside plain DCP's best and safetensors, for each state."""
    results = rows("checkpoint")
    contenders = {"DCP, plain, its best": PEERS["DCP, plain"], "safetensors": PEERS["safetensors"], "dcpx": ("dcpx",)}
    shades = {"DCP, plain, its best": EQUAL, "safetensors": "#b9a16b", "dcpx": BETTER}
    titles = {"of_raw": "size, of the raw data's", **{key: f"{way}, GB/s" for key, way in WAYS.items()}}
    figure, axes = _figure(9, 3.9, len(titles))
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for place, section in enumerate(STATES):
            for number, (name, names) in enumerate(contenders.items()):
                value = best(results, section, names, key)
                middle = place + (number - 1) * 0.27
                axis.barh(middle, value, 0.25, color=shades[name], label=name if place == 0 else None)
                said = f" {value:.3f}" if key == "of_raw" else f" {value:.2f}"
                axis.text(value, middle, said, va="center", color=INK, size=7)
        axis.set_title(title, color=INK, size=9)
        axis.set_yticks(range(len(STATES)), STATES.values() if axis is axes[0] else [""] * len(STATES))
        axis.invert_yaxis()
        axis.set_xlim(0, axis.get_xlim()[1] * 1.2)
    bars, labels = axes[0].get_legend_handles_labels()
    figure.legend(bars, labels, loc="lower center", ncols=3, frameon=False, labelcolor=INK, fontsize=8)
    figure.subplots_adjust(left=0.14, right=0.99, top=0.92, bottom=0.16, wspace=0.12)
    return figure


def peers() -> Figure:
    """How many times as fast as each peer dcpx is, for each state and way, better, equal and worse told apart."""
    results = rows("checkpoint")
    columns = [(section, key) for section in STATES for key in WAYS]
    cells = [
        [
            (best(results, section, ["dcpx"], key) / best(results, section, names, key), MARGIN)
            for section, key in columns
        ]
        for names in PEERS.values()
    ]
    return _table(list(PEERS), list(STATES.values()), [way.replace(" ", "\n", 1) for way in WAYS.values()], cells)


def codecs() -> Figure:
    """The same of the codecs alone, one thread, and how many times as much the peer stores. Nothing where it can't."""
    results = {(row["data"], row["codec"]): row for row in rows("codec")}
    cells = []
    for peer in CODECS.values():
        line: list[tuple[float, float] | None] = []
        for data in DATA:
            ours, theirs = results[data, "dcpx fast"], results[data, peer]
            if theirs.get("ratio") is None:
                line += [None, None, None]
            else:
                line += [(theirs["ratio"] / ours["ratio"], SIZE_MARGIN)]
                line += [(ours[key] / theirs[key], MARGIN) for key in ("encode_1", "decode_1")]
        cells.append(line)
    return _table(list(CODECS), list(DATA.values()), ["size", "enc.", "dec."], cells)


def _table(
    lines: Sequence[str],
    groups: Sequence[str],
    ways: Sequence[str],
    cells: Sequence[Sequence[tuple[float, float] | None]],
) -> Figure:
    """Ratios of which more is better, each with the margin within which it counts as equal."""
    figure, (axis,) = _figure(9, 0.9 + 0.42 * len(lines), 1)
    for line, found in enumerate(cells):
        for column, cell in enumerate(found):
            if cell is None:
                continue
            ratio, margin = cell
            axis.barh(line, 0.94, 0.86, column - 0.47, color=compare(ratio, margin))
            digits = 2 if ratio < 1.05 or margin == SIZE_MARGIN else 1 if ratio < 10 else 0
            said = f"{ratio:.{digits}f}"
            axis.text(column, line, said, ha="center", va="center", color="white", size=8)
    axis.set_yticks(range(len(lines)), lines)
    axis.set_xticks(range(len(groups) * len(ways)), [*ways] * len(groups))
    for place, group in enumerate(groups):
        middle = len(ways) * place + (len(ways) - 1) / 2
        axis.text(middle, -0.6, group, ha="center", va="bottom", color=INK, size=8)
    axis.set_xlim(-0.55, len(groups) * len(ways) - 0.45)
    axis.set_ylim(len(lines) - 0.45, -0.55)
    for spine in axis.spines.values():
        spine.set_visible(False)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.14, right=0.99, top=1 - 0.45 / height, bottom=0.45 / height)
    return figure


def memory() -> Figure:
    """Memory that a save and a load take beside the tensors."""
    results = rows("checkpoint")
    names = {name: contenders[-1] for name, contenders in PEERS.items()} | {"dcpx": "dcpx"}
    figure, axes = _figure(9, 2.8, 2)
    sections = ("memory/many", "memory/large", "memory/one")
    for axis, key, title in zip(axes, ("save_extra", "load_extra"), ("save", "load"), strict=True):
        for line, (name, contender) in enumerate(names.items()):
            for number, section in enumerate(sections):
                value = best(results, section, [contender], key) / (1 << 20)
                middle = line + (number - 1) * 0.27
                axis.barh(middle, max(value, 0.5), 0.25, color=BETTER if name == "dcpx" else EQUAL)
                axis.text(max(value, 0.5), middle, f" {value:.0f}", va="center", color=INK, size=6)
        axis.set_xscale("log")
        axis.set_xlim(0.5, 6000)
        axis.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
        axis.set_title(f"{title}, MiB beside the tensors", color=INK, size=9)
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names))
        axis.invert_yaxis()
    figure.subplots_adjust(left=0.14, right=0.99, top=0.91, bottom=0.09, wspace=0.05)
    return figure


def _figure(width: float, height: float, panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height))
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for axis in axes:
        axis.set_facecolor("none")
        axis.tick_params(colors=INK, labelsize=8, length=0)
        axis.tick_params(which="minor", length=0)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(INK)
    return figure, axes


DRAWINGS: dict[str, Callable[[], Figure]] = {"speed": speed, "peers": peers, "codecs": codecs, "memory": memory}


def draw(name: str) -> str:
    """The plot of that name as SVG."""
    output = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "dcpx", "svg.fonttype": "none", "font.family": "sans-serif"}):
        DRAWINGS[name]().savefig(output, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+$", "", output.getvalue(), flags=re.MULTILINE)


def what_is_drawn(svg: str) -> list[str]:
    """The texts and filled shapes of a plot, rounded: what another Matplotlib draws as well."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    shapes = re.findall(r'<path d="([^"]*)"[^>]*style="fill: (#\w+)', svg)
    return texts + [f"{colour} {re.sub(r'-?[0-9.]+', lambda n: f'{float(n[0]):.0f}', path)}" for path, colour in shapes]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draws docs/plots from bench/results.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail unless the plots are true")
    check: bool = parser.parse_args(arguments).check
    old = []
    for name in DRAWINGS:
        path, drawn = PLOTS / f"{name}.svg", draw(name)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(drawn, encoding="utf-8")
        elif not path.exists() or what_is_drawn(path.read_text(encoding="utf-8")) != what_is_drawn(drawn):
            old.append(name)
    for name in old:
        print(f"docs/plots/{name}.svg is old: run python docs/plots.py", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
