"""The bytes that the pages of spec/ show are those that they speak of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dcpx.codecs.container import container
from dcpx.codecs.dtypes import CODES, ITEM_SIZES

SPEC = Path(__file__).resolve().parents[2] / "spec"
SCALAR, TWO_DIMENSIONS = container("float32", ()), container("uint16", (2, 300))
PICKLE = re.compile(rb"\x80\x02.*tR\.", re.DOTALL)
HEX = re.compile(r"    ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?")


def blocks(page: str) -> list[bytes]:
    """Each indented block of bytes in a page, with what is said of them left out."""
    found: list[bytes] = []
    inside = False
    for line in (SPEC / page).read_text("utf-8").splitlines():
        match = HEX.fullmatch(line)
        if match is not None:
            data = bytes.fromhex(match[1])
            if inside:
                found[-1] += data
            else:
                found.append(data)
        inside = match is not None or (inside and line.startswith("    "))
    return found


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("format.md", [(SPEC / "vectors" / "example.frame").read_bytes()]),
        ("container.md", [SCALAR.before, SCALAR.after, *PICKLE.findall(TWO_DIMENSIONS.before)]),
    ],
)
def test_bytes(page: str, expected: list[bytes]):
    assert blocks(page) == expected


def test_dtypes():
    rows = re.findall(r"\| (\d+|-) \| `(\w+)` \| (\d+) ", (SPEC / "format.md").read_text("utf-8"))
    assert {name: int(code) for code, name, _ in rows if code != "-"} == CODES
    assert {name: int(size) for code, name, size in rows if code != "-"} == ITEM_SIZES


@pytest.mark.parametrize("page", sorted(path.name for path in SPEC.glob("*.md")))
def test_links_and_vectors_are_there(page: str):
    text = (SPEC / page).read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (SPEC / link).exists(), link
    for name in re.findall(r"vectors/([\w.]+\.\w+)", text):
        assert (SPEC / "vectors" / name).exists(), name
