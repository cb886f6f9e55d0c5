"""A dtype of a torch that is newer than this dcpx: refused by name, with the remedy, and never called damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp

NEW = "float8_e8m0fnu"  # stands for one, once it is forgotten


def in_older_dcpx(code: str) -> str:
    """What a process prints that doesn't know the dtype."""
    forget = f"""
import dcpx, torch
from dcpx.codecs import dtypes
from dcpx.pickles import constants
for table in (constants.ITEM_SIZES, dtypes.ITEM_SIZES, dtypes.CODES):
    del table[{NEW!r}]
tensor = torch.zeros(8, dtype=torch.uint8).view(torch.{NEW})
try:
    {code}
except dcpx.DcpxError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", forget], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_stock_dcp_stored(tmp_path: Path):
    dcp.save({"x": torch.zeros(8, dtype=torch.uint8).view(getattr(torch, NEW))}, checkpoint_id=tmp_path)
    loaded = in_older_dcpx(f"dcpx.load({{'x': tensor}}, {str(tmp_path)!r})")
    assert f"it names torch.{NEW}" in loaded
    assert "Upgrade dcpx" in loaded
    report = in_older_dcpx(f"report = dcpx.verify({str(tmp_path)!r}); print(report.verdict, *report.refusals)")
    assert report.startswith("unknown")
    assert f"it names torch.{NEW}" in report


def test_saving_it(tmp_path: Path):
    said = in_older_dcpx(f"dcpx.save({{'x': tensor}}, {str(tmp_path)!r})")
    assert said.startswith("SaveError")
    assert f"torch.{NEW}" in said
    assert "item 'x'" in said
    assert "Upgrade dcpx" in said
