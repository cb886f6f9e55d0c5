"""Keys that are no text, what is empty, and new names that would nest one thing within another."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata

import dcpx
from dcpx import CorruptError, DcpxWarning, LoadError
from dcpx.formats.nesting import flattened, nested


def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Linear(3, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("way", [["o2.pt"], ["ck", "o2.pt"], ["ck", "ck2", "o2.pt"], ["dcp", "o2.pt"]], ids=" ".join)
def test_an_optimizer_goes_on(way: list[str], tmp_path: Path):
    model, optimizer = trained()
    source = tmp_path / "o.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, source)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DcpxWarning)
        for name in way:
            dcpx.convert(source, tmp_path / name, to="dcp" if name == "dcp" else None)
            source = tmp_path / name
    other = torch.optim.AdamW(model.parameters())
    other.load_state_dict(torch.load(source)["optimizer"])
    for parameter in model.parameters():
        assert torch.equal(other.state[parameter]["exp_avg"], optimizer.state[parameter]["exp_avg"])


def test_an_optimizer_that_is_saved_by_dcp_loads_without_a_template(tmp_path: Path):
    model, optimizer = trained()
    dcpx.save({"optimizer": optimizer.state_dict()}, tmp_path / "c")
    found = dcpx.load_all(tmp_path / "c")["optimizer"]
    assert list(found["state"]) == [0, 1]
    torch.optim.AdamW(model.parameters()).load_state_dict(found)


def test_an_optimizer_without_a_state(tmp_path: Path):
    optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)
    torch.save({"w": torch.ones(1), "optimizer": optimizer.state_dict()}, tmp_path / "s.pt")
    for name in ("s2.pt", "c"):
        dcpx.convert(tmp_path / "s.pt", tmp_path / name)
    optimizer.load_state_dict(torch.load(tmp_path / "s2.pt")["optimizer"])
    optimizer.load_state_dict(dcpx.load_all(tmp_path / "c")["optimizer"])


def test_other_keys_stay_or_are_told(tmp_path: Path):
    state = {"a": {(1, 2): torch.ones(2), 3: {"x": 1}}, "l": [torch.ones(1), {}], "e": {}, "o": OrderedDict(b=1)}
    torch.save(state, tmp_path / "a.pt")
    dcpx.convert(tmp_path / "a.pt", tmp_path / "b.pt")
    found = torch.load(tmp_path / "b.pt")
    assert list(found["a"]) == [(1, 2), 3]
    assert found["a"][3] == {"x": 1}
    assert found["l"][1] == {}
    assert found["e"] == {}
    with pytest.warns(DcpxWarning, match=r"'a.\(1, 2\)', 'a.3.x', 'l.1' and 1 more: a checkpoint keeps keys"):
        dcpx.convert(tmp_path / "a.pt", tmp_path / "c")


def test_two_values_of_one_name(tmp_path: Path):
    torch.save({"a": {1: torch.ones(1), "1": torch.ones(1)}}, tmp_path / "a.pt")
    with pytest.raises(dcpx.UnsupportedError, match="two of its values have this name"):
        dcpx.convert(tmp_path / "a.pt", tmp_path / "c")


@pytest.mark.parametrize("to", ["n.pt", "n"])
def test_a_new_name_within_another(to: str, tmp_path: Path):
    torch.save({"a": {"b": torch.ones(1)}, "c": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(LoadError, match="lies within another"):
        dcpx.convert(tmp_path / "a.pt", tmp_path / to, names={"c": "a"})
    assert not (tmp_path / to).exists()


@pytest.mark.parametrize("names", [{"a.0": "x"}, lambda name: None if name == "a.0" else name])
def test_a_hole_in_a_list(names: Any, tmp_path: Path):
    torch.save({"a": [torch.ones(1), torch.zeros(1)]}, tmp_path / "a.pt")
    with pytest.raises(LoadError, match="of the list 'a' elements are missing"):
        dcpx.convert(tmp_path / "a.pt", tmp_path / "b.pt", names=names)
    dcpx.convert(tmp_path / "a.pt", tmp_path / "b.pt", names={"a.0": "x", "a.1": "y"})
    assert list(torch.load(tmp_path / "b.pt")) == ["x", "y"]


def test_an_index_is_only_a_number_that_a_file_says():
    for index in (1 << 40, -1):
        with pytest.raises(CorruptError, match="an index in a list"):
            nested({"a": 1}, {"a": ("l", index)})
    assert nested({"a": 1}, {"a": ("l", 2)}) == {"l": [None, None, 1]}


def test_a_metadata_that_says_such_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dcpx.save({"l": [torch.ones(1)]}, tmp_path / "c")
    read = dcpx.Reader.read_metadata

    def forged(self: dcpx.Reader) -> Metadata:
        found = read(self)
        found.planner_data = {"l.0": ("l", 1 << 45)}
        return found

    monkeypatch.setattr(dcpx.Reader, "read_metadata", forged)
    with pytest.raises(CorruptError, match="an index in a list"):
        dcpx.load_all(tmp_path / "c")


def test_there_and_back():
    state = {"x": {0: [1, {"y": [torch.ones(1)]}], "z": {}}, 5: {6: 7}, "list": [1, 2]}
    flat = flattened(state, "here")
    assert list(flat.values) == ["x.0.0", "x.0.1.y.0", "5.6", "list"]
    assert str(nested(flat.values, flat.paths, flat.empty)) == str(
        {"x": {"z": {}, 0: [1, {"y": [torch.ones(1)]}]}, 5: {6: 7}, "list": [1, 2]}
    )
