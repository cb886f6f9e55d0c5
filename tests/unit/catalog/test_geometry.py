"""Boxes beside NumPy: a range in C order as boxes, what two boxes share, and where a box lies in C order."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dcpx import kernels
from dcpx.catalog.geometry import Box, boxes, intersect, span

SIZES = st.integers(1, 5)
SHAPES = st.lists(SIZES, max_size=5).map(tuple)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[tuple[int, ...], int, int]:
    """A shape, and the first element of a range of its elements and the one behind the last."""
    shape = draw(SHAPES)
    count = math.prod(shape)
    begin = draw(st.integers(0, count))
    return shape, begin, draw(st.integers(begin, count))


@st.composite
def boxes_within(draw: st.DrawFn, shape: tuple[int, ...], least: int = 1) -> Box:
    sizes = tuple(draw(st.integers(min(least, size), size)) for size in shape)
    offsets = tuple(draw(st.integers(0, limit - size)) for size, limit in zip(sizes, shape, strict=True))
    return Box(offsets, sizes)


@st.composite
def parts(draw: st.DrawFn) -> tuple[tuple[int, ...], Box]:
    shape = draw(SHAPES)
    return shape, draw(boxes_within(shape))


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    """Every element is its own number in C order."""
    return np.arange(math.prod(shape)).reshape(shape)


def elements(shape: tuple[int, ...], box: Box) -> list[int]:
    """The numbers of a box's elements, in C order."""
    return numbered(shape)[box.slices()].reshape(-1).tolist()


@settings(max_examples=400, deadline=None)
@given(ranges())
def test_boxes_are_the_range_in_order(case: tuple[tuple[int, ...], int, int]):
    shape, begin, end = case
    found = list(boxes(shape, begin, end))
    assert [number for box in found for number in elements(shape, box)] == list(range(begin, end))
    assert all(size > 0 for box in found for size in box.sizes)
    assert len(found) <= max(2 * len(shape) - 1, 1)


def test_boxes_of_every_range_of_a_small_array():
    for shape in ((), (1,), (6,), (2, 3), (3, 1, 2), (1, 1, 1), (2, 2, 2, 2)):
        count = math.prod(shape)
        for begin in range(count + 1):
            for end in range(count + 1):
                found = [number for box in boxes(shape, begin, end) for number in elements(shape, box)]
                assert found == list(range(begin, end)), (shape, begin, end)


def test_boxes_of_nothing():
    for shape in ((0,), (3, 0, 5), (0, 0), (5,)):
        assert list(boxes(shape, 0, 0)) == []


def test_boxes_of_many_elements_are_few():
    shape = (1 << 20, 1 << 20, 1 << 20)
    found = list(boxes(shape, 7, (1 << 60) - 9))
    assert sum(math.prod(box.sizes) for box in found) == (1 << 60) - 16
    assert len(found) == 5


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_intersect_is_what_both_hold(data: st.DataObject):
    shape = data.draw(SHAPES)
    left, right = data.draw(boxes_within(shape)), data.draw(boxes_within(shape))
    common = intersect(left, right)
    both = sorted(set(elements(shape, left)) & set(elements(shape, right)))
    assert (elements(shape, common) if common is not None else []) == both
    assert intersect(right, left) == common


def test_intersect_of_what_touches_or_is_empty():
    assert intersect(Box((0,), (3,)), Box((3,), (2,))) is None
    assert intersect(Box((0, 0), (3, 0)), Box((0, 0), (3, 3))) is None
    assert intersect(Box((), ()), Box((), ())) == Box((), ())
    with pytest.raises(ValueError):
        intersect(Box((0,), (1,)), Box((0, 0), (1, 1)))


@settings(max_examples=400, deadline=None)
@given(parts())
def test_span_is_from_the_first_element_to_the_last(case: tuple[tuple[int, ...], Box]):
    shape, box = case
    begin, end, apart = span(shape, box)
    held = elements(shape, box)
    assert (begin, end) == (held[0], held[-1] + 1)
    assert apart == max((after - before for before, after in pairwise(held)), default=1)


@settings(max_examples=200, deadline=None)
@given(parts(), st.data())
def test_slices_count_from_an_origin(case: tuple[tuple[int, ...], Box], data: st.DataObject):
    shape, outer = case
    inner = data.draw(boxes_within(outer.sizes))
    moved = Box(tuple(a + b for a, b in zip(outer.offsets, inner.offsets, strict=True)), inner.sizes)
    part = numbered(shape)[outer.slices()]
    assert part[moved.slices(outer.offsets)].reshape(-1).tolist() == elements(shape, moved)


# The kernel that does the same for bytes


@settings(max_examples=400, deadline=None)
@given(parts(), st.data(), st.sampled_from([1, 2, 4, 8, 16]))
def test_copying_a_part_of_a_range(case: tuple[tuple[int, ...], Box], data: st.DataObject, width: int):
    shape, box = case
    total = math.prod(shape) * width
    whole = np.random.default_rng(total).integers(0, 256, total, np.uint8)
    begin = data.draw(st.integers(0, total - 1))
    end = data.draw(st.integers(begin, total))
    target = np.zeros(math.prod(box.sizes) * width, np.uint8)
    copied = kernels.copy_part(whole[begin:end], begin, target, shape, *box, width)

    in_range = np.zeros(total, bool)
    in_range[begin:end] = True
    where = (*box.slices(), slice(None))
    wanted = in_range.reshape(*shape, width)[where].reshape(-1)
    expected = np.where(wanted, whole.reshape(*shape, width)[where].reshape(-1), 0)
    assert copied == wanted.sum()
    assert (target == expected).all()


@settings(max_examples=200, deadline=None)
@given(parts(), st.integers(1, 40), st.sampled_from([1, 4]))
def test_ranges_one_after_another_make_up_a_part(case: tuple[tuple[int, ...], Box], step: int, width: int):
    shape, box = case
    whole = np.random.default_rng(step).integers(0, 256, math.prod(shape) * width, np.uint8)
    assume(len(whole))
    target = np.zeros(math.prod(box.sizes) * width, np.uint8)
    copied = sum(
        kernels.copy_part(whole[begin : begin + step], begin, target, shape, *box, width)
        for begin in range(0, len(whole), step)
    )
    assert copied == len(target)
    assert (target == whole.reshape(*shape, width)[(*box.slices(), slice(None))].reshape(-1)).all()
