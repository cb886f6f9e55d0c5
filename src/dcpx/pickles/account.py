"""The account of what a pickle makes: the bytes that it may take, and the keys that it has hashed."""

from __future__ import annotations

from typing import Any

from ..errors import CorruptError, LimitError
from ..memory import available_memory
from .things import MAX_DEPTH, PLAIN, Dict, Whole, weight_of

__all__ = ["NUMBER", "OBJECT", "PLACE", "Account", "copy_size"]

PLACE = 8
NUMBER = 32
OBJECT = 64
"""Bytes that an object's place in a list, a number, and any other object take, about."""

_ROOM = 1 << 30
_ROOM_FOR_EACH = 4
"""Bytes that what is made may take in any case: so many, and these for each byte of the pickle."""

_MOST_FOR_EACH = 32
"""Bytes for each byte of the pickle where there is so much memory. Small lists and dictionaries take some 25."""

_MAX_ALIKE = 100
"""Keys with the same hash: a dictionary of many would take forever."""


class Account:
    """What one pickle has used so far. LimitError where it is too much."""

    def __init__(self, size: int) -> None:
        """`size` is the pickle's, in bytes."""
        self._room = _room(size)
        self._unknown = 0  # keys whose hashes aren't known
        self._keys: set[object] = set()
        self._alike: dict[int, int] = {}  # how many of the keys have this hash

    def spend(self, nbytes: int) -> None:
        """Charge bytes that what is made may take."""
        self._room -= nbytes
        if self._room < 0:
            raise LimitError("the pickle unfolds into too much")

    def hash(self, keys: list[Any]) -> None:
        """Charge the account for hashing keys of a dictionary, or members of a set. CorruptError for what can't be
        hashed."""
        for key in keys:
            if type(key) is str:
                continue  # nobody can choose these hashes
            self.spend(4 * OBJECT)
            if isinstance(key, (tuple, Whole)):
                self.spend(OBJECT * weight_of(key))
            elif type(key) is int:
                self.spend(key.bit_length() >> 3)
            if type(key) is Dict:
                raise CorruptError("the pickle has a key that is a dictionary")
            if key is PLAIN or isinstance(key, Whole):
                # It may have the hash of all others, and be compared with each of them.
                self._unknown += 1
                self.spend(8 * self._unknown)
            if isinstance(key, Whole) and key.depth > MAX_DEPTH:
                raise LimitError("the pickle has a key that nests too deep")
            found = hash(key)
            if key not in self._keys:
                self._keys.add(key)
                self._alike[found] = alike = self._alike.get(found, 0) + 1
                if alike > _MAX_ALIKE:
                    raise LimitError("the pickle has many keys of the same hash")


def _room(size: int) -> int:
    """Bytes that what a pickle of this size makes may take."""
    least = _ROOM + _ROOM_FOR_EACH * size
    most = _MOST_FOR_EACH * size
    return least if most <= least else max(least, min(most, available_memory() // 2))


def copy_size(value: Any) -> int:
    """Bytes that a copy of a value may take."""
    if type(value) is str:
        return len(value)
    if type(value) is int:
        return OBJECT + (value.bit_length() >> 3)
    if isinstance(value, (list, tuple)):
        return OBJECT + PLACE * len(value)
    return OBJECT + getattr(value, "size", 0)
