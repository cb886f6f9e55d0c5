"""States as people save them: names, containers, tensors and objects, drawn as a tree that can be made again."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch.distributed.checkpoint.stateful import Stateful

from .object_kinds import Drawn, objects
from .tensor_kinds import Recipe, dense, emptied, tensors

__all__ = ["BLANK", "Leaf", "State", "leaves", "states", "unfolded"]

BLANK = "a place for what is loaded"
"""What a target holds where the state holds an object."""


class Owner:
    """A recipe of what DCP asks for its state, and hands the loaded one to."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"Owner({self.kind!r})"

    def __call__(self, seed: int) -> Stateful:
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
        if self.kind == "model":
            return model
        if self.kind == "AdamW":
            optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.parameters())
        else:
            optimizer = torch.optim.SGD(model.parameters(), momentum=0.9 if self.kind == "momentum" else 0)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape)
        optimizer.step()
        return optimizer


owners = st.sampled_from(["model", "AdamW", "momentum", "SGD"]).map(Owner)


# --- trees ------------------------------------------------------------------------------------------------------------

names = st.sampled_from(["weight", "bias", "0", "layers", "step", "a", "b", "a.b", "exp_avg"])
odd_names = st.text(max_size=6) | st.sampled_from(
    ["", ".", "..", "a.", ".a", "/", "../../up", "a/b", "\0", "\n", "résumé", "\N{SNOWMAN}", "\ud800", "'"]
)
odd_names |= st.sampled_from([300, 9000]).map(lambda size: "k" * size)
odd_keys = st.integers(-1, 3) | st.sampled_from([None, (1, 2), True, 1.5, "1", "None"])
every_name = names | names | odd_names


@functools.cache
def trees(depth: int, plain: bool) -> st.SearchStrategy[Any]:
    """A dictionary, a list or what is in them; names, tensors and objects of any kind, or `plain` ones only."""
    leaf = objects.filter(lambda drawn: drawn.plain) | dense() if plain else objects | tensors
    if depth == 0:
        return leaf
    below = trees(depth - 1, plain)
    named = st.dictionaries(names if plain else every_name | odd_keys, below, max_size=3)
    several = st.lists(below, max_size=3)
    return st.one_of(leaf, named, named.map(OrderedDict), several, several.map(tuple))


@dataclass(frozen=True)
class State:
    """A tree of containers, recipes and objects. `plain` says that it must save, without a warning, and load."""

    tree: dict[Any, Any]
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", _is_plain(self.tree) and _is_named(self.make()))

    def make(self) -> dict[Any, Any]:
        """The state itself, with tensors of its own."""
        made: dict[int, torch.Tensor] = {}
        return {key: _made(value, made, seed=0) for key, value in self.tree.items()}

    def target(self) -> dict[Any, Any]:
        """The same structure with other contents."""
        made: dict[int, torch.Tensor] = {}
        return {key: _blank(value, made) for key, value in self.tree.items()}


def _made(tree: Any, made: dict[int, torch.Tensor], seed: int) -> Any:
    if isinstance(tree, Recipe):
        return tree(made)
    if isinstance(tree, Owner):
        return tree(seed)
    if isinstance(tree, Drawn):
        return tree.value
    if isinstance(tree, dict):
        return type(tree)((key, _made(value, made, seed)) for key, value in tree.items())
    return type(tree)(_made(value, made, seed) for value in tree)


def _blank(tree: Any, made: dict[int, torch.Tensor]) -> Any:
    if isinstance(tree, Recipe):
        return emptied(tree(made))
    if isinstance(tree, Owner):
        return tree(seed=1)
    if isinstance(tree, torch.Tensor):
        return emptied(tree.clone())
    if isinstance(tree, Drawn):
        return _blank(tree.value, made)
    if isinstance(tree, Mapping):
        target: Any = copy.copy(tree)
        for key in tree:
            target[key] = _blank(tree[key], made)
        return target
    if isinstance(tree, list) and not _is_object(tree):
        target = copy.copy(tree)
        target[:] = [_blank(value, made) for value in tree]
        return target
    return BLANK


def _is_plain(tree: Any) -> bool:
    if isinstance(tree, (Recipe, Drawn)):
        return tree.plain
    if isinstance(tree, Owner):
        return tree.kind != "SGD"  # whose state holds None under integers
    if isinstance(tree, dict):
        return all(isinstance(key, str) and "\ud800" not in key and _is_plain(value) for key, value in tree.items())
    return all(map(_is_plain, tree))


@st.composite
def tied(draw: st.DrawFn) -> dict[Any, Any]:
    """Names that share one tensor, and views of its memory under others."""
    base = draw(dense(some=True))
    views = {
        "same": base,
        "part": Recipe("part", lambda tensor: tensor[1:], True, (base,)),
        "turned": Recipe("turned", lambda tensor: tensor.transpose(0, -1), True, (base,)),
        "row": Recipe("row", lambda tensor: tensor[0], True, (base,)),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(views)), min_size=1, max_size=3, unique=True))
    return {"base": base, **{name: views[name] for name in chosen}, "tied": {"again": base}}


@st.composite
def colliding(draw: st.DrawFn) -> dict[Any, Any]:
    """Names that are one once they are flattened."""
    first, second = draw(trees(1, True)), draw(trees(1, True))
    return draw(
        st.sampled_from([{"a": {"b": first}, "a.b": second}, {"a": {1: first, "1": second}}, {1: first, "1": second}])
    )


states = st.one_of(
    st.dictionaries(names, trees(0, True) | trees(2, True), max_size=4),
    st.dictionaries(every_name, trees(1, False), min_size=1, max_size=3),
    st.dictionaries(every_name, trees(0, False), min_size=1, max_size=2),
    st.dictionaries(odd_keys | names, trees(1, True), min_size=1, max_size=2),
    st.dictionaries(names, owners, min_size=1, max_size=2),
    tied(),
    colliding(),
).map(State)
"""States of any kind: ordinary ones, odd ones, models and optimizers, tied ones, and those whose names collide."""


# --- as DCP sees them -------------------------------------------------------------------------------------------------


class Leaf(NamedTuple):
    """What DCP stores as one item: its name, the way to it in the state, and the way with the keys' texts."""

    name: str
    path: tuple[Any, ...]
    names: tuple[Any, ...]
    value: Any


def unfolded(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """With the states of those who have one in their place, as DCP does before all else."""
    return {key: value.state_dict() if isinstance(value, Stateful) else value for key, value in state.items()}


def leaves(state: Any, flat: bool = True) -> Iterator[Leaf]:
    """The items of a state, by DCP's rules: mappings are gone into, and lists that hold tensors or mappings.

    Not `flat`, each value of the state is one.
    """
    for key, value in state.items():
        if flat:
            yield from _leaves(value, (key,), (str(key),))
        else:
            yield Leaf(key, (key,), (key,), value)


def _leaves(value: Any, path: tuple[Any, ...], names: tuple[Any, ...]) -> Iterator[Leaf]:
    if isinstance(value, Mapping):
        for key in value:
            yield from _leaves(value[key], (*path, key), (*names, str(key)))
    elif isinstance(value, list) and not _is_object(value):
        for number, part in enumerate(value):
            yield from _leaves(part, (*path, number), (*names, number))
    else:
        yield Leaf(".".join(map(str, names)), path, names, value)


def _is_object(value: list[Any]) -> bool:
    """Whether DCP stores a list as one object."""
    return not any(
        isinstance(part, (Mapping, torch.Tensor, Recipe)) or (isinstance(part, list) and not _is_object(part))
        for part in (one.value if isinstance(one, Drawn) else one for one in value)
    )


def _is_named(state: dict[Any, Any]) -> bool:
    """Whether all keys are strings, also those within lists, and all items have names of their own."""
    found = list(leaves(unfolded(state)))
    return len({leaf.name for leaf in found}) == len(found) and all(leaf.path == leaf.names for leaf in found)
