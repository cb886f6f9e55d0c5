"""Which items are looked at: those whose names match a glob."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from ..errors import LoadError, Where
from ..pickles.names import shown

__all__ = ["matching"]

_COMPARED = 20_000
"""Names among which the nearest ones are looked for, which takes time."""

_NEAREST = 3


def matching(names: Iterable[str], pattern: str, path: str) -> set[str]:
    """The names that match the glob, in which * stands for any characters, dots among them, ? for one, and [...] for
    one of several. LoadError, which tells the nearest ones, if there are names and none matches, and TypeError for what
    is no glob."""
    if not isinstance(pattern, str):
        raise TypeError(f"the glob for names must be a str such as '*.bias', not {pattern!r:.100}")
    known = list(dict.fromkeys(names))
    found = {name for name in known if pattern == "*" or fnmatchcase(name, pattern)}
    if known and not found:
        nearest = _nearest(known[:_COMPARED], pattern)
        told = f"; the nearest are {', '.join(map(_quoted, nearest))}" if nearest else ""
        remedy = "Use a glob that matches a name"
        if "[" in pattern:
            remedy += "; [ begins a set of characters, and [[] stands for itself"
        raise LoadError(f"no name matches {_quoted(pattern)}{told}", Where(path), remedy)
    return found


def _quoted(name: str) -> str:
    return f"'{shown(name)}'"


def _nearest(names: list[str], pattern: str) -> list[str]:
    plain = re.sub(r"[*?]+", "", pattern)
    inner = re.sub(r"[\[\]]+", "", plain)
    within = [name for name in names if any(one and one in name for one in (plain, inner))]
    return (within or get_close_matches(inner, names, _NEAREST, cutoff=0.4))[:_NEAREST]
