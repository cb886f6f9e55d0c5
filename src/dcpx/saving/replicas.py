"""Replicas: what several ranks hold under one name, of which one rank's is stored, and whether it is the same.

DCP stores a plain tensor or an object once, whichever ranks hold it, and doesn't compare what they hold. So every rank
reports a digest of each, which travels with its results, and the coordinator compares them before the commit. The parts
of a sharded tensor differ by their nature, and are left out.

A digest vouches for all of a small tensor, for a few samples of a larger one, and for the value of an object, whatever
the order of its sets and wherever it shares parts. It costs some microseconds an item. What would cost more isn't
compared: tensors that lie on a device or not in one piece, objects of very many parts.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.distributed.checkpoint.planner import SavePlan, WriteItem, WriteItemType

from .. import kernels
from ..dcp.private import has_no_memory
from ..dcp.staging import on_device
from ..errors import DcpxWarning, SaveError, Where

__all__ = ["Replica", "Replicas", "check_kinds", "compare", "replicas"]

_WHOLE = 64 << 10
"""Bytes of elements up to which all of them are looked at."""

_SAMPLES = 4
_SAMPLE = 1 << 10
"""Samples of a larger tensor, and the bytes of each."""

_MOST_PARTS = 10_000
"""Values within an object up to which it is compared."""

_MOST_NAMED = 3
"""Items that a warning names."""


class Replica(NamedTuple):
    """What a rank holds under a name: its dtype and shape, or "an object"; its digest, where it was looked at."""

    kind: str
    digest: int | None = None


Replicas = dict[str, Replica]
"""By name, all that a rank holds and others may hold, too."""


def replicas(items: Iterable[WriteItem], values: Mapping[str, Any] | None) -> Replicas:
    """What this rank holds of the plan's items, but for the parts of sharded tensors.

    `values` are those of the state, by the items' names, or None where the planner doesn't show them.
    """
    found: Replicas = {}
    for item in items:
        if item.type is not WriteItemType.SHARD:
            name = item.index.fqn
            value = None if values is None else values.get(name)
            digest = _digest(value) if values is not None and name in values else None
            found[name] = Replica(_kind(item), digest)
    return found


def check_kinds(plans: Sequence[SavePlan]) -> None:
    """SaveError for what could never be loaded: tensors of different dtypes or shapes, or a tensor and an object."""
    _check_kinds([replicas(plan.items, None) for plan in plans])


def compare(ranks: Sequence[Replicas], stored_by: Callable[[str], int]) -> None:
    """Compare what the ranks hold under one name; `stored_by` gives the rank that stores it.

    SaveError for different kinds. For different contents one DcpxWarning, which says which rank's is stored.
    """
    _check_kinds(ranks)
    first: dict[str, int] = {}
    differing: dict[str, None] = {}
    for held in ranks:
        for name, (_, digest) in held.items():
            if digest is not None and first.setdefault(name, digest) != digest:
                differing[name] = None
    if differing:
        shown = "; ".join(f"{name!r}, stored as rank {stored_by(name)} has it" for name in [*differing][:_MOST_NAMED])
        more = f"; and {len(differing) - _MOST_NAMED} more" if len(differing) > _MOST_NAMED else ""
        warnings.warn(
            f"ranks hold different values under one name, of which one is saved: {shown}{more}. {_REMEDY}",
            DcpxWarning,
            stacklevel=2,
        )


_REMEDY = (
    "Put the rank into the name of what belongs to it, or make the parts of one tensor a DTensor; where one rank's "
    "value is as good as another's, as of running means, ignore this"
)


def _check_kinds(ranks: Sequence[Replicas]) -> None:
    first: dict[str, tuple[int, str]] = {}
    for rank, held in enumerate(ranks):
        for name, (kind, _) in held.items():
            other, known = first.setdefault(name, (rank, kind))
            if known != kind:
                cause = f"rank {other} holds {known} under this name and rank {rank} {kind}"
                raise SaveError(cause, Where(item=name), _REMEDY)


def _kind(item: WriteItem) -> str:
    data = item.tensor_data
    return "an object" if data is None else _tensor_kind(data.properties.dtype, data.size)


@lru_cache(maxsize=1024)
def _tensor_kind(dtype: torch.dtype, size: torch.Size) -> str:
    """A tensor's kind: the same string object for many tensors, so that it is pickled once."""
    return f"a tensor {str(dtype).removeprefix('torch.')} {tuple(size)}"


# --- digests --------------------------------------------------------------------------------------------------------


class _UncomparableError(Exception):
    """The value isn't compared: it would take too long, or can't be taken apart."""


def _digest(value: object) -> int | None:
    """A hash of the value, the same in every process; None for what isn't compared."""
    try:
        if isinstance(value, torch.Tensor):
            return kernels.xxh3(_tensor(value), 0)
        parts: list[bytes] = []
        _Taker(parts).take(value)
        return kernels.xxh3(b"".join(parts), 0)
    except Exception:  # noqa: BLE001 (a class may raise anything; whether it can be saved is for others to say)
        return None


def _tensor(tensor: torch.Tensor) -> bytes:
    """The bytes of the elements that are compared: all of a small tensor, samples of a larger one."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or on_device(tensor) or not tensor.is_contiguous():
        raise _UncomparableError
    if tensor.is_conj() or tensor.is_neg() or has_no_memory(tensor):
        raise _UncomparableError
    if tensor.untyped_storage().nbytes() < tensor.storage_offset() * tensor.itemsize + tensor.nbytes:
        raise _UncomparableError  # its memory was freed or shrunk
    return _memory(tensor.data_ptr(), tensor.nbytes)


def _memory(address: int, size: int) -> bytes:
    if size <= _WHOLE:
        return ctypes.string_at(address, size) if size else b""
    step = (size - _SAMPLE) // (_SAMPLES - 1)
    return b"".join([ctypes.string_at(address + number * step, _SAMPLE) for number in range(_SAMPLES)])


_SCALARS = {type(None), bool, int, float, complex, str, type(Ellipsis)}


class _Taker:
    """Takes a value apart into bytes: equal values of equal types give the same, in whichever process."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self._room = _MOST_PARTS

    def take(self, value: Any) -> None:
        """Add a value's bytes."""
        self._room -= 1
        if self._room < 0:
            raise _UncomparableError
        kind = type(value)
        if kind in _SCALARS:
            self._add(kind.__name__, repr(value).encode("utf-8", "surrogatepass"))
        elif kind in (bytes, bytearray):
            self._add(kind.__name__, bytes(value))
        elif kind in (list, tuple):
            self._add(kind.__name__, b"%d" % len(value))
            for one in value:
                self.take(one)
        elif kind is dict:
            self._unordered(kind.__name__, value.items())
        elif kind in (set, frozenset):
            self._unordered(kind.__name__, value)
        elif isinstance(value, torch.Tensor):
            self._add(f"tensor {value.dtype} {tuple(value.shape)}", _tensor(value))
        elif kind is np.ndarray and not value.dtype.hasobject and value.flags.c_contiguous:
            self._add(f"array {value.dtype.str} {value.shape}", _memory(value.ctypes.data, value.nbytes))
        elif kind is torch.device:
            self._add("device", value.type.encode())  # each rank has its own of a type
        elif isinstance(value, type) or not hasattr(value, "__reduce_ex__") or hasattr(value, "__qualname__"):
            self._add("global", f"{value.__module__}.{value.__qualname__}".encode())
        else:
            self._reduced(value)

    def _reduced(self, value: Any) -> None:
        """Any other object as what pickle would make of it."""
        made = value.__reduce_ex__(4)
        if isinstance(made, str):
            self._add("global", made.encode())
            return
        make, arguments, state, items, pairs = (*made, None, None, None)[:5]
        self._add("object", b"")
        self.take(make)
        self.take(arguments)
        self.take(state)
        self.take(None if items is None else list(items))
        self._unordered("pairs", () if pairs is None else pairs)

    def _unordered(self, kind: str, values: Iterable[object]) -> None:
        found = []
        for value in values:
            taker = _Taker([])
            taker._room = self._room
            taker.take(value)
            self._room = taker._room
            found.append(b"".join(taker._parts))
        self._add(kind, b"%d" % len(found))
        for one in sorted(found):
            self._add("", one)

    def _add(self, kind: str, content: bytes) -> None:
        self._parts.append(f"{kind}:{len(content)}:".encode())
        self._parts.append(content)
