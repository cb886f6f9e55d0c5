"""What a caller lets a checkpoint's pickles name besides what is safe for everybody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["SafeGlobal", "Trust", "by_name", "full_name", "of_process"]

SafeGlobal: TypeAlias = Callable[..., object] | tuple[Callable[..., object], str]
"""A class or function that an object may name, as `torch.serialization.add_safe_globals` takes it: alone, or with the
full name that it has in the file."""


@dataclass(frozen=True)
class Trust:
    """What a caller lets items name besides what is safe for everybody: `safe_globals`, or with `all` anything."""

    safe_globals: Sequence[SafeGlobal] = ()
    all: bool = False


def by_name(entries: Iterable[SafeGlobal]) -> dict[str, object]:
    """Classes and functions by the full names that they have in a pickle."""
    return dict((entry[1], entry[0]) if isinstance(entry, tuple) else (full_name(entry), entry) for entry in entries)


def full_name(entry: Any) -> str:
    """The name that a class or function has in a pickle."""
    return f"{entry.__module__}.{entry.__qualname__}"


def of_process() -> dict[str, object]:
    """What was given to `torch.serialization.add_safe_globals` in this process, by name; nothing if torch was never
    imported, for then nobody can have given it anything."""
    torch = sys.modules.get("torch")
    return {} if torch is None else by_name(torch.serialization.get_safe_globals())
