"""What is no path is refused before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx.catalog.leftovers import find_leftovers

STATE: dict[str, Any] = {"w": torch.ones(3)}

CALLS: dict[str, Callable[[Any], Any]] = {
    "save": lambda path: dcpx.save(STATE, path),
    "load": lambda path: dcpx.load({"w": torch.zeros(3)}, path),
    "verify": dcpx.verify,
    "leftovers": find_leftovers,
    "Writer": dcpx.Writer,
    "Reader": dcpx.Reader,
    "Writer.reset": lambda path: dcpx.Writer("somewhere").reset(path),
    "Reader.reset": lambda path: dcpx.Reader("somewhere").reset(path),
    "dcp.save": lambda path: dcp.save(STATE, storage_writer=dcpx.Writer("somewhere"), checkpoint_id=path),
    "dcp.load": lambda path: dcp.load(
        {"w": torch.zeros(3)}, storage_reader=dcpx.Reader("somewhere"), checkpoint_id=path
    ),
}


NO_PATHS = ["", "s3://", "memory:///", "nonsense://bucket/run", Path("s3://bucket/run")]


@pytest.mark.parametrize("path", NO_PATHS, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_no_path(call: str, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"path|place|nonsense"):
        CALLS[call](path)
    assert not list(tmp_path.iterdir())


def test_a_path_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for path in (".", Path("a:b/c"), "~", "step:1000", Path("x") / "y"):
        dcpx.save(STATE, path, overwrite=True)
        state = {"w": torch.zeros(3)}
        dcpx.load(state, path)
        assert torch.equal(state["w"], STATE["w"])
    assert (tmp_path / "~" / ".metadata").exists()


def test_a_file_address(tmp_path: Path):
    dcpx.save(STATE, f"file://{tmp_path}/a%20b")
    state = {"w": torch.zeros(3)}
    dcpx.load(state, tmp_path / "a b")
    assert torch.equal(state["w"], STATE["w"])


def test_a_writer_can_be_sent_elsewhere(tmp_path: Path):
    dcp.save(STATE, storage_writer=dcpx.Writer(tmp_path / "a"), checkpoint_id=tmp_path / "b")
    state = {"w": torch.zeros(3)}
    dcp.load(state, storage_reader=dcpx.Reader(tmp_path / "a"), checkpoint_id=tmp_path / "b")
    assert torch.equal(state["w"], STATE["w"])
    assert not (tmp_path / "a").exists()
