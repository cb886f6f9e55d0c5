"""`load`'s `strict`, `cast`, `registry` and `no_dist`, and the warnings of what is cast or lies under odd keys."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner

import dcpx
from dcpx import ExtensionError, LoadError, SaveError
from dcpx.loading.casts import narrows
from tests.support.extensions import Passing
from tests.support.warned import warned

# --- strict -----------------------------------------------------------------------------------------------------------


def test_what_the_checkpoint_lacks_is_left_and_named(tmp_path: Path):
    dcpx.save({"w": torch.ones(3), "n": {"a": 1, "unasked": torch.ones(2)}}, tmp_path)
    state: dict[str, Any] = {"w": torch.zeros(3), "new": torch.full((2,), 5.0), "n": {"a": None, "b": "kept"}}
    with pytest.raises(LoadError, match="no item of this name"):
        dcpx.load(dict(state), tmp_path)
    failures = dcpx.load(state, tmp_path, strict=False)
    assert list(failures) == ["n.b", "new"]
    assert all(isinstance(error, LoadError) and error.where.item == name for name, error in failures.items())
    assert state["w"].tolist() == [1, 1, 1]
    assert state["new"].tolist() == [5, 5]
    assert state["n"] == {"a": 1, "b": "kept"}
    assert dcpx.load({"w": torch.zeros(3)}, tmp_path, strict=False) == {}


def test_strict_false_forgives_nothing_else(tmp_path: Path):
    dcpx.save({"w": torch.ones(3)}, tmp_path)
    with pytest.raises(LoadError, match="mismatch"):
        dcpx.load({"w": torch.zeros(4)}, tmp_path, strict=False)
    (file,) = tmp_path.glob("*.distcp")
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(dcpx.CorruptError):
        dcpx.load({"w": torch.zeros(3), "new": 1}, tmp_path, strict=False)
    assert dcpx.load({"w": torch.zeros(3), "new": 1}, tmp_path, strict=False, partial=True).keys() == {"w", "new"}


def test_a_planner_has_its_own_strictness(tmp_path: Path):
    dcpx.save({"w": torch.ones(3)}, tmp_path)
    state = {"w": torch.zeros(3), "new": 1}
    with pytest.raises(ValueError, match="allow_partial_load"):
        dcpx.load(state, tmp_path, strict=False, planner=DefaultLoadPlanner())
    assert dcpx.load(state, tmp_path, planner=DefaultLoadPlanner(allow_partial_load=True)) == {}
    assert state["w"].tolist() == [1, 1, 1]


# --- cast -------------------------------------------------------------------------------------------------------------


def test_a_cast_can_be_refused(tmp_path: Path):
    dcpx.save({"a": torch.ones(3), "b": torch.ones(3), "o": 1}, tmp_path)
    for dtype in (torch.bfloat16, torch.float64):
        state = {"a": torch.zeros(3), "b": torch.zeros(3, dtype=dtype), "o": None}
        with pytest.raises(LoadError, match=f"torch.float32.*{dtype}") as caught:
            dcpx.load(state, tmp_path, cast=False)
        assert caught.value.where.item == "b"
        assert not state["a"].any(), "something was filled"
    state = {"a": torch.zeros(3), "b": torch.zeros(3), "o": None}
    dcpx.load(state, tmp_path, cast=False)
    assert state["b"].tolist() == [1, 1, 1]


def test_a_planner_that_shows_no_state_is_asked(tmp_path: Path):
    class Hiding(DefaultLoadPlanner):
        def create_local_plan(self) -> Any:
            plan = super().create_local_plan()
            self.hidden, self.state_dict = self.state_dict, None
            return plan

        def lookup_tensor(self, index: Any) -> torch.Tensor:
            return self.hidden[index.fqn]

    dcpx.save({"a": torch.ones(3)}, tmp_path)
    with pytest.raises(LoadError, match="float16"):
        dcpx.load({"a": torch.zeros(3, dtype=torch.float16)}, tmp_path, cast=False, planner=Hiding())


def test_a_cast_that_loses_something_is_said_once(tmp_path: Path):
    dcpx.save({name: torch.ones(3) for name in "abc"} | {"i": torch.arange(3)}, tmp_path)
    half = {name: torch.zeros(3, dtype=torch.bfloat16) for name in "abc"} | {"i": torch.zeros(3, dtype=torch.int64)}
    (text,) = warned(lambda: dcpx.load(half, tmp_path))
    assert "3 tensors" in text
    assert "'a'" in text
    assert "torch.bfloat16" in text
    double = {name: torch.zeros(3, dtype=torch.float64) for name in "abc"}
    assert warned(lambda: dcpx.load(double, tmp_path)) == []
    assert warned(lambda: dcpx.load({"a": torch.zeros(3)}, tmp_path)) == []


def test_which_casts_lose_something():
    def chain(*dtypes: torch.dtype) -> None:
        for small, large in pairwise(dtypes):
            assert not narrows(small, large), (small, large)
            assert narrows(large, small), (large, small)

    chain(torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64)
    chain(torch.float16, torch.float32, torch.float64, torch.complex128)
    chain(torch.bfloat16, torch.float32, torch.complex64, torch.complex128)
    chain(torch.float8_e4m3fn, torch.bfloat16, torch.float64)
    chain(torch.int16, torch.float32)
    chain(torch.int32, torch.float64)
    for one, other in ((torch.float16, torch.bfloat16), (torch.int32, torch.float32), (torch.int64, torch.float64)):
        assert narrows(one, other)
        assert narrows(other, one)
    assert narrows(torch.int8, torch.uint8)
    assert narrows(torch.uint8, torch.int8)
    assert not narrows(torch.uint8, torch.bfloat16)
    assert narrows(torch.int16, torch.bfloat16)


# --- keys that are no strings -----------------------------------------------------------------------------------------


def milestones(path: Path, scheduler: Any, **options: Any) -> list[str]:
    return warned(lambda: dcpx.save({"s": scheduler.state_dict()}, path, overwrite=True, **options))


def multi_step() -> Any:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])


def test_objects_under_odd_keys_are_said_and_come_back(tmp_path: Path):
    (text,) = milestones(tmp_path, multi_step())
    assert "'s.milestones.3', 's.milestones.5'" in text
    state = {"s": multi_step().state_dict()}
    dcpx.load(state, tmp_path)
    assert state["s"]["milestones"] == collections.Counter({3: 1, 5: 1})
    assert milestones(tmp_path, multi_step(), planner=DefaultSavePlanner())
    assert not milestones(tmp_path, multi_step(), planner=DefaultSavePlanner(flatten_state_dict=False))


def test_the_remedy_for_odd_keys_works(tmp_path: Path):
    saved = {"s": (multi_step().state_dict(),)}
    assert warned(lambda: dcpx.save(saved, tmp_path)) == []
    for load in (dcpx.load, lambda state, path: dcp.load(state, storage_reader=dcpx.Reader(path))):
        state: dict[str, Any] = {"s": None}
        load(state, tmp_path)
        assert state["s"][0]["milestones"] == collections.Counter({3: 1, 5: 1})


def test_odd_keys_deep_within(tmp_path: Path):
    tree: dict[str, Any] = {
        "a": [{True: "t", (1, 2): {None: 5}}, torch.ones(1)],
        "b": {"c": 1},
        "list": [1, {2: "two"}],
    }
    (text,) = warned(lambda: dcpx.save(tree, tmp_path))
    assert "'a.0.True', 'a.0.(1, 2).None', 'list.1.2'" in text
    empty: dict[str, Any] = {
        "a": [{True: None, (1, 2): {None: None}}, torch.zeros(1)],
        "b": {"c": None},
        "list": [0, {2: None}],
    }
    dcpx.load(empty, tmp_path)
    assert empty == tree


def test_tensors_under_odd_keys_are_filled_where_they_are(tmp_path: Path):
    saved = {"state": {0: {"m": torch.ones(2)}, 1: {"m": torch.ones(2)}}}
    assert warned(lambda: dcpx.save(saved, tmp_path)) == []
    state = {"state": {0: {"m": torch.zeros(2)}, 1: {"m": torch.zeros(2)}}}
    dcpx.load(state, tmp_path)
    assert list(state["state"]) == [0, 1]
    assert state["state"][1]["m"].tolist() == [1, 1]


ONE_TEXT: list[dict[str, Any]] = [
    {"x": {1: 2, "1": 3}},
    {"x": {1: torch.ones(1), "1": 3}},
    {"x.1": 1, "x": {1: 1}},
    {"x": {1: [], "1": {"a": 2}}},  # whose names differ, but not the way to them
    {"x": {1: {}, "1": {}}},
]


@pytest.mark.parametrize("state", ONE_TEXT)
def test_keys_of_one_text_are_refused(state: dict[str, Any], tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SaveError, match=r"x\.1"):
            dcpx.save(state, tmp_path)
    assert not list(tmp_path.iterdir())


def test_keys_that_cannot_be_sorted(tmp_path: Path):
    saved: Any = {0: torch.ones(2), None: [1], "a": {"b": 2}}
    with pytest.warns(dcpx.DcpxWarning, match="'None'"):
        dcpx.save(saved, tmp_path)
    state: Any = {0: torch.zeros(2), None: "", "a": {"b": 0}}
    tensor = state[0]
    dcpx.load(state, tmp_path)
    assert state[0] is tensor
    assert (tensor.tolist(), state[None], state["a"]) == ([1, 1], [1], {"b": 2})
    assert list(state) == [0, None, "a"]
    with pytest.raises(ValueError, match="0 and '0'"):
        dcpx.load({0: 1, "0": 2}, tmp_path)  # type: ignore[dict-item]


def test_keys_that_a_planner_takes_for_names(tmp_path: Path):
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    state: Any = {"a": torch.ones(2), 3: torch.ones(2)}
    with pytest.raises(SaveError, match="name 3 is no string"):
        dcpx.save(state, tmp_path / "checkpoint", planner=planner)
    assert not (tmp_path / "checkpoint").exists()


def test_empty_dictionaries_within_lists(tmp_path: Path):
    saved: dict[str, Any] = {"a": [{}, 1, []], "b": [torch.ones(1), [{}, 2]], "c": [[{}], 3]}
    assert warned(lambda: dcpx.save(saved, tmp_path)) == []
    state: dict[str, Any] = {"a": [{}, 0, 0], "b": [torch.zeros(1), [{}, 0]], "c": [[{}], 0]}
    dcpx.load(state, tmp_path)
    assert state == saved


@pytest.mark.parametrize("kind", [collections.ChainMap, collections.UserDict, collections.OrderedDict])
def test_other_mappings(kind: Callable[[dict[str, Any]], Any], tmp_path: Path):
    assert warned(lambda: dcpx.save({"a": {"b": kind({"x": 1, "y": torch.ones(1)})}}, tmp_path)) == []
    state = {"a": {"b": kind({"x": 0, "y": torch.zeros(1)})}}
    mapping = state["a"]["b"]
    dcpx.load(state, tmp_path)
    assert state["a"]["b"] is mapping
    assert (mapping["x"], mapping["y"].tolist()) == (1, [1])


# --- registry, no_dist ------------------------------------------------------------------------------------------------


class Unknown(Passing):
    """Known to no plug-in."""

    descriptor = "unknown@dcpx-tests"


def test_a_registry_of_ones_own(tmp_path: Path):
    dcpx.save({"w": torch.ones(3)}, tmp_path, pack=Unknown())
    with pytest.raises(ExtensionError, match="unknown@dcpx-tests"):
        dcpx.load({"w": torch.zeros(3)}, tmp_path)
    registry = dcpx.ExtensionRegistry()
    registry.register(Unknown)
    state = {"w": torch.zeros(3)}
    dcpx.load(state, tmp_path, registry=registry)
    assert state["w"].tolist() == [1, 1, 1]


def test_no_dist(tmp_path: Path):
    dcpx.save({"w": torch.ones(3)}, tmp_path, no_dist=True)
    state = {"w": torch.zeros(3)}
    dcpx.load(state, tmp_path, no_dist=True)
    assert state["w"].tolist() == [1, 1, 1]


def test_a_missing_name_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    dcpx.save({"x": torch.ones(3)}, tmp_path / "c")
    with pytest.raises(LoadError) as caught:
        dcpx.load({"x": torch.ones(3), "y": torch.ones(3), "z": 1}, tmp_path / "c")
    assert caught.value.where.item == "y"
    assert "1 more" in caught.value.cause
    assert "strict=False" in caught.value.remedy


def test_an_item_where_another_has_its_dictionary_is_refused(tmp_path: Path) -> None:
    """`dcpx.save` sees such keys; DCP's own functions only tell the writer where the items lie."""
    state = {"a": {1: {"w": torch.ones(3)}, "1": 5}}
    with pytest.raises(CheckpointException) as caught:
        dcp.save(state, storage_writer=dcpx.Writer(tmp_path / "c"))
    (error,) = [cause for cause, _ in caught.value.failures.values()]
    assert isinstance(error, SaveError)
    assert error.where.item == "a.1.w"
    assert not list((tmp_path / "c").iterdir())
