"""Nested states as names and back, with what DCP's names forget: keys that are no text, and what is empty.

DCP names an item by the keys that lead to it, as text and with dots between them. An optimizer's `state[0]` and a
`state["0"]` have one name, and torch's optimizers take the second without a word for the state of no parameter.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from ..errors import CorruptError, DcpxWarning, LoadError, UnsupportedError, Where
from ..saving.keys import is_taken_apart

__all__ = ["Flat", "Key", "Path", "as_text", "check_places", "flattened", "nested", "warn_of_lost_keys"]


class Key(NamedTuple):
    """A dictionary's key that is no text."""

    value: object


Path: TypeAlias = tuple["str | int | Key", ...]
"""The keys that lead to a value: text or a Key in a dictionary, a number in a list."""


class Flat(NamedTuple):
    """A state's values by their names, the paths to them, and those to its empty dictionaries."""

    values: dict[str, Any]
    paths: dict[str, Path]
    empty: list[Path]


def flattened(state: Mapping[Any, Any], place: str) -> Flat:
    """The state taken apart as DCP does it. UnsupportedError for two values of one name."""
    found = Flat({}, {}, [])
    _walk(state, (), found, place)
    return found


def _walk(value: Any, path: Path, found: Flat, place: str) -> None:
    if isinstance(value, Mapping):
        if path and not value:
            found.empty.append(path)
        for key, one in value.items():
            _walk(one, (*path, key if type(key) is str else Key(key)), found, place)
    elif isinstance(value, list) and is_taken_apart(value):
        for number, one in enumerate(value):
            _walk(one, (*path, number), found, place)
    else:
        name = ".".join(map(str, as_text(path)))
        if name in found.values:
            raise UnsupportedError("two of its values have this name", Where(place, name), "Give it keys that differ")
        found.values[name], found.paths[name] = value, path


def as_text(path: Path) -> tuple[str | int, ...]:
    """The path as DCP keeps it: a dictionary's keys are text."""
    return tuple(str(one.value) if isinstance(one, Key) else one for one in path)


def nested(values: Mapping[str, Any], paths: Mapping[str, Path], empty: Iterable[Path] = ()) -> dict[Any, Any]:
    """The state that was taken apart. An optimizer's state has the numbers of its parameters for keys again, which its
    param_groups list, also where they are text by now.

    CorruptError for an index that no list of these values has.
    """
    root: dict[Any, Any] = {}
    room = _MOST_HOLES + len(values)
    for path in empty:
        room = _put(root, path, {}, room)
    for name, value in values.items():
        room = _put(root, paths[name], value, room)
    _number(root)
    return root


_MOST_HOLES = 1 << 16
"""Elements that lists may have beside those that are put into them: an index is only a number that a file says."""


def _put(root: dict[Any, Any], path: Path, value: Any, room: int) -> int:
    """Put the value where the path leads, and return how many elements lists may still have."""
    place: Any = root
    key: Any
    for here, following in zip(path, (*path[1:], None), strict=True):
        if isinstance(place, list):
            lacking = here + 1 - len(place) if isinstance(here, int) else -1
            if not isinstance(here, int) or here < 0 or lacking > room:
                raise CorruptError(f"an index in a list is {here!r}", Where(item=".".join(map(str, as_text(path)))))
            place += [None] * lacking
            room -= max(lacking, 0)
            inner = place[key := here]
        else:
            inner = place.get(key := here.value if isinstance(here, Key) else here)
        if following is None:
            place[key] = value
        elif not isinstance(inner, (dict, list)):
            place[key] = [] if isinstance(following, int) else {}
        place = place[key]
    return room


def _number(value: Any) -> None:
    """Give an optimizer's state the numbers of its parameters for keys, wherever one is in `value`."""
    if isinstance(value, list):
        for one in value:
            _number(one)
    if not isinstance(value, dict):
        return
    for one in value.values():
        _number(one)
    groups = value.get("param_groups")
    if not isinstance(groups, list) or not groups or not all(isinstance(one, dict) for one in groups):
        return
    listed = [one.get("params") for one in groups]
    if not all(isinstance(one, list) and all(type(number) is int for number in one) for one in listed):
        return
    numbers = {str(number): number for one in listed for number in one}
    state = value.setdefault("state", {})
    if isinstance(state, dict) and state.keys() <= numbers.keys():
        value["state"] = {numbers[key]: one for key, one in state.items()}


def check_places(paths: Mapping[str, Path], before: Mapping[str, Path], place: str) -> None:
    """LoadError for new names that would nest one value within another, or leave a hole in a list; `before` are the
    paths of all that the source has, by its own names."""
    known = {as_text(path) for path in paths.values()}
    for name, path in paths.items():
        text = as_text(path)
        if any(text[:end] in known for end in range(1, len(text))):
            cause = "with the new names it lies within another one"
            raise LoadError(cause, Where(place, name), "Give it a name that is nowhere the beginning of another")
    lists = [_lists(one.values()) for one in (before, paths)]
    for path, found in lists[1].items():
        if found != set(range(len(found))) and lists[0].get(path, set()) != found:
            cause = f"of the list {'.'.join(map(str, path))!r} elements are missing, of those that stay"
            raise LoadError(cause, Where(place), "Rename or leave out all of a list's elements, or none")


def _lists(paths: Iterable[Path]) -> dict[tuple[str | int, ...], set[int]]:
    found: dict[tuple[str | int, ...], set[int]] = {}
    for path in map(as_text, paths):
        for end, one in enumerate(path):
            if isinstance(one, int):
                found.setdefault(path[:end], set()).add(one)
    return found


_MOST_NAMED = 3


def warn_of_lost_keys(flat_paths: Mapping[str, Path], empty: Iterable[Path]) -> None:
    """One DcpxWarning for what a checkpoint can't keep: keys that are no text, unless `nested` knows them again, and
    dictionaries that are empty."""
    lost = [
        name
        for name, path in flat_paths.items()
        if any(
            isinstance(one, Key) and not (type(one.value) is int and before == "state")
            for before, one in zip(("", *path), path, strict=False)
        )
    ]
    lost += [".".join(map(str, as_text(path))) for path in empty if path[-1] != "state"]
    if lost:
        shown = ", ".join(map(repr, lost[:_MOST_NAMED]))
        more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        text = f"{shown}{more}: a checkpoint keeps keys that are no text as their text, and no empty dictionary"
        warnings.warn(text, DcpxWarning, stacklevel=2)
