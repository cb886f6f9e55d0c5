"""Keys: dictionaries whose keys aren't strings, which DCP's names can't tell from those that are.

DCP flattens nested dictionaries into names and keeps a key as its text. A tensor is filled where it lies, so the
optimizer's `state[0]["exp_avg"]` is right. An object is put back by its name: DCP makes a `"3"` beside the `3`. `load`
finds the key in the state that it is given; whoever loads with DCP, or without a state, gets the text.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..errors import DcpxWarning, SaveError, Where

__all__ = ["is_taken_apart", "named_by_text", "odd_keys", "warn_of_keys"]

_MOST_NAMED = 3
"""Objects that the warning names."""


def odd_keys(state_dict: Mapping[str, Any]) -> list[str]:
    """The names of all objects that lie under a key that is no string, in a state that DCP will flatten.

    Raises SaveError for keys of one dictionary that have the same text: one of them would load as the other.
    """
    found: list[str] = []
    _look(state_dict, (), False, found)
    return found


def named_by_text(state_dict: dict[Any, Any]) -> dict[str, Any]:
    """The state with its keys as text, as DCP names its items; the state itself where all keys are strings.

    DCP sorts the keys, which it can't where only some are strings. ValueError for keys that have the same text.
    """
    if all(type(key) is str for key in state_dict):
        return state_dict
    if same := _of_one_text(state_dict):
        raise ValueError(f"the state has the keys {same[0]!r} and {same[1]!r}, which DCP takes for one")
    return {str(key): value for key, value in state_dict.items()}


def warn_of_keys(names: Sequence[str]) -> None:
    """One DcpxWarning for all that `odd_keys` has found."""
    if names:
        shown = ", ".join(map(repr, names[:_MOST_NAMED]))
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        warnings.warn(
            f"{shown}{more}: a key on the way there is no string, and is one for DCP itself and where the checkpoint "
            "is loaded without a state. Save the dictionary within a tuple, which is stored as it is, or give it keys "
            "that are strings",
            DcpxWarning,
            stacklevel=2,
        )


def _look(value: object, path: tuple[object, ...], odd: bool, found: list[str]) -> None:
    """Add to `found` the names of all objects in `value` that an odd key leads to, taking apart what DCP does.

    `path` are the keys that lead to `value`, and `odd` says whether one of them is no string.
    """
    if isinstance(value, torch.Tensor):
        return
    if isinstance(value, Mapping):
        if same := _of_one_text(value):
            name = ".".join(map(str, (*path, same[0])))
            cause = f"a dictionary has the keys {same[0]!r} and {same[1]!r}, which DCP takes for one"
            raise SaveError(cause, Where(item=name), "Give it keys of different texts")
        for key, one in value.items():
            _look(one, (*path, key), odd or type(key) is not str, found)
    elif isinstance(value, list) and is_taken_apart(value):
        for number, one in enumerate(value):
            _look(one, (*path, number), odd, found)
    elif odd:
        found.append(".".join(map(str, path)))


def is_taken_apart(value: list[Any]) -> bool:
    """Whether DCP stores a list's elements one by one: where a tensor or a dictionary is in it, or in one of its
    lists."""
    return any(
        isinstance(one, (torch.Tensor, Mapping)) or (isinstance(one, list) and is_taken_apart(one)) for one in value
    )


def _of_one_text(value: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    """Two keys that have the same text, if there are such."""
    if all(type(key) is str for key in value):
        return None
    known: dict[str, Any] = {}
    for key in value:
        if known.setdefault(str(key), key) is not key:
            return known[str(key)], key
    return None
