"""Makes a stored object (everything in a state that isn't a tensor) safe to hand to DCP's planner, which unpickles it.

`DefaultLoadPlanner.load_bytes` calls `torch.load(weights_only=False)`, and other planners do as they like. So the
object is loaded here with `weights_only=True`, and the planner gets what torch writes of it: bytes that name nothing
but what was allowed, whatever the stored ones would have meant to another unpickler.
"""

from __future__ import annotations

import datetime
import io
import pickle
import pickletools
import threading
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from ..errors import CorruptError, DcpxError, LimitError, LoadError, UnsupportedError
from ._numpy_objects import MADE_BY_NUMPY, NUMPY_NAMES
from ._records import PATHS
from ._torch import stored_pickle
from ._unpickle import shown

__all__ = ["SafeGlobal", "checked_bytes"]

SafeGlobal: TypeAlias = Callable[..., object] | tuple[Callable[..., object], str]
"""A class or function that an object may name, as `torch.serialization.add_safe_globals` takes it: alone, or with the
full name that it has in the file."""

_TRUST = "If you trust where the checkpoint comes from, pass trust=True"

# Of tuples within tuples: levels, and parts, each counted as often as it occurs.
_MAX_DEPTH = 200
_MAX_WEIGHT = 1 << 24

_PLAIN_CLASSES = (
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    frozenset,
    io.BytesIO,
)


def _full_name(entry: Any) -> str:
    return f"{entry.__module__}.{entry.__qualname__}"


_SAFE: dict[str, object] = {
    **{_full_name(cls): cls for cls in _PLAIN_CLASSES},
    **{f"{module}.{name}": cls for name, cls in PATHS.items() for module in ("pathlib", "pathlib._local")},
    **NUMPY_NAMES,
}
"""What may be named besides what torch allows itself: none of them can do more than hold data."""


def checked_bytes(content: bytes, safe_globals: Sequence[SafeGlobal] = ()) -> bytes:
    """The object in `content`, a container of `torch.save`, as a container whose unpickling can't run foreign code.

    Allowed are what torch allows for `weights_only=True` (numbers, strings, the standard containers, tensors), dates,
    paths, frozenset, BytesIO, numpy's scalars and arrays, what was given to `torch.serialization.add_safe_globals`, and
    `safe_globals`. Tensors inside are loaded to the device that they were saved from, as the planner would.

    Raises UnsupportedError for an object that names anything else, and says what; CorruptError for damage; LimitError
    if it nests too deep or unfolds into more than its own size; LoadError if it needs a device that isn't there.
    """
    known = _SAFE | dict(map(_named, safe_globals))
    output = io.BytesIO()
    with _lock:
        named = _names_in(content)
        refused = [name for name in named if name not in known]
        if refused:
            raise UnsupportedError(
                f"the object names {', '.join(map(shown, refused))}, which could run code",
                remedy=f"{_TRUST}, or safe_globals=[...] with these",
            )
        try:
            torch.save(_load(content, {name: known[name] for name in named}), output)
        except pickle.PickleError as error:
            raise UnsupportedError(f"the object can't be loaded safely: {_reason(error)}", remedy=_TRUST) from error
        except (MemoryError, RecursionError) as error:
            raise LimitError(f"the object is too large or nests too deep: {error!r}") from None
        except Exception as error:
            if str(error).startswith("Attempting to deserialize object on"):  # a device that isn't there
                raise LoadError(f"the object can't be loaded here: {error}") from error
            raise CorruptError(f"the object can't be loaded: {error!r}") from error
    return output.getvalue()


_lock = threading.RLock()
"""Held while an object is looked through and loaded: torch keeps one list of what is safe for the whole process."""


def _named(entry: SafeGlobal) -> tuple[str, object]:
    return (entry[1], entry[0]) if isinstance(entry, tuple) else (_full_name(entry), entry)


def _names_in(content: bytes) -> list[str]:
    """What the object names beyond what torch allows. The container and its pickle are sound enough to be loaded."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size <= len(content):
            _check_nesting(stored_pickle(content))
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
    except DcpxError:
        raise
    except pickle.UnpicklingError as error:
        raise UnsupportedError(f"the object can't be loaded safely: {_reason(error)}", remedy=_TRUST) from error
    except Exception as error:
        raise CorruptError(f"the object isn't a sound container of torch.save: {error!r}") from error
    raise LimitError(f"the object's {len(content)} bytes unfold into {size}; torch.save doesn't compress")


def _load(content: bytes, names: dict[str, object]) -> object:
    # What the user has put on torch's list isn't in `names`, and so isn't taken off it.
    allowed: list[Any] = [(value, name) for name, value in {**names, **MADE_BY_NUMPY}.items()] if names else []
    with torch.serialization.safe_globals(allowed):
        return torch.load(io.BytesIO(content), weights_only=True, mmap=False)


def _check_nesting(pickled: bytes) -> None:
    """Refuse tuples that nest too deep: hashing one, as a dictionary's key, overflows the C stack or takes forever.

    The pickle is gone through with, in the place of each object, how deep its tuples go and how many parts they have.
    """
    stack: list[tuple[int, int]] = []
    marks: list[int] = []
    memo: dict[Any, tuple[int, int]] = {}
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "MARK":
            marks.append(len(stack))
        elif opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        else:
            before = opcode.stack_before
            if pickletools.markobject in before:
                start = marks.pop()
                kept = start - before.index(pickletools.markobject)
            else:
                start = kept = len(stack) - len(before)
            if min(kept, start) < 0:
                raise CorruptError("the object's pickle takes what it hasn't")
            parts = stack[start:]
            del stack[kept:]
            if opcode.name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
                depth = 1 + max((depth for depth, _ in parts), default=0)
                weight = 1 + sum(weight for _, weight in parts)
                if depth > _MAX_DEPTH or weight > _MAX_WEIGHT:
                    raise LimitError("the object has tuples that nest too deep")
                stack.append((depth, weight))
            else:
                stack.extend([(0, 1)] * len(opcode.stack_after))


def _reason(error: Exception) -> str:
    """What torch's unpickler says, without the advice around it."""
    text = str(error).rsplit("WeightsUnpickler error:", 1)[-1]
    return text.split("\n\nCheck the documentation", 1)[0].strip().split("\n")[-1]
