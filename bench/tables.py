"""`python -m bench.tables [--check]`: writes the figures of the tables in README.md and docs from bench/results.

A table's rows stay as they are: their first cells say what they are of, and a row without results is an error. Where a
figure wasn't measured yet its cell is empty. With `--check` nothing is written, and the exit status is 1 if anything
would be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
README, GUIDE, ALTERNATIVES = "README.md", "docs/performance.md", "docs/alternatives.md"

SECTIONS = {
    "832 bf16 tensors, 363 MB": "disk/many",
    "104 bf16 tensors, 1.09 GB": "disk/large",
    "one bf16 tensor, 1.01 GB": "disk/one",
    "f32 weights and AdamW state, 812 tensors, 543 MB": "disk/adamw",
}
BOUND = "entropy"
"""What `bench codec` calls the bound, which it has of types of two bytes."""

CONTENDERS = {
    "DCP, plain": "DCP plain",
    "DCP, plain, 1 thread": "DCP plain, 1 thread",
    "DCP, plain, 2 threads": "DCP plain, 2 threads",
    "DCP, its ZStandard": "DCP ZStandard",
    "DCP, its ZStandard, 2 threads": "DCP ZStandard, 2 threads",
    "dcpx, level small": "dcpx small",
    "zipnn 0.5.4": "zipnn",
    "openzl 0.3.0, huffman": "openzl huffman",
    "openzl 0.3.0, fse": "openzl fse",
    "blosc2 4.14.1, shuffle + zstd 1": "blosc2 shuffle+zstd1",
    "bound: sign, exponent and mantissa": BOUND,
}
"""What the tables call contenders that the results call otherwise."""

SPEEDS = ("save_gbps", "load_gbps", "next_gbps", "cold_gbps")
PARTS = ("whole", "8 of 8 row slices", "1 of 8 row slices", "8 of 8 column slices")

Row = Mapping[str, Any]


class Table(NamedTuple):
    """A table of `page`, whose first line begins with `heading`; `figures` are those of a row with these labels, as
    many as `labels` says, of which an empty one is as in the row above. What follows the figures stays."""

    page: str
    heading: str
    labels: int
    figures: Callable[..., list[str]]

    def filled(self, text: str) -> str:
        """The page with the table's figures as the results say."""
        begin = text.index(self.heading)
        end = text.find("\n\n", begin)
        end = len(text) if end < 0 else end
        head, rule, *lines = text[begin:end].splitlines()
        return text[:begin] + "\n".join([head, rule, *self._rows(lines)]) + text[end:]

    def _rows(self, lines: list[str]) -> Iterator[str]:
        labels = [""] * self.labels
        for line in lines:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            labels = [new or old for new, old in zip(cells[: self.labels], labels, strict=True)]
            found = self.figures(*labels)
            said = (f" {cell} " for cell in (*cells[: self.labels], *found, *cells[self.labels + len(found) :]))
            yield f"|{'|'.join(said)}|"


# --- what the results say ---------------------------------------------------------------------------------------------


@cache
def results(bench: str) -> list[Row]:
    """The rows of one benchmark's results."""
    path = ROOT / "bench" / "results" / f"{bench}.json"
    found: list[Row] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return found


def _one(bench: str, **wanted: str) -> Row:
    """The row that has these values. KeyError where there is none."""
    for row in results(bench):
        if all(row.get(key) == value for key, value in wanted.items()):
            return row
    raise KeyError(f"bench/results/{bench}.json has no row of {wanted}")


def _value(bench: str, key: str, **wanted: str) -> float | None:
    """What that row has under `key`, the median where it is a list; None where it has nothing there."""
    value = _one(bench, **wanted).get(key)
    return median(value) if isinstance(value, list) else value


def _shown(value: float | None, digits: int, scale: float = 1.0) -> str:
    return "" if value is None else f"{value / scale:.{digits}f}"


# --- the rows of each table -------------------------------------------------------------------------------------------


def _speeds(state: str, label: str) -> list[str]:
    contender = CONTENDERS.get(label, label)
    versions = (row["contender"] for row in results("checkpoint") if row["contender"].startswith("torch.save"))
    row = _one("checkpoint", section=SECTIONS[state], contender=next(versions) if label == "torch.save" else contender)
    return [_shown(row["of_raw"], 3), *(_shown(row.get(key), 2) for key in SPEEDS)]


def _best_speeds(state: str, label: str) -> list[str]:
    if not label.endswith(", its best"):
        return _speeds(state, label)
    own = [row for row in results("checkpoint") if row.get("section") == SECTIONS[state]]
    rows = [row for row in own if row["contender"] in ("DCP plain, 1 thread", "DCP plain, 2 threads")]
    best = [max((row[key] for row in rows if key in row), default=None) for key in SPEEDS]
    return [_shown(rows[0]["of_raw"], 3), *(_shown(value, 2) for value in best)]


def _parts(label: str) -> list[str]:
    contender = CONTENDERS.get(label, label)
    return [_shown(_value("checkpoint", "median_s", contender=contender, loaded=part), 3) for part in PARTS]


def _object_store(way: str) -> list[str]:
    both = [f"{step} many to S3".replace("load many to", "load many from") for step in ("save", "load")]
    seconds = [_shown(_value("stores", "seconds", section=section, way=way), 3) for section in both]
    memory = [_shown(_value("stores", "extra", section=section, way=way), 0, 1 << 20) for section in both]
    wire = [_shown(_value("stores", key, section="over the wire", way=way), 1, 1e6) for key in ("sent", "received")]
    return seconds + memory + wire


def _ranks(section: str) -> list[str]:
    ways = ("each by itself", "for one another") if "S3" in section else ("stock", "dcpx")
    stock, own = (_value("ranks", "seconds", section=section, way=way) or 0.0 for way in ways)
    return [_shown(stock, 3), _shown(own, 3), _shown(own / stock, 2)]


def _background(way: str) -> list[str]:
    keys = {"blocked_s": 3, "loop_of_alone": 2, "until_saved_s": 2} if way != "clone" else {"blocked_s": 3}
    said = [
        _shown(_value("background", key, section="async_save", way=way.lower()), digits) for key, digits in keys.items()
    ]
    return said + [""] * (3 - len(said))


def _conversion(label: str) -> list[str]:
    way = label.removeprefix("safetensors ").removeprefix("dcpx ")
    rows = {row["section"]: row for row in results("convert") if row["way"] == way}
    cases = [f"convert {count} tensors, {how}" for count in ("2,496", "211") for how in ("verified", "not verified")]
    rates = [_shown(rows[case]["gbps"] if case in rows else None, 2) for case in cases]
    return [*rates, _shown(max(row["extra"] for row in rows.values()), 0, 1 << 20)]


def _very_many(label: str) -> list[str]:
    section, _, way = label.rpartition(", ")
    row = _one("scale", section=section, way=way)
    data, described = ("write_data", "finish") if way == "save" else ("read_data", "read_metadata")
    times = [_shown(row.get(key), 2) for key in ("seconds", "planning", data, described)]
    return [*times, _shown(row["extra"], 0, 1 << 20)]


def _command(what: str) -> list[str]:
    def seconds(section: str, way: str) -> str:
        return _shown(_value("cli", "seconds", section=section, way=way), 3)

    name, _, of = what.removeprefix("`").partition("`")
    if name == "inspect":
        return [seconds("inspect from the prompt", of.removeprefix(", ").removesuffix(", from the prompt")), "", ""]
    if name == "verify":
        return [seconds(f"verify{of}", way) for way in ("verify", "read the files", "load")]
    if name == "diff":
        return [seconds("diff", f"diff{of}"), "", seconds("diff", "load both")]
    return [_shown(_value("cli", "open_s", section="report", way="of 20,000 tensors"), 3), "", ""]


def _codec(data: str, label: str) -> list[str]:
    row = _one("codec", data=data, codec=CONTENDERS.get(label, label))
    if label == "memcpy":
        return ["1", _shown(row["encode_1"], 1), _shown(row["decode_1"], 1)]
    return [_shown(row["ratio"], 4), _shown(row.get("encode_1"), 2), _shown(row.get("decode_1"), 2)]


def _codecs(label: str) -> list[str]:
    of_f32 = ["", "", ""] if CONTENDERS.get(label) == BOUND else _codec("MiniLM f32", label)
    return _codec("MiniLM bf16", label) + of_f32


def _codecs_of_bf16(label: str) -> list[str]:
    return _codec("MiniLM bf16", label)


TABLES = (
    Table(README, "| state | saved with |", 2, _best_speeds),
    Table(GUIDE, "| state | saved with |", 2, _speeds),
    Table(GUIDE, "| loading one stored tensor", 1, _parts),
    Table(GUIDE, "| S3 | save, s |", 1, _object_store),
    Table(GUIDE, "| four ranks |", 1, _ranks),
    Table(GUIDE, "| in the background |", 1, _background),
    Table(GUIDE, "| converting |", 1, _conversion),
    Table(GUIDE, "| very many |", 1, _very_many),
    Table(GUIDE, "| looking at 1.09 GB |", 1, _command),
    Table(GUIDE, "| | bf16: of raw |", 1, _codecs),
    Table(ALTERNATIVES, "| | of raw | encode |", 1, _codecs_of_bf16),
)


def filled(page: str) -> str:
    """The page with all its tables as the results say."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for table in TABLES:
        if table.page == page:
            text = table.filled(text)
    return text


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail unless the tables are true")
    check: bool = parser.parse_args(arguments).check
    old = 0
    for page in dict.fromkeys(table.page for table in TABLES):
        path, text = ROOT / page, filled(page)
        if text == path.read_text(encoding="utf-8"):
            continue
        if check:
            print(f"the tables of {page} are old: run python -m bench.tables", file=sys.stderr)
            old = 1
        else:
            path.write_text(text, encoding="utf-8")
    return old


if __name__ == "__main__":
    sys.exit(main())
