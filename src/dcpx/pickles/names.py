"""The names in pickles: what they are called by now, whether they are allowed, and how they are shown."""

from __future__ import annotations

import enum
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Mapping

__all__ = ["allowed_name", "python3_name", "shown"]


def allowed_name(name: str, allowed: Mapping[str, object]) -> bool:
    """Whether a name is allowed, or that of a member of an enumeration which is."""
    if name in allowed:
        return True
    cls, _, member = name.rpartition(".")
    found = allowed.get(cls)
    return isinstance(found, enum.EnumMeta) and member in found.__members__


def python3_name(module: str, name: str) -> str:
    """A full name, of what is named as Python 2 did, which protocol 2 keeps to."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


def shown(name: object) -> str:
    """A name from the file, fit for a message: short, and with nothing that a terminal would obey."""
    return ascii(name[:100])[1:-1] if type(name) is str else f"a {type(name).__name__}"
