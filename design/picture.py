"""Draws the rooms of `src/dcpx` as a house, for docs/architecture.md: a floor a line, and what knows torch in blue.

    python -m design.picture            # draw it anew
    python -m design.picture --check    # fail if it is old

Rooms and floors are those of `design/rooms.py`; who imports whom is in the drawing of design/0005-rooms.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from design.rooms import PACKAGE, ROOT, Floor, read_floors, read_list

PICTURE = ROOT / "docs" / "rooms.svg"
WITHOUT_TORCH = "Only __main__, cli, background, formats, trainers, api, saving, loading and dcp know torch"

WIDTH, HEIGHT, GAP, TOP, LEFT = 84, 26, 8, 34, 90
INK, TORCH, PLAIN = "#777777", "#2f7fc1", "#77777714"


def draw(package: Path, config: str) -> str:
    """The picture as SVG. ValueError if the lint's contracts aren't there."""
    floors = read_floors(config)
    plain = {module.rpartition(".")[2] for module in read_list(config, WITHOUT_TORCH, "source_modules")}
    widest = max(len(floor.rooms) for floor in floors)
    width = LEFT + widest * (WIDTH + GAP) - GAP + LEFT
    height = TOP + len(floors) * (HEIGHT + GAP) + 18
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">',
        "<title>The rooms of dcpx: imports point downwards, and what is blue knows torch</title>",
        *_arrow(30, TOP, height - 22, "tensors", "bytes", "saving"),
        *_arrow(width - 30, height - 22, TOP, "tensors", "bytes", "loading"),
    ]
    for number, floor in enumerate(floors):
        for name, x, y in _places(floor, number, width):
            folder = "" if (package / f"{name}.py").exists() else "/"
            fill, ink = (PLAIN, INK) if name in plain else (TORCH, "#ffffff")
            lines += [
                f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="3" fill="{fill}" stroke="{INK}"/>'
                f'<text x="{x + WIDTH / 2:g}" y="{y + 17}" text-anchor="middle" fill="{ink}">{name}{folder}</text>'
            ]
    return "\n".join((*lines, "</svg>", ""))


def _places(floor: Floor, number: int, width: int) -> Iterator[tuple[str, float, float]]:
    begin = (width - len(floor.rooms) * (WIDTH + GAP) + GAP) / 2
    for place, name in enumerate(floor.rooms):
        yield name, round(begin + place * (WIDTH + GAP), 1), TOP + number * (HEIGHT + GAP)


def _arrow(x: int, begin: int, end: int, top: str, bottom: str, way: str) -> Iterator[str]:
    """An arrow from `begin` to `end`, with what is above and below it, and what it means along it."""
    upper, lower = min(begin, end), max(begin, end)
    tip = 6 if end > begin else -6
    yield f'<path d="M{x} {begin}V{end}m-4 {-tip}l4 {tip}l4 {-tip}" fill="none" stroke="{INK}" stroke-width="1.5"/>'
    yield f'<text x="{x}" y="{upper - 8}" text-anchor="middle">{top}</text>'
    yield f'<text x="{x}" y="{lower + 14}" text-anchor="middle">{bottom}</text>'
    middle = (upper + lower) // 2
    yield f'<text x="{x + 14}" y="{middle}" text-anchor="middle" transform="rotate(-90 {x + 14} {middle})">{way}</text>'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draws the rooms of src/dcpx into docs/rooms.svg.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail unless the picture is true")
    check: bool = parser.parse_args(arguments).check
    drawn = draw(PACKAGE, (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if not check:
        PICTURE.write_text(drawn, encoding="utf-8")
        return 0
    if not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn:
        print("docs/rooms.svg is old: run python -m design.picture", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
