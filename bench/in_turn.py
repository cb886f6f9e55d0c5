"""Measures several ways to do one thing by turns, and shows their medians beside those of the first of them."""

from __future__ import annotations

import ctypes
import gc
import random
import time
from collections.abc import Callable, Mapping
from statistics import median

from rich.console import Console
from rich.table import Table

from .memory import MIB, _peak, _reset_peak

__all__ = ["Row", "in_turn", "show"]

Row = dict[str, object]


def in_turn(
    title: str,
    raw: int,
    ways: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    check: Callable[[str], None] = lambda way: None,
) -> list[Row]:
    """A row for each way to handle `raw` bytes: its seconds in each round, their median, the rate, the ratio of its
    median to that of the first way, and by how many bytes the process's peak grew at most. `check` is called after each
    with its name, and raises where the outcome is wrong. The first round warms up and isn't counted."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    extra = dict.fromkeys(ways, 0)
    for number in range(rounds + 1):
        for way in random.Random(number).sample(list(ways), len(ways)):
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            before = _reset_peak()
            begin = time.perf_counter()
            ways[way]()
            took = time.perf_counter() - begin
            grown = _peak() - before
            check(way)
            if number:
                seconds[way].append(took)
                extra[way] = max(extra[way], grown)
    first = median(seconds[next(iter(ways))])
    rows: list[Row] = [
        {
            "section": title,
            "way": way,
            "raw": raw,
            "seconds": [round(second, 4) for second in found],
            "gbps": raw / median(found) / 1e9,
            "of_first": median(found) / first,
            "extra": extra[way],
        }
        for way, found in seconds.items()
    ]
    show(title, rows)
    return rows


def show(title: str, rows: list[Row]) -> None:
    table = Table(title=title)
    table.add_column("way", no_wrap=True)
    for heading in ("seconds", "GB/s", "of the first's time", "extra MiB"):
        table.add_column(heading, justify="right")
    for row in rows:
        found = row["seconds"]
        assert isinstance(found, list)
        extra = f"{row['extra'] / MIB:.0f}" if isinstance(row.get("extra"), int) else "-"  # type: ignore[operator]
        table.add_row(str(row["way"]), f"{median(found):.3f}", f"{row['gbps']:.2f}", f"{row['of_first']:.2f}", extra)
    Console(width=110).print(table)
