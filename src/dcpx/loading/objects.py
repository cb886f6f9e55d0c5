"""Makes a stored object (everything in a state that isn't a tensor) safe to hand to DCP's planner, which unpickles it.

`DefaultLoadPlanner.load_bytes` calls `torch.load(weights_only=False)`, and other planners do as they like. So an
object's pickle is gone through first (`pickles.objects`). One that names nothing at all can't call anything, and is
handed on as it is. Any other is made here by Python's own unpickler, which finds no name outside of the tables of what
is allowed (`restricted`), and the planner gets what torch writes of it: bytes that name nothing but what was allowed,
whatever the stored ones would have meant to another unpickler.
"""

from __future__ import annotations

import io
import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch

from ..errors import CorruptError, DcpxError, LimitError, LoadError, UnsupportedError
from ..pickles.objects import TRUST, check_object
from ..pickles.trust import SafeGlobal
from .restricted import load_restricted

__all__ = ["checked_bytes"]


def checked_bytes(content: bytes, safe_globals: Sequence[SafeGlobal] = ()) -> bytes:
    """The object in `content`, a container of `torch.save`, as a container whose unpickling can't run foreign code.

    Allowed are numbers, strings, the standard containers, tensors, what `pickles.library_calls` and
    `pickles.numpy_objects` list of the standard library and of NumPy, what was given to
    `torch.serialization.add_safe_globals`, and `safe_globals`.
    Tensors inside are loaded to the device that they were saved from, as the planner would.

    Raises UnsupportedError for an object that names anything else, and says what, or that can't be made here;
    CorruptError for damage; LimitError if it nests too deep or unfolds into more memory than its size accounts for;
    LoadError if it needs a device that isn't there.
    """
    stream = io.BytesIO(content)
    found, allowed, archive = check_object(stream, len(content), safe_globals)
    if archive.used:
        archive.cut(stream)
        content = stream.getvalue()
    if found.plain:
        return content
    output = io.BytesIO()
    with _making():
        with _sparse_checked() if found.sparse else nullcontext():
            made = load_restricted(content, allowed)
        torch.save(made, output)
    return output.getvalue()


@contextmanager
def _making() -> Iterator[None]:
    """Errors of making what was found to be sound: its class may refuse it, or be another than the one saved."""
    try:
        yield
    except DcpxError:
        raise
    except pickle.PickleError as error:
        raise UnsupportedError(f"the object can't be loaded safely: {error}", remedy=TRUST) from error
    except (MemoryError, RecursionError) as error:
        raise LimitError(f"the object is too large or nests too deep: {error!r}", remedy=TRUST) from None
    except Exception as error:
        if str(error).startswith("Attempting to deserialize object on"):  # a device that isn't there
            raise LoadError(f"the object can't be loaded here: {error}") from error
        cause = f"the object can't be made here: {type(error).__name__}: {error}"
        raise UnsupportedError(cause, remedy="Load it where its classes are as they were when it was saved") from error


_sparse_lock = threading.Lock()

if hasattr(os, "register_at_fork"):
    # A fork waits for the object that another thread is making: in the child nobody would free the lock.
    os.register_at_fork(
        before=_sparse_lock.acquire, after_in_parent=_sparse_lock.release, after_in_child=_sparse_lock.release
    )


@contextmanager
def _sparse_checked() -> Iterator[None]:
    """Torch checks sparse tensors, or doesn't, in the whole process."""
    with _sparse_lock, torch.sparse.check_sparse_tensor_invariants():
        try:
            yield
        except RuntimeError as error:
            raise CorruptError(f"the object has a sparse tensor that can't be one: {error}") from error
