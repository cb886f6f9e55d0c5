"""The tree of `inspect`: which siblings are one row."""

from __future__ import annotations

import pytest

from dcpx.views.summary import Item, Part
from dcpx.views.tree import fold, rows_of, tree_of


def item(name: str, shape: tuple[int, ...] = (3,)) -> Item:
    return Item(name, "float32", shape, 12, (Part("file", 0, 0, (0,), shape, 12, 20, ()),))


def rows(*names: str, deep: int = 9, shapes: dict[str, tuple[int, ...]] | None = None) -> list[tuple[str, int]]:
    root = fold(tree_of([item(name, (shapes or {}).get(name, (3,))) for name in names]))
    return [(level * " " + node.name, node.count) for level, node in rows_of(root, deep)]


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([f"flat{number}" for number in range(300)], [("flat[0-299]", 300)]),
        (sorted(f"flat{number}" for number in range(300)), [("flat[0-299]", 300)]),
        (["list.0", "list.1", "list.2"], [("list", 3), (" [0-2]", 3)]),
        (["a1.w", "a2.w", "a4.w"], [("a[1-2]", 2), (" w", 2), ("a4", 1), (" w", 1)]),
        (["w07_x", "w08_x", "w08_y"], [("w[07-08]_x", 2), ("w08_y", 1)]),
        (["x1_1", "x1_2", "x2_1", "x2_2"], [("x1_[1-2]", 2), ("x2_[1-2]", 2)]),
        (["x1", "x1.w", "x2", "x2.w"], [("x[1-2]", 4), (" ", 2), (" w", 2)]),
        (["1" * 4999 + ".w", "1" * 4998 + "2.w"], [("1" * 4986 + f"[{'1' * 13}-{'1' * 12}2]", 2), (" w", 2)]),
        (["a", "b", "", " "], [("a", 1), ("b", 1), ("", 1), (" ", 1)]),
    ],
    ids=range(9),
)
def test_what_one_number_tells_apart(names: list[str], folded: list[tuple[str, int]]):
    assert rows(*names) == folded


def test_what_differs_in_more_stays_apart():
    assert rows("w1", "w2", "w3", shapes={"w2": (4,)}) == [("w1", 1), ("w2", 1), ("w3", 1)]
    assert [name for name, _ in rows("b1.w", "b2.w", "b3.x")] == ["b[1-2]", " w", "b3", " x"]
