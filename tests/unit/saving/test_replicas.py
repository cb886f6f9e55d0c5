"""Digests of what ranks hold under one name: equal for equal values, in whichever process, and cheap."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import functools
import pathlib
import random
import subprocess
import sys
import uuid
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.default_planner import create_default_local_save_plan

from dcpx import DcpxWarning, SaveError
from dcpx.saving.replicas import Replicas, check_kinds, compare, replicas
from tests.support.tensors import freed


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


def held(state: Mapping[str, Any]) -> Replicas:
    return replicas(create_default_local_save_plan(dict(state), True).items, state)


def digest(value: object) -> int | None:
    return held({"x": value})["x"].digest


shared = ["text"]
PAIRS: list[tuple[object, object]] = [
    (1, 2),
    (1, True),
    (1, 1.0),
    (0.1, 0.2),
    ("a", "b"),
    ("1", 1),
    (b"a", b"b"),
    (None, False),
    ([1, 2], [2, 1]),
    ([1, 2], (1, 2)),
    ([[1], 2], [1, [2]]),
    (["ab", "c"], ["a", "bc"]),
    ({1, 2}, {1, 3}),
    (({"a": 1},), ({"a": 2},)),
    (collections.Counter("aab"), collections.Counter("abb")),
    (collections.deque([1]), collections.deque([2])),
    (collections.OrderedDict(a=1), collections.OrderedDict(a=2)),
    (decimal.Decimal("1.0"), decimal.Decimal("1.5")),
    (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
    (uuid.UUID(int=1), uuid.UUID(int=2)),
    (pathlib.PurePosixPath("a"), pathlib.PurePosixPath("b")),
    (argparse.Namespace(a=1), argparse.Namespace(a=2)),
    (functools.partial(int, base=2), functools.partial(int, base=8)),
    (Colour.RED, Colour.BLUE),
    (Plain(1), Plain(2)),
    (Plain, Colour),
    (np.arange(5), np.arange(5) + 1),
    (np.arange(5), np.arange(5.0)),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (np.float32(1), np.float32(2)),
    (random.Random(1).getstate(), random.Random(2).getstate()),
    (torch.float32, torch.float64),
    ((torch.ones(3),), (torch.zeros(3),)),
    ((torch.ones(3),), (torch.ones(3, dtype=torch.float64),)),
    (torch.ones(3), torch.zeros(3)),
    (torch.ones(500_000), torch.zeros(500_000)),
    (torch.Generator().manual_seed(1).get_state(), torch.Generator().manual_seed(2).get_state()),
    (torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.zeros(3))),
]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda value: type(value).__name__)
def test_other_values_have_other_digests(one: object, other: object):
    assert digest(one) is not None
    assert digest(one) != digest(other)


def test_the_last_byte_of_a_small_tensor_counts():
    one, other = torch.zeros(16_384), torch.zeros(16_384)
    other[-1] = 1
    assert digest(one) != digest(other)


def test_sharing_and_order_do_not_count():
    assert digest([shared, shared]) == digest([["text"], ["text"]])
    assert digest(({"a": 1, "b": 2},)) == digest(({"b": 2, "a": 1},))
    assert digest(torch.ones(3)) == digest(torch.nn.Parameter(torch.ones(3)))
    assert digest((torch.device("meta", 0),)) == digest((torch.device("meta", 1),))


CODE = """
from tests.unit.saving.test_replicas import PAIRS, digest
print(*[digest(one) for one, _ in PAIRS], digest({"x", "y", "z", "p"}), digest(frozenset("abcdef")))
"""


def test_every_process_finds_the_same():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", CODE], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().split()) == len(PAIRS) + 2


class Unwilling:
    def __reduce_ex__(self, protocol: object) -> Any:
        raise RuntimeError("no")


def cyclic() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value",
    [
        Unwilling(),
        (lambda: None, Unwilling()),
        (cyclic(),),
        list(range(100_000)),
        freed(torch.ones(1000)),
        torch.ones(3, device="meta"),
        torch.ones(5, 7).t(),
        (torch.ones(4, dtype=torch.complex64).conj(),),
        (torch.eye(3).to_sparse(),),
    ],
    ids=["unwilling", "within", "cyclic", "long", "freed", "meta", "transposed", "conjugate", "sparse"],
)
def test_what_is_not_compared(value: object):
    assert digest(value) is None


def warned(ranks: list[Replicas]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compare(ranks, lambda name: 1)
    assert all(one.category is DcpxWarning for one in caught)
    return [str(one.message) for one in caught]


def test_one_warning_for_all_that_differ():
    ranks = [
        held({f"item {number}": rank for number in range(5)} | {"same": 1, f"own {rank}": rank}) for rank in (0, 1)
    ]
    (text,) = warned(ranks)
    assert "'item 0', stored as rank 1 has it" in text
    assert "and 2 more" in text
    assert "same" not in text
    assert "own" not in text
    assert warned(ranks[:1]) == warned([]) == warned([ranks[0]] * 3) == []


def test_what_is_not_looked_at_is_not_said_to_differ():
    assert warned([held({"x": Unwilling()}), held({"x": 1})]) == []


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (torch.ones(3), torch.ones(4), r"rank 0 holds a tensor float32 \(3,\) under this name and rank 2 a tensor"),
        (torch.ones(3), torch.ones(3).double(), "float64"),
        (torch.ones(3), torch.ones(3, 1), r"\(3, 1\)"),
        (torch.ones(3), "text", "rank 2 an object"),
    ],
)
def test_what_cannot_be_one_item_is_refused(one: object, other: object, text: str):
    states = [{"x": one, "y": 1}, {"y": 1}, {"x": other}]
    with pytest.raises(SaveError, match=text) as caught:
        compare([held(state) for state in states], lambda name: 0)
    assert caught.value.where.item == "x"
    with pytest.raises(SaveError, match=text):
        check_kinds([create_default_local_save_plan(state, True) for state in states])
