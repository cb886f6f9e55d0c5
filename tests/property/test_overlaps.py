"""Whether shards, or tensors in memory, overlap: found by sweeps and steps, held against trying everything."""

from __future__ import annotations

import random
import time
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcpx import LimitError
from dcpx.catalog.geometry import Box, intersect
from dcpx.catalog.shards import overlap
from dcpx.loading.extents import memory_of, overlaps_itself
from tests.support.metadata import make_chunk


@st.composite
def some_boxes(draw: st.DrawFn) -> list[Box]:
    dimensions = draw(st.integers(0, 3))
    number = st.integers(0, 5)
    place = st.tuples(*[number] * dimensions)
    return draw(st.lists(st.builds(Box, place, place), max_size=6))


@settings(max_examples=500, deadline=None)
@given(boxes=some_boxes())
def test_shards_overlap_if_two_of_them_do(boxes: list[Box]):
    whole = {box for box in boxes if 0 not in box.sizes}
    expected = any(intersect(one, other) is not None for one, other in combinations(whole, 2))
    assert overlap([make_chunk(*box) for box in boxes]) == expected


def cut(box: Box, chance: random.Random, depth: int) -> list[Box]:
    """The box cut in two, again and again."""
    dimension = chance.randrange(len(box.sizes))
    size = box.sizes[dimension]
    if depth == 0 or size < 2:
        return [box]
    first = chance.randrange(1, size)
    one = Box(box.offsets, tuple(first if d == dimension else n for d, n in enumerate(box.sizes)))
    begin = tuple(o + first if d == dimension else o for d, o in enumerate(box.offsets))
    other = Box(begin, tuple(size - first if d == dimension else n for d, n in enumerate(box.sizes)))
    return cut(one, chance, depth - 1) + cut(other, chance, depth - 1)


@pytest.mark.parametrize("seed", range(30))
def test_shards_that_fill_a_tensor(seed: int):
    chance = random.Random(seed)
    shards = cut(Box((0, 0, 0), (50, 60, 70)), chance, 8)
    chance.shuffle(shards)
    chunks = [make_chunk(*box) for box in shards]
    assert not overlap(chunks)
    assert not overlap([*chunks, chunks[0], make_chunk((50, 60, 70), (0, 3, 3)), make_chunk((0, 0, 0), (0, 3, 3))])
    assert overlap([*chunks, make_chunk(tuple(chance.randrange(n) for n in (50, 60, 70)), (1, 1, 1))]) == (
        not any(box.sizes == (1, 1, 1) for box in shards) or overlap([*chunks, make_chunk((0, 0, 0), (1, 1, 1))])
    )


def test_shards_around_a_hole():
    """A pinwheel: no cut through all of it parts any of its shards."""
    wheel = [((0, 0), (2, 1)), ((0, 1), (1, 2)), ((1, 2), (2, 1)), ((2, 0), (1, 2)), ((1, 1), (1, 1))]
    chunks = [make_chunk(*one) for one in wheel]
    assert not overlap(chunks)
    assert overlap([*chunks, make_chunk((1, 1), (2, 1))])


@pytest.mark.parametrize("rows", [1, 128, 16384])
def test_thousands_of_shards_take_little_time(rows: int):
    columns = 16384 // rows
    chunks = [make_chunk((7 * row, 5 * column), (7, 5)) for row in range(rows) for column in range(columns)]
    random.Random(1).shuffle(chunks)
    begin = time.process_time()
    assert not overlap(chunks)
    assert time.process_time() - begin < 60  # comparing each with each takes minutes


def test_a_hostile_arrangement_is_refused_before_long():
    stairs, wheels = [], []
    for step in range(20_000):
        stairs += [make_chunk((step, step), (1, 1 << 40)), make_chunk((step + 1, step), (1 << 40, 1))]
        wheels += [make_chunk((0, step), (1 << 40, 1)), make_chunk((1 << 41, step), (1, 1))]
    wheels += [make_chunk((step, 1 << 40), (2, 1)) for step in range(0, 40_000, 2)]
    begin = time.process_time()
    with pytest.raises(LimitError, match="irregularly"):
        overlap(stairs)
    overlap(wheels)
    assert time.process_time() - begin < 60


@st.composite
def some_views(draw: st.DrawFn) -> list[torch.Tensor]:
    """Two views of one memory of some hundred bytes."""
    room = torch.zeros(4, 5, 6, dtype=torch.uint8)
    found = []
    for _ in range(2):
        view = room.permute(draw(st.permutations(range(3))) if draw(st.booleans()) else (0, 1, 2))
        for dimension in range(3):
            size = view.size(dimension)
            begin = draw(st.integers(0, size - 1))
            step = draw(st.sampled_from([1, 1, 1, 2]))
            view = view[(slice(None),) * dimension + (slice(begin, draw(st.integers(begin + 1, size)), step),)]
        if view.numel() % 2 == 0 and view.stride(2) == 1 and view.size(2) % 2 == 0 and draw(st.booleans()):
            strides_even = all(stride % 2 == 0 for stride in view.stride()[:2])
            view = view.view(torch.int16) if strides_even and view.storage_offset() % 2 == 0 else view
        found.append(view)
    return found


def touched(view: torch.Tensor) -> torch.Tensor:
    memory = torch.zeros(0, dtype=torch.uint8).set_(view.untyped_storage())
    memory.zero_()
    view.fill_(-1 if view.dtype is torch.int16 else 255)
    return memory.clone() > 0


@settings(max_examples=1000, deadline=None)
@given(views=some_views())
def test_tensors_meet_if_they_share_a_byte(views: list[torch.Tensor]):
    one, other = views
    expected = bool((touched(one) & touched(other)).any())
    ((_, first),) = memory_of(one)
    ((_, second),) = memory_of(other)
    assert first.meets(second) == second.meets(first)
    assert first.meets(second) or not expected
    alike = one.dtype == other.dtype and one.stride() == other.stride()
    if alike and not (one.is_contiguous() or other.is_contiguous()):
        assert first.meets(second) == expected


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    strides=st.lists(st.integers(0, 6), min_size=3, max_size=3),
)
def test_elements_that_share_memory_are_noticed(sizes: list[int], strides: list[int]):
    view = torch.zeros(100).as_strided(sizes, strides[: len(sizes)])
    places = torch.arange(100).as_strided(sizes, strides[: len(sizes)]).flatten().tolist()
    assert overlaps_itself(view) or len(set(places)) == len(places)
