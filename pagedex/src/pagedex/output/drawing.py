"""A picture's boxes and arrows as a small drawing in the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from html import escape

from pagedex.model.blocks import Picture, To

_CHARACTER = 6.9  # a letter's width in the drawing's pitch, at 12 px
_HEIGHT = 26
_GAP = 10
_BETWEEN = 56
_PAD = 10
_MARGIN = 8
_LONGEST = 34


def draw(picture: Picture, address: Callable[[To], str]) -> str:
    """The picture as SVG. Colours come from the page's style, so it is right in light and dark."""
    columns: defaultdict[int, list[int]] = defaultdict(list)
    for index, box in enumerate(picture.boxes):
        columns[box.column].append(index)
    texts = [_cut(box.text) for box in picture.boxes]
    widths = {
        column: max(len(texts[one]) for one in boxes) * _CHARACTER + 2 * _PAD for column, boxes in columns.items()
    }
    height = max((len(boxes) for boxes in columns.values()), default=1) * (_HEIGHT + _GAP) - _GAP
    places: dict[int, tuple[float, float, float]] = {}
    x = float(_MARGIN)
    for column in sorted(columns):
        boxes = columns[column]
        y = _MARGIN + (height - (len(boxes) * (_HEIGHT + _GAP) - _GAP)) / 2
        for index in boxes:
            places[index] = (x, y, widths[column])
            y += _HEIGHT + _GAP
        x += widths[column] + _BETWEEN
    width = x - _BETWEEN + _MARGIN
    # The name is cut in the middle of nothing: whoever can't see the drawing is told all of it.
    parts = [
        f'<svg class="drawing" role="img" viewBox="0 0 {width:.0f} {height + 2 * _MARGIN:.0f}" width="{width:.0f}" '
        f'height="{height + 2 * _MARGIN:.0f}" aria-label="{escape(picture.alt)}">'
    ]
    parts += [_arrow(places[start], places[end]) for start, end in picture.arrows]
    for index, box in enumerate(picture.boxes):
        left, top, wide = places[index]
        style = "box strong" if box.strong else "box"
        drawn = (
            f'<g class="{style}"><title>{escape(box.text)}</title>'
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{_HEIGHT}" rx="4"/>'
            f'<text x="{left + _PAD:.1f}" y="{top + 17:.1f}">{escape(texts[index])}</text></g>'
        )
        to = address(box.to) if box.to is not None else ""
        parts.append(f'<a href="{escape(to)}">{drawn}</a>' if to else drawn)
    parts.append("</svg>")
    return "".join(parts)


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    middle = _HEIGHT / 2
    forward = start[0] <= end[0]
    x1, y1 = start[0] + (start[2] if forward else 0), start[1] + middle
    x2, y2 = end[0] + (0 if forward else end[2]), end[1] + middle
    bend, tip = (x1 + x2) / 2, 6 if forward else -6
    line = f"M{x1:.1f},{y1:.1f}C{bend:.1f},{y1:.1f} {bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    return f'<path class="arrow" d="{line}"/><path class="tip" d="M{x2:.1f},{y2:.1f}l{-tip},-3.5v7z"/>'


def _cut(text: str) -> str:
    # The end of a path says more than its beginning.
    return text if len(text) <= _LONGEST else "…" + text[-_LONGEST + 1 :]
