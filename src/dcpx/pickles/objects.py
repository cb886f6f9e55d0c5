"""What a stored object (everything in a state that isn't a tensor) would be made of, found without making it.

An object's pickle is gone through opcode by opcode (`torch_pickle`): it must make nothing but values that hold data, of
arguments that fit, in a memory that its size accounts for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

from ..errors import LimitError, UnsupportedError
from .archive import PICKLE, Archive, open_archive
from .calls import Call
from .constants import is_constant
from .library_calls import LIBRARY_CALLS
from .names import shown
from .numpy_objects import NUMPY_CALLS
from .torch_calls import CALLS, OTHER_CALLS, TORCH_CALLS
from .torch_pickle import Foreseen, check_names, foresee
from .trust import SafeGlobal, by_name, of_process

__all__ = ["KNOWN", "TRUST", "CheckedObject", "check_object", "known_name"]

TRUST = "If you trust where the checkpoint comes from, pass trust=True"

KNOWN: dict[str, Call | None] = {**LIBRARY_CALLS, **NUMPY_CALLS, **TORCH_CALLS}
"""What an object may be made of besides what torch lets a pickle call."""

_FORBIDDEN = {"sys", "os", "posix", "nt"}
"""Modules of which nothing can be allowed but by trust, as torch has it."""


class CheckedObject(NamedTuple):
    """An object that is sound and allowed; nothing of it has been made."""

    found: Foreseen
    allowed: Mapping[str, object]
    """What the caller and the process allow, by full name."""
    archive: Archive


def known_name(name: str) -> bool:
    """Whether everybody's objects may have this name."""
    return name in KNOWN or name in CALLS or name in OTHER_CALLS or is_constant(name)


def check_object(stream: IO[bytes], size: int, safe_globals: Sequence[SafeGlobal]) -> CheckedObject:
    """What is in the object, which is sound and allowed; nothing of it has been made yet."""
    archive = open_archive(stream)
    try:
        found = foresee(archive.read(PICKLE, size), archive, KNOWN)
    except (UnsupportedError, LimitError) as error:
        raise type(error)(f"the object can't be loaded safely: {error.cause}", remedy=TRUST) from None
    if not found.names:
        return CheckedObject(found, {}, archive)
    of_caller = by_name(safe_globals)
    allowed = {**of_process(), **of_caller}
    if forbidden := sorted(name for name in found.names if name.partition(".")[0] in _FORBIDDEN):
        raise UnsupportedError(
            f"the object names {', '.join(map(shown, forbidden))}, which could run code", None, TRUST
        )
    check_names(found, "the object", allowed, f"{TRUST}, or safe_globals=[...] with these")
    # Torch makes objects of its own classes without calling them: some would set up communication. Without a state,
    # some are no more than memory that nobody has written to.
    made = (found.called | found.empty) - of_caller.keys()
    called = {name for name in made if isinstance(allowed.get(name), type)}
    if torchs := sorted(name for name in called if name.startswith("torch.")):
        raise UnsupportedError(f"the object makes {', '.join(map(shown, torchs))} as torch doesn't", remedy=TRUST)
    return CheckedObject(found, allowed, archive)
