"""Table, and what else a notebook shows: numbers as people read them, and nothing that hides or is taken for markup."""

from __future__ import annotations

from pathlib import Path

import torch

import dcpx
from dcpx.views.tables import Table
from tests.support.files import data_file

HOSTILE = "<b>\x1b[31m\u202e"


def test_numbers():
    table = Table(
        ("name", "count", "mean", "bytes", "rate"),
        [("x", 12_345, 0.123456, 1_234_567, 1.594e9), ("y", None, None, None, None)],
        frozenset(["bytes"]),
        frozenset(["rate"]),
    )
    assert list(table.texts()) == [["x", "12,345", "0.1235", "1.23 MB", "1.59 GB/s"], ["y", "", "", "", ""]]
    assert next(table.texts(exact=True))[3] == "1,234,567"
    assert "1.23 MB" in table.to_html()


def test_names_that_hide():
    names = ["", "  ", " a", HOSTILE]
    shown = Table(("name", "what"), [(name, name) for name in names]).to_html()
    for cell in ("&#x27;&#x27;", "&#x27;  &#x27;", "&#x27; a&#x27;", "&lt;b&gt;\\x1b[31m\\u202e"):
        assert f'<td style="text-align:left">{cell}</td>' in shown
    assert not set(shown) & set("\x1b\u202e")
    assert "<b>" not in shown


def test_a_report_in_a_notebook(tmp_path: Path):
    dcpx.save({HOSTILE: torch.ones(3000)}, tmp_path / "c", sync=False)
    shown = dcpx.verify(tmp_path / "c")._repr_html_()
    assert "is whole: 1 items" in shown
    assert "<table>" not in shown
    data_file(tmp_path / "c").unlink()
    report = dcpx.verify(tmp_path / "c")
    shown = report._repr_html_()
    assert "is damaged" in shown
    assert "the file is missing" in shown
    assert shown.count("<tr>") == 1 + len(report.problems)
    assert "\x1b" not in shown
    assert "<b>" not in shown
