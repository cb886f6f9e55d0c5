"""A checkpoint's items as a tree of modules, by the dots in their names, in which layers that are alike are one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .summary import Item

__all__ = ["Node", "fold", "rows_of", "tree_of"]


_MOST_LEVELS = 64
"""Modules within modules that are told apart: a name may have any number of dots."""


@dataclass(slots=True)
class Node:
    """A module, or an item where it has `item`. `count` tensors and objects lie within, of `nbytes` and `stored` bytes.

    `name` is relative to the module above; of several layers that are alike it is such as "[0-23]".
    """

    name: str
    item: Item | None = None
    children: list[Node] = field(default_factory=list)
    count: int = 0
    nbytes: int = 0
    stored: int = 0
    dtypes: dict[str, None] = field(default_factory=dict)
    codings: dict[str, None] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def add(self, other: Node) -> None:
        """Count what lies in another."""
        self.count += other.count
        self.nbytes += other.nbytes
        self.stored += other.stored
        self.dtypes |= other.dtypes
        self.codings |= other.codings
        self.files |= other.files


def tree_of(items: Iterable[Item]) -> Node:
    """All items below one node without a name. Each rank's own checkpoint is a module of its own."""
    root: dict[str, object] = {}
    for item in items:
        path = item.name.split(".", _MOST_LEVELS)
        if item.own_rank is not None:
            path.insert(0, f"rank {item.own_rank}")
        place = root
        for part in path[:-1]:
            inner = place.get(part)
            if not isinstance(inner, dict):  # an item may have the name of a module
                inner = {} if inner is None else {"": inner}
                place[part] = inner
            place = inner
        last = place.get(path[-1])
        if isinstance(last, dict):
            last[""] = item
        else:
            place[path[-1]] = item
    return _node("", root)


def _node(name: str, value: object) -> Node:
    if isinstance(value, Item):
        stored = value.stored
        dtypes, codings = {value.dtype or "object": None}, {value.coding: None}
        files = {part.file for part in value.parts}
        return Node(name, value, [], 1, value.nbytes, stored, dtypes, codings, files)
    assert isinstance(value, dict)
    node = Node(name)
    for part, inner in value.items():
        child = _node(part, inner)
        node.children.append(child)
        node.add(child)
    return node


def fold(node: Node) -> Node:
    """The same with numbered modules next to each other that are alike as one, and chains of single modules as one."""
    _fold_layers(node)
    _join_chains(node)
    return node


def _fold_layers(node: Node) -> None:
    found: list[Node] = []
    run: list[Node] = []
    shape = None
    for child in node.children:
        if child.item is None:
            _fold_layers(child)
        alike = _structure(child) if child.item is None and child.name.isdecimal() else None
        if run and alike is not None and alike == shape and int(child.name) == int(run[-1].name) + 1:
            run.append(child)
            continue
        found += _as_one(run)
        run, shape = [child], alike
    node.children = found + _as_one(run)


def _join_chains(node: Node) -> None:
    for child in node.children:
        while len(child.children) == 1 and child.children[0].item is None:
            only = child.children[0]
            child.name, child.children = f"{child.name}.{only.name}", only.children
        _join_chains(child)


def _structure(node: Node) -> object:
    if node.item is not None:
        return node.name, node.item.dtype, node.item.shape
    return node.name if not node.name.isdecimal() else None, tuple(map(_structure, node.children))


def _as_one(run: list[Node]) -> list[Node]:
    if len(run) < 2:
        return run
    first, last = run[0], run[-1]
    whole = Node(f"[{first.name}-{last.name}]")
    for one in run:
        whole.add(one)
    for several in zip(*(one.children for one in run), strict=True):
        whole.children.append(_together(list(several)))
    return [whole]


def _together(nodes: list[Node]) -> Node:
    whole = Node(nodes[0].name, nodes[0].item)
    for one in nodes:
        whole.add(one)
    for several in zip(*(one.children for one in nodes), strict=True):
        whole.children.append(_together(list(several)))
    return whole


def rows_of(node: Node, depth: int, level: int = 0) -> Iterator[tuple[int, Node]]:
    """The nodes down to `depth` levels below the first, each with its level, in order; the first isn't among them."""
    for child in node.children:
        yield level, child
        if level + 1 < depth:
            yield from rows_of(child, depth, level + 1)
