"""The table of what happens: dcpx does as promised, stock DCP doesn't, and the guide says what is asked here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fault import what_happens
from tests.fault.fork_server import ForkServer
from tests.fault.what_happens import ROWS, Place, Row

ROOT = Path(__file__).parents[2]

# What takes long here has tests of its own: test_failing_calls, test_killed, test_power_loss, test_object_bombs.
LONG = {what_happens.failing_writes, what_happens.killed, what_happens.power_lost, what_happens.bomb}
SHORT = [row for row in ROWS if row.answer not in LONG]


@pytest.mark.parametrize("kind", ["dcpx", "stock"])
@pytest.mark.parametrize("row", SHORT, ids=lambda row: row.question)
@pytest.mark.filterwarnings("ignore")
def test_a_promise(row: Row, kind: str, tmp_path: Path, server: ForkServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(what_happens, "FLIPS", 30)
    answer = row.answer(kind, Place(tmp_path, server))
    assert row.keeps_promise(answer) is (kind == "dcpx"), answer


def table(page: str) -> dict[str, str]:
    rows = [line.split(" | ") for line in (ROOT / page).read_text().splitlines() if line.startswith("| ")]
    return {cells[0].removeprefix("| "): cells[-1].removesuffix(" |") for cells in rows}


def test_the_guide_has_the_table_and_the_readme_some_of_it():
    guide, readme = table("docs/guarantees.md"), table("README.md")
    for row in ROWS:
        assert row.keeps_promise(guide[row.question])
        assert readme.get(row.question, guide[row.question]) == guide[row.question]
