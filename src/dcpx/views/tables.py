"""Table: rows of plain values, which a notebook shows and the command line prints."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .shown import named, rate_text, size_text, visible

__all__ = ["Table", "Value", "shape_text"]

_SHOWN = 200
"""Rows that a notebook shows."""

Value: TypeAlias = "str | int | float | None"


@dataclass(frozen=True)
class Table:
    """`rows` with a value for each of the `columns`: text, numbers, or None for what isn't known. The first one names
    the row. `sizes` are the columns that count bytes, `rates` those in bytes a second."""

    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    sizes: frozenset[str] = frozenset()
    rates: frozenset[str] = frozenset()

    def texts(self, *, exact: bool = False) -> Iterator[list[str]]:
        """The rows as people read them, with sizes `exact` to the byte or not. What a checkpoint says is in there as it
        is."""
        for row in self.rows:
            yield [self._text(number, value, exact) for number, value in enumerate(row)]

    def _text(self, number: int, value: Value, exact: bool) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return named(value) if number == 0 else value
        if self.columns[number] in self.sizes:
            return size_text(value, exact=exact)
        if self.columns[number] in self.rates:
            return rate_text(value)
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"

    def to_html(self) -> str:
        """An HTML table of the first 200 rows; nothing in it is taken for markup, and nothing hides."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        rows = zip(self.rows[:_SHOWN], self.texts(), strict=False)
        body = "".join(f"<tr>{''.join(map(_cell, row, texts))}</tr>" for row, texts in rows)
        left = len(self.rows) - _SHOWN
        more = f"<p>and {left:,} more</p>" if left > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def _repr_html_(self) -> str:
        return self.to_html()


def shape_text(shape: tuple[int, ...] | None) -> str:
    """A tensor's shape in a table, such as "3x4"; nothing for what has none."""
    return "" if shape is None else "x".join(map(str, shape)) or "scalar"


def _cell(value: Value, text: str) -> str:
    side = "left" if isinstance(value, str) else "right"
    return f'<td style="text-align:{side}">{html.escape(visible(text))}</td>'
