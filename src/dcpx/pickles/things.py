"""The kinds of things that a pickle of `torch.save` is foreseen to make, in the place of the things themselves.

Numbers, texts and lists stand for themselves. For the rest no more is kept than what a call, a state or a key made of
it has to be judged by: a tensor is its dtype, its shape and the size of its storage, and a class is its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .constants import ITEM_SIZES

__all__ = [
    "HASHED",
    "MAX_DEPTH",
    "MAX_WEIGHT",
    "PLAIN",
    "TENSOR",
    "Bytes",
    "Deque",
    "Dict",
    "Frozen",
    "Name",
    "Nested",
    "Object",
    "Storage",
    "Tensor",
    "Text",
    "Whole",
    "depth_of",
    "weight_of",
]

TENSOR = object()
"""Stands for a tensor that is more than a view of a storage: of a class of its own, or with attributes."""

PLAIN = object()
"""Stands for anything else that nothing more needs to be known of."""

HASHED = object()
"""Stands for the same, where nobody can choose its hash."""

MAX_DEPTH = 200
"""Levels of tuples within tuples: more could overflow the C stack where they are hashed."""

MAX_WEIGHT = 1 << 24
"""Parts of tuples within tuples, each counted as often as it occurs."""


@dataclass(frozen=True)
class Name:
    """A class, a function or a constant: `full` is its module and name."""

    full: str


@dataclass(frozen=True)
class Storage:
    """A tensor's storage, of `nbytes` bytes; `dtype` is the name of its elements' dtype, None where it counts bytes.
    `record` is the archive's that holds it."""

    dtype: str | None
    nbytes: int
    record: str


@dataclass(frozen=True)
class Tensor:
    """A tensor that is nothing but a view of a storage; `dtype` is torch's name, such as "bfloat16". `offset` and
    `stride` are in elements, and `marks` those of a view whose elements are to be conjugated or negated."""

    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    offset: int
    stride: tuple[int, ...]
    marks: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; more than the storage's where several share theirs."""
        return math.prod(self.shape) * ITEM_SIZES[self.dtype]

    @property
    def shares(self) -> bool:
        """Whether elements share their bytes, so that a few could stand for more than there is memory."""
        return self.nbytes > self.storage.nbytes


@dataclass(frozen=True)
class Text:
    """A text too long to be made before it is needed, of so many characters."""

    size: int


@dataclass(frozen=True)
class Bytes:
    """Bytes, of this size; `data` has them where they are few."""

    size: int
    data: bytes | None = None


class Deque(list[Any]):
    """A sequence that elements can be appended to, though it is no list: a deque."""


class Dict:
    """A dictionary of any kind, whose `parts` are the keys, each followed by its value. `attributes` says whether it
    can be given attributes, as only those of some classes can."""

    __match_args__ = ("size",)
    __slots__ = ("attributes", "parts")

    def __init__(self, parts: Iterable[Any] = (), *, attributes: bool = True) -> None:
        self.parts: list[Any] = [*parts]
        self.attributes = attributes

    @property
    def size(self) -> int:
        """How many keys it has at most."""
        return len(self.parts) // 2


@dataclass(eq=False)
class Whole:
    """Something that is hashed, or compared, by its parts, and theirs: of how many levels, and how many parts, each
    counted as often as it occurs."""

    depth: int = 1
    weight: int = 1

    def add(self, parts: Iterable[Any]) -> None:
        """Count what it consists of."""
        for part in parts:
            if isinstance(part, (tuple, Whole)):
                self.depth = max(self.depth, 1 + depth_of(part))
                self.weight = min(self.weight + weight_of(part), 2 * MAX_WEIGHT)


class Object(Whole):
    """An object of a class that the caller allowed."""


class Frozen(Whole):
    """A frozenset."""


class Nested(tuple[Any, ...]):
    """A tuple that has tuples, or what else is hashed by its parts, among its own."""

    depth: int
    weight: int


def depth_of(part: tuple[Any, ...] | Whole) -> int:
    """Levels of what is hashed by its parts."""
    return part.depth if isinstance(part, (Nested, Whole)) else 1


def weight_of(part: tuple[Any, ...] | Whole) -> int:
    """Parts of what is hashed by them, each counted as often as it occurs."""
    return part.weight if isinstance(part, (Nested, Whole)) else len(part)
