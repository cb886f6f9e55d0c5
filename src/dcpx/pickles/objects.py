"""Makes a stored object (everything in a state that isn't a tensor) safe to hand to DCP's planner, which unpickles it.

`DefaultLoadPlanner.load_bytes` calls `torch.load(weights_only=False)`, and other planners do as they like. So an
object's pickle is gone through first, opcode by opcode (`_torch_pickle`): it must make nothing but values that hold
data, of arguments that fit, in a memory that its size accounts for. One that names nothing at all can't call anything,
and is handed on as it is. Any other is made here by Python's own unpickler, which finds no name outside of the tables
of what is allowed (`_restricted`), and the planner gets what torch writes of it: bytes that name nothing but what was
allowed, whatever the stored ones would have meant to another unpickler.

A save asks the same of every object that it stores, so that what a load will refuse is said while it can be mended.
"""

from __future__ import annotations

import io
import os
import pickle
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import IO, Any, NamedTuple, Protocol

import torch
from torch.distributed.checkpoint.planner import WriteItem

from ..catalog.limits import Limits, limits_remedy
from ..errors import CorruptError, DcpxError, DcpxWarning, LimitError, LoadError, SaveError, UnsupportedError, Where
from ..loading.restricted import KNOWN, load_restricted
from .archive import PICKLE, Archive, open_archive
from .torch_calls import BeyondStorageError
from .torch_pickle import Foreseen, SafeGlobal, by_name, check_names, foresee
from .unpickle import shown

__all__ = ["ObjectCheck", "Resolver", "SafeGlobal", "checked_bytes"]

_TRUST = "If you trust where the checkpoint comes from, pass trust=True"

_FORBIDDEN = {"sys", "os", "posix", "nt"}
"""Modules of which nothing can be allowed but by trust, as torch has it."""


class _Checked(NamedTuple):
    found: Foreseen
    allowed: Mapping[str, object]
    """What the caller and the process allow, by full name."""
    archive: Archive


def checked_bytes(content: bytes, safe_globals: Sequence[SafeGlobal] = ()) -> bytes:
    """The object in `content`, a container of `torch.save`, as a container whose unpickling can't run foreign code.

    Allowed are numbers, strings, the standard containers, tensors, what `_library_calls` and `_numpy_objects` list of
    the standard library and of NumPy, what was given to `torch.serialization.add_safe_globals`, and `safe_globals`.
    Tensors inside are loaded to the device that they were saved from, as the planner would.

    Raises UnsupportedError for an object that names anything else, and says what, or that can't be made here;
    CorruptError for damage; LimitError if it nests too deep or unfolds into more memory than its size accounts for;
    LoadError if it needs a device that isn't there.
    """
    stream = io.BytesIO(content)
    found, allowed, archive = _checked(stream, len(content), safe_globals)
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


# --- the check --------------------------------------------------------------------------------------------------------


def _checked(stream: IO[bytes], size: int, safe_globals: Sequence[SafeGlobal]) -> _Checked:
    """What is in the object, which is sound and allowed; nothing of it has been made yet."""
    archive = open_archive(stream)
    try:
        found = foresee(archive.read(PICKLE, size), archive, KNOWN)
    except (UnsupportedError, LimitError) as error:
        raise type(error)(f"the object can't be loaded safely: {error.cause}", remedy=_TRUST) from None
    if not found.names:
        return _Checked(found, {}, archive)
    of_process = by_name(torch.serialization.get_safe_globals())
    of_caller = by_name(safe_globals)
    allowed = {**of_process, **of_caller}
    if forbidden := sorted(name for name in found.names if name.partition(".")[0] in _FORBIDDEN):
        raise UnsupportedError(
            f"the object names {', '.join(map(shown, forbidden))}, which could run code", None, _TRUST
        )
    check_names(found, "the object", allowed, f"{_TRUST}, or safe_globals=[...] with these")
    # Torch makes objects of its own classes without calling them: some would set up communication. Without a state,
    # some are no more than memory that nobody has written to.
    made = (found.called | found.empty) - of_caller.keys()
    called = {name for name in made if isinstance(allowed.get(name), type)}
    if torchs := sorted(name for name in called if name.startswith("torch.")):
        raise UnsupportedError(f"the object makes {', '.join(map(shown, torchs))} as torch doesn't", remedy=_TRUST)
    return _Checked(found, allowed, archive)


@contextmanager
def _making() -> Iterator[None]:
    """Errors of making what was found to be sound: its class may refuse it, or be another than the one saved."""
    try:
        yield
    except DcpxError:
        raise
    except pickle.PickleError as error:
        raise UnsupportedError(f"the object can't be loaded safely: {error}", remedy=_TRUST) from error
    except (MemoryError, RecursionError) as error:
        raise LimitError(f"the object is too large or nests too deep: {error!r}", remedy=_TRUST) from None
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


# --- when saving ------------------------------------------------------------------------------------------------------

_SMALL = 1024
_HEADER = 30
"""Bytes of a container that are looked at first, and of its first record's header but for the names."""


class Resolver(Protocol):
    """What gives the items of a save their data: a planner."""

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO: ...


class ObjectCheck:
    """A planner whose objects are looked at as a load by default will: `refused` has the errors it would end in."""

    def __init__(self, planner: Resolver) -> None:
        self._planner = planner
        self._limits = Limits()
        self.refused: list[DcpxError] = []

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        data = self._planner.resolve_data(write_item)
        if isinstance(data, io.BytesIO):
            try:
                self._check(data)
            except DcpxError as error:
                if isinstance(error.__cause__, BeyondStorageError):
                    cause = "the memory of a tensor in the object was freed or shrunk by its owner"
                    raise SaveError(cause, Where(item=write_item.index.fqn), "Save it while it is in memory") from error
                self.refused.append(error.located(item=write_item.index.fqn))
        return data

    def report(self, *, strict: bool) -> None:
        """Say what was refused: in a warning or, if `strict`, in a SaveError."""
        if not self.refused:
            return
        # The thread that an item was saved in doesn't matter.
        refused = sorted(self.refused, key=lambda error: error.where.item or "")
        listed = "; ".join(f"{error.where.item!r}: {error.cause}" for error in refused[:_LISTED])
        more = f"; and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
        remedies = " | ".join(dict.fromkeys(error.remedy for error in refused[:_LISTED]))
        text = f"objects that a load refuses by default: {listed}{more}"
        if strict:
            where = Where(item=refused[0].where.item)
            raise SaveError(text, where, f"Save plain values instead, or without strict=True. When loading: {remedies}")
        warnings.warn(f"{text}. When loading: {remedies}", DcpxWarning, stacklevel=2)

    def _check(self, data: io.BytesIO) -> None:
        size = data.seek(0, io.SEEK_END)
        try:
            if not _is_trivial(data):
                most = self._limits.most_object_bytes(size, sealed=True)
                if size > most:
                    raise LimitError(f"the object has more than {most} bytes", remedy=limits_remedy("object_size"))
                _checked(data, size, ())
        finally:
            data.seek(size)


_LISTED = 10


def _is_trivial(data: io.BytesIO) -> bool:
    """Whether torch has just written a small pickle that names nothing, such as a number's, a text's or a list's; what
    is so small can't nest too deep."""
    data.seek(0)
    head = data.read(_SMALL)
    begin = _HEADER + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    try:
        _Nameless(io.BytesIO(head[begin : begin + _SMALL // 2])).load()
    except Exception:  # noqa: BLE001 (it names something, or is longer: then it is looked through)
        return False
    return head.startswith(b"PK")


class _Nameless(pickle.Unpickler):
    """Loads what names nothing, and refers to no tensor."""

    def find_class(self, module: str, name: str, /) -> Any:
        raise pickle.UnpicklingError
