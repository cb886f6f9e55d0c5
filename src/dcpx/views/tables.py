"""Table: rows of plain values, which a notebook shows and the command line prints."""

from __future__ import annotations

import html
from dataclasses import dataclass

__all__ = ["Table", "shape_text"]

_SHOWN = 200
"""Rows that a notebook shows."""


@dataclass(frozen=True)
class Table:
    """`rows` with a value for each of the `columns`: text, numbers, or None for what isn't known."""

    columns: tuple[str, ...]
    rows: list[tuple[str | int | float | None, ...]]

    def to_html(self) -> str:
        """An HTML table of the first 200 rows; nothing in it is taken for markup."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self.rows[:_SHOWN])
        left = len(self.rows) - _SHOWN
        more = f"<p>and {left:,} more</p>" if left > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def _repr_html_(self) -> str:
        return self.to_html()


def shape_text(shape: tuple[int, ...] | None) -> str:
    """A tensor's shape in a table, such as "3x4"; nothing for what has none."""
    return "" if shape is None else "x".join(map(str, shape)) or "scalar"


def _cell(value: str | int | float | None) -> str:
    if isinstance(value, str):
        return f'<td style="text-align:left">{html.escape(value)}</td>'
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f'<td style="text-align:right">{text}</td>'
