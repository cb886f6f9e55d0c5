"""Whatever saves, loads: a state comes back as it was, or is refused when saved, with an error that names the item.

What a load refuses by default must have been said when it was saved, and `verify` must say the same. Some hundred
states by default; `make soak` sets DCPX_EXAMPLES=10000.
"""

from __future__ import annotations

import functools
import os
import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import dcpx
from dcpx import DcpxError
from tests.support.leaks import nothing_left
from tests.support.planners import Part, read_parts

from ..conftest import PlugIn
from .sameness import difference
from .states import Leaf, State, leaves, states, unfolded
from .tensor_kinds import ODDITIES, Tagged, Wrapped, elements, emptied
from .ways import Outcome, Way, forget_plans, load, load_anew, save, stock_load, stock_save, ways

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

EXAMPLES = int(os.environ.get("DCPX_EXAMPLES", "0"))


@settings(
    max_examples=EXAMPLES or 500,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(state=states, way=ways, more=st.integers(0, 9))
def test_whatever_saves_loads(plug_in: PlugIn, state: State, way: Way, more: int) -> None:
    with tempfile.TemporaryDirectory() as folder, nothing_left():
        path = Path(folder) / "checkpoint"
        saved = save(state.make(), path, way, plug_in)
        items = _items(state, way)
        if saved.error is not None:
            event("refused")
            assert not state.plain, f"refused, but must save: {saved.error}"
            _check_refusal(saved, path, items, way.with_writer)
            return
        found = _check_loads(state, way, path, items, saved.warnings)
        if found is None:
            event("not loaded by DCP")
            return
        event("loaded" if not (found.refused or found.different) else "warned of")
        if state.plain:
            assert (saved.warnings, found.refused, found.different) == ([], set(), set())
        _check_report(path, items, found)
        strict = save(state.make(), Path(folder) / "strict", way, plug_in, strict=True)
        assert (strict.error is not None) == bool(found.refused), f"with strict=True {strict.error}"
        if strict.error is not None:
            _check_refusal(strict, Path(folder) / "strict", items, way.with_writer)
        if found.refused:
            _check_trusted(state, way, path, items, found)
        if more == 0:
            _check_without_target(way, path, items, found)
        if more == 1:
            _check_stock(state, way, path, Path(folder) / "stock", items)
        if more == 2:
            _check_parts(path, items, found)


# --- what is looked at ------------------------------------------------------------------------------------------------


def _items(state: State, way: Way) -> list[Leaf]:
    """What is to be stored, item by item."""
    return list(leaves(unfolded(way.plan.seen(state.make())), way.plan.flat))


class _Loaded(NamedTuple):
    """The names of items that a load refuses by default, and of those that come back as something else."""

    refused: set[Any]
    different: set[Any]


def _check_refusal(saved: Outcome, path: Path, items: list[Leaf], with_writer: bool) -> None:
    error = saved.error
    assert error is not None
    if saved.reached_dcpx:  # what DCP's own planner refuses before that says what it says
        assert isinstance(error, (DcpxError, ValueError, TypeError)), repr(error)
        named = any(_names(error, name) for item in items for name in (item.name, str(item.name).removeprefix("ckpt.")))
        assert named or not items, f"no item is named by {type(error).__name__}: {error}"
    with pytest.raises(dcpx.NotFoundError):
        dcpx.verify(path)
    left = [file.name for file in path.iterdir()] if path.exists() else []
    # A writer that DCP drives isn't told that the save has ended; what says who is saving stays until the next save.
    assert [name for name in left if not (with_writer and name.endswith(".saving"))] == []


def _check_loads(state: State, way: Way, path: Path, items: list[Leaf], warned: list[str]) -> _Loaded | None:
    """Load everything that can be, and hold it against what was saved and against what was said of it.

    None where DCP ends the load before it asks dcpx for anything, or loses the way to an item: with keys that can't be
    sorted or have the same text, and with targets that its planner flattens to other names than the state.
    """
    target = way.plan.target(state)
    partial = load(target, path, way, partial=True)
    if not partial.reached_dcpx:
        assert way.with_writer
        return None
    if partial.error is None:
        refused = {name.split(" at (")[0] for name in partial.value}
    else:
        _check_typed(partial.error)
        refused = {item.name for item in items}
    odd = {item.name for item in [*items, *leaves(unfolded(state.make()))] if item.path != item.names}
    different = {}
    for item, found in _found(items, target):
        if item.name not in refused and (how := difference(item.value, found)):
            different[item.name] = how
    if way.with_writer:
        # Keys that are no strings are seen by dcpx.save alone: DCP gives a writer their text.
        if odd & refused:
            return None
        different = {name: how for name, how in different.items() if name not in odd}
    for name in refused | different.keys():
        what = f"is refused: {partial.error or partial.value.get(name)}" if name in refused else different[name]
        said = any(_says(warning, name) or re.search(r"and \d+ more", warning) for warning in warned)
        assert said, f"{name!r:.80} {what}; warned: {warned}"
    for warning in warned:
        # Of keys that are no strings it is said what DCP makes of them, though dcpx.load puts them right.
        assert any(_says(warning, name) for name in refused | different.keys() | odd), f"without need: {warning}"

    whole = load(way.plan.target(state), path, way)
    assert (whole.error is not None) == bool(refused), f"with partial=True {refused}, without {whole.error!r}"
    if whole.error is not None:
        _check_typed(whole.error)
        assert any(_names(whole.error, name) for name in refused)
    return _Loaded(refused, set(different))


def _found(items: list[Leaf], target: dict[Any, Any]) -> Iterator[tuple[Leaf, Any]]:
    """What is where an item was."""
    target = unfolded(target)
    for item in items:
        found: Any = target
        for key in item.path:
            found = found[key]
        yield item, found


def _check_typed(error: BaseException) -> None:
    assert isinstance(error, DcpxError), repr(error)
    assert not isinstance(error, dcpx.CorruptError), f"nothing is damaged, but: {error}"


def _check_report(path: Path, items: list[Leaf], found: _Loaded) -> None:
    """`verify` says what a load does, but that it has no targets, whose classes a load allows."""
    report = dcpx.verify(path)
    assert (report.lost, report.problems) == ([], []), f"nothing is damaged: {report}"
    refused = {name.split(" at (")[0] for name in report.refused}
    assert bool(report) == report.ok == (not refused)
    classes = {item.name for item in items if isinstance(item.value, (Tagged, Wrapped))}
    assert found.refused <= refused <= found.refused | classes, f"a load refuses {found.refused}; {report}"


def _check_trusted(state: State, way: Way, path: Path, items: list[Leaf], before: _Loaded) -> None:
    """Of what is refused only for what it might run, all comes back with `trust=True`."""
    target = way.plan.target(state)
    trusted = load(target, path, way, partial=True, trust=True)
    assert trusted.error is None
    assert trusted.value.keys() <= before.refused
    for item, value in _found(items, target):
        if item.name not in trusted.value and item.name not in before.different:
            assert difference(item.value, value) is None


def _check_without_target(way: Way, path: Path, items: list[Leaf], before: _Loaded) -> None:
    """A load into nothing, as far as DCP can make it."""
    if not way.plan.flat:
        return
    target: dict[Any, Any] = {}
    loaded = load_anew(target, path, way)
    if not loaded.reached_dcpx:
        return  # DCP's planner makes a target that it flattens to other names itself
    if loaded.error is not None:
        return _check_typed(loaded.error)
    for item in items:
        found: Any = target
        for key in item.names:
            found = found[key]
        if item.name in loaded.value or item.name in before.refused:
            continue
        if not isinstance(item.value, torch.Tensor):
            assert difference(item.value, found) is None
        elif item.value.layout is torch.strided and not item.value.is_quantized:
            assert (found.dtype, found.shape) == (item.value.dtype, item.value.shape)
            assert elements(found) == elements(_without_class(item.value))


def _check_stock(state: State, way: Way, path: Path, other: Path, items: list[Leaf]) -> None:
    """Stock DCP reads what dcpx wrote, if it reads what it writes itself; and dcpx reads that."""
    forget_plans()
    if not way.collectives or stock_save(state.make(), other, way).error is not None:
        return

    def same(loaded: Outcome, target: dict[Any, Any]) -> list[Any] | None:
        if loaded.error is not None:
            return None
        return [item.name for item, found in _found(items, target) if difference(item.value, found) is None]

    target = way.plan.target(state)
    alone = same(stock_load(target, other, way), target)
    if alone is not None:
        target = way.plan.target(state)
        from_dcpx = stock_load(target, path, way)
        assert set(alone) <= set(same(from_dcpx, target) or ()), from_dcpx.error
        target = way.plan.target(state)
        from_stock = load(target, other, way, trust=True)
        assert set(alone) <= set(same(from_stock, target) or ()), from_stock.error


def _check_parts(path: Path, items: list[Leaf], found: _Loaded) -> None:
    """A part of each tensor, past DCP's own plans."""
    parts, expected = [], []
    for item in items:
        value = item.value
        if type(value) is torch.Tensor and value.layout is torch.strided and item.name not in found.refused:
            if value.is_quantized or value.is_conj() or value.is_neg() or not value.dim():
                continue
            offsets = tuple(size // 3 for size in value.shape)
            part = value[tuple(slice(begin, size) for begin, size in zip(offsets, value.shape, strict=True))]
            parts.append(Part(item.name, offsets, torch.empty(part.shape, dtype=part.dtype)))
            expected.append(elements(part))
    if parts and (path / ".metadata").exists():
        read_parts(path, parts)
        assert [elements(part.target) for part in parts if part.target is not None] == expected


def _without_class(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.inner if isinstance(tensor, Wrapped) else tensor).detach().as_subclass(torch.Tensor)


# --- names ------------------------------------------------------------------------------------------------------------


def _names(error: BaseException, name: Any) -> bool:
    """Whether an error names an item, or a container that it is in."""
    where = getattr(error, "where", None)
    found = None if where is None else where.item
    return (found is not None and (found == name or str(name).startswith(f"{found}."))) or _says(str(error), name)


def _says(text: str, name: Any) -> bool:
    """Whether a text names an item, as a word of its own; of a long name it may show the beginning."""
    shown = repr(name)
    if shown in text or (len(shown) > 100 and shown[:60] in text):
        return True
    return str(name) != "" and re.search(rf"(?<!\w){re.escape(str(name))}(?!\w)", text) is not None


def test_looking_at_an_object_changes_nothing_that_is_compared():
    saved = functools.partial(int, base=2)
    assert difference(saved, pickle.loads(pickle.dumps(saved))) is None


@pytest.mark.parametrize("kind", ["nested", "jagged"])
def test_a_target_of_a_nested_tensor_holds_other_elements(kind: str):
    assert all((part != 1).all() for part in emptied(ODDITIES[kind]()).unbind())
