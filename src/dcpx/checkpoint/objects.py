"""Makes a stored object (everything in a state that isn't a tensor) safe to hand to DCP's planner, which unpickles it.

`DefaultLoadPlanner.load_bytes` calls `torch.load(weights_only=False)`, and other planners do as they like. So the
object is loaded here with `weights_only=True`, and the planner gets what torch writes of it: bytes that name nothing
but what was allowed, whatever the stored ones would have meant to another unpickler.
"""

from __future__ import annotations

import datetime
import io
import os
import pickle
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from ..errors import CorruptError, LimitError, LoadError, UnsupportedError
from ._archive import PICKLE, open_archive
from ._numpy_objects import MADE_BY_NUMPY, NUMPY_NAMES
from ._records import PATHS
from ._torch_pickle import Foreseen, SafeGlobal, by_name, check_names, foresee, full_name
from ._unpickle import shown

__all__ = ["SafeGlobal", "checked_bytes"]

_TRUST = "If you trust where the checkpoint comes from, pass trust=True"

_PLAIN_CLASSES = (
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    frozenset,
    io.BytesIO,
)


_SAFE: dict[str, object] = {
    **{full_name(cls): cls for cls in _PLAIN_CLASSES},
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
    known = _SAFE | by_name(safe_globals)
    output = io.BytesIO()
    with _lock:
        of_process = by_name(torch.serialization.get_safe_globals())
        container = io.BytesIO(content)
        found = _foreseen(container, {**of_process, **known})
        # What the process allows is torch's business, and isn't taken off its list.
        names = {name: known[name] for name in found.names if name not in of_process}
        # Torch makes objects of its own classes without calling them: some would set up communication.
        called = {name for name in found.called - known.keys() if isinstance(of_process[name], type)}
        if torchs := sorted(name for name in called if name.startswith("torch.")):
            raise UnsupportedError(f"the object calls {', '.join(map(shown, torchs))}", remedy=_TRUST)
        try:
            with torch.sparse.check_sparse_tensor_invariants() if found.sparse else nullcontext():
                loaded = _load(container, names)
            torch.save(loaded, output)
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

if hasattr(os, "register_at_fork"):
    # A fork waits for the object that another thread is loading: in the child nobody would free the lock.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def _foreseen(container: io.BytesIO, allowed: Mapping[str, object]) -> Foreseen:
    """What is in the object. The container and its pickle are sound enough to be loaded then."""
    archive = open_archive(container)
    try:
        found = foresee(archive.read(PICKLE, archive.size(PICKLE)), archive)
    except (UnsupportedError, LimitError) as error:
        raise type(error)(f"the object can't be loaded safely: {error.cause}", remedy=_TRUST) from None
    check_names(found, "the object", allowed, f"{_TRUST}, or safe_globals=[...] with these")
    archive.cut(container)
    return found


def _load(container: io.BytesIO, names: dict[str, object]) -> object:
    allowed: list[Any] = [(value, name) for name, value in {**names, **MADE_BY_NUMPY}.items()] if names else []
    with torch.serialization.safe_globals(allowed):
        return torch.load(container, weights_only=True, mmap=False)


def _reason(error: Exception) -> str:
    """What torch's unpickler says, without the advice around it."""
    text = str(error).rsplit("WeightsUnpickler error:", 1)[-1]
    return text.split("\n\nCheck the documentation", 1)[0].strip().split("\n")[-1]
