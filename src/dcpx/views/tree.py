"""A checkpoint's items as a tree of modules, by the dots in their names, in which what is alike is one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .summary import Item

__all__ = ["Node", "fold", "rows_of", "tree_of"]

_MOST_LEVELS = 64
"""Modules within modules that are told apart: a name may have any number of dots."""

_NUMBERS = re.compile(r"([0-9]{1,18})")
"""The numbers in a name, of which Python takes only short ones."""


@dataclass(slots=True)
class Node:
    """A module, or an item where it has `item`. `count` tensors and objects lie within, of `nbytes` and `stored` bytes.

    `name` is relative to the module above; of several that are alike it is such as "[0-23]" or "layer[0-23]".
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
    """The same with siblings that are alike but for one number in their names as one, and chains of single modules as
    one."""
    _fold_alike(node)
    _join_chains(node)
    return node


def _fold_alike(node: Node) -> None:
    found: list[Node] = []
    run: list[_Numbered] = []
    place: int | None = None
    for child in node.children:
        if child.item is None:
            _fold_alike(child)
        one = _Numbered(child, _NUMBERS.split(child.name))
        at = _only_difference(run[-1], one) if run else None
        if at is not None and place in (None, at):
            place = at
            run.append(one)
        else:
            found += _as_few(run, place)
            run, place = [one], None
    node.children = found + _as_few(run, place)


class _Numbered:
    """A node, its name as texts and numbers in turn, and what it must have in common with its like."""

    def __init__(self, node: Node, parts: list[str]) -> None:
        self.node = node
        self.parts = parts
        self.alike = _content(node) if len(parts) > 1 else None


def _only_difference(one: _Numbered, other: _Numbered) -> int | None:
    """Which part of their names tells two nodes apart, if it is one number and they are alike in all else."""
    if other.alike is None or one.alike != other.alike or len(one.parts) != len(other.parts):
        return None
    found = [place for place, pair in enumerate(zip(one.parts, other.parts, strict=True)) if pair[0] != pair[1]]
    return found[0] if len(found) == 1 and found[0] % 2 else None


def _join_chains(node: Node) -> None:
    for child in node.children:
        while len(child.children) == 1 and child.children[0].item is None:
            only = child.children[0]
            child.name, child.children = f"{child.name}.{only.name}", only.children
        _join_chains(child)


def _structure(node: Node) -> object:
    return None if node.item is None and node.name.isdecimal() else node.name, _content(node)


def _content(node: Node) -> object:
    """What is in a node, whatever it is called."""
    return (node.item.dtype, node.item.shape) if node.item is not None else tuple(map(_structure, node.children))


def _as_few(run: list[_Numbered], place: int | None) -> list[Node]:
    """Nodes that the number at `place` tells apart, those that follow one another as one: whatever their order, which
    is by letters in some checkpoints."""
    if place is None:
        return [one.node for one in run]
    several: list[list[_Numbered]] = []
    for one in sorted(run, key=lambda one: int(one.parts[place])):
        if several and int(one.parts[place]) == int(several[-1][-1].parts[place]) + 1:
            several[-1].append(one)
        else:
            several.append([one])
    return [_as_one(alike, place) for alike in several]


def _as_one(run: list[_Numbered], place: int) -> Node:
    whole = _together([one.node for one in run])
    if len(run) > 1:
        first, last = run[0].parts, run[-1].parts
        numbers = f"[{first[place]}-{last[place]}]"
        whole.name = "".join((*first[:place], numbers, *first[place + 1 :]))
    return whole


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
