"""Whether two values are the same: of one type, with the same bits, and shared within as they were."""

from __future__ import annotations

import io
import random
import re
import struct
import types
from typing import Any

import numpy as np
import torch

from .tensor_kinds import Wrapped, elements, is_freed

__all__ = ["difference"]

_ATOMS = (bool, int, str, bytes, bytearray, type(None), type, types.FunctionType, types.BuiltinFunctionType)
_ATOMS += (types.ModuleType, torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size, re.Pattern)
_ATOMS += (type(...), type(NotImplemented), np.dtype)
_SHARED = (list, dict, set, torch.Tensor, np.ndarray, torch.UntypedStorage)
"""What can be changed: that two places hold one of these is seen by a program."""


Pair = tuple[Any, Any, str]
"""What is expected, what was found, and where."""


def difference(expected: Any, found: Any) -> str | None:
    """Where and how `found` differs from what was saved; None if it doesn't."""
    return _Comparison().run(expected, found)


class _Comparison:
    def __init__(self) -> None:
        self._pairs: dict[int, Any] = {}  # what was found for each that was expected, by its id
        self._alive: list[Any] = []  # ids hold while what they belong to lives

    def run(self, expected: Any, found: Any) -> str | None:
        """Without recursion: some values nest deep."""
        todo: list[Pair] = [(expected, found, "it")]
        while todo:
            step = self._step(*todo.pop())
            if isinstance(step, str):
                return step
            todo += reversed(step)
        return None

    def _step(self, expected: Any, found: Any, place: str) -> str | list[Pair]:
        """How one value differs, or what is to be compared within it."""
        if type(expected) is not type(found):
            return f"{place} is of {type(found)}, not {type(expected)}"
        if isinstance(expected, float):
            same = struct.pack("<d", expected) == struct.pack("<d", found) or expected != expected != found
            return [] if same else f"{place} is {found!r}, not {expected!r}"
        if type(expected) in _ATOMS or isinstance(expected, type):
            return [] if expected == found else f"{place} is {found!r:.80}, not {expected!r:.80}"
        # Asking a partial for its `__dict__` makes an empty one: both are asked, or they would differ.
        has_fields = hasattr(expected, "__dict__"), hasattr(found, "__dict__")
        if isinstance(expected, _SHARED) or any(has_fields):
            if id(expected) in self._pairs:
                return [] if self._pairs[id(expected)] is found else f"{place} isn't shared any more"
            self._pairs[id(expected)] = found
            self._alive.append(expected)
        if isinstance(expected, torch.Tensor):
            return self._tensors(expected, found, place)
        if isinstance(expected, (np.ndarray, np.generic)):
            return self._arrays(expected, found, place)
        if isinstance(expected, (set, frozenset)):
            return self._sets(expected, found, place)
        parts, others = _parts(expected), _parts(found)
        self._alive.append((parts, others))
        if len(parts) != len(others):
            return f"{place} has {len(others)} parts, not {len(parts)}"
        numbers = range(len(parts))
        return [(left, right, f"{place[:200]}[{n}]") for left, right, n in zip(parts, others, numbers, strict=True)]

    def _tensors(self, expected: torch.Tensor, found: torch.Tensor, place: str) -> str | list[Pair]:
        if isinstance(expected, torch.nn.UninitializedParameter):
            return []
        for what in ("dtype", "shape", "layout", "requires_grad", "is_quantized", "is_nested", "is_meta", "is_mkldnn"):
            if what == "shape" and expected.is_nested:
                continue  # the parts have shapes
            if getattr(expected, what) != getattr(found, what):
                return f"{place}.{what} is {getattr(found, what)}, not {getattr(expected, what)}"
        if vars(expected).keys() != vars(found).keys():
            return f"{place} has the attributes {list(vars(found))}, not {list(vars(expected))}"
        parts, others = _tensor_parts(expected), _tensor_parts(found)
        for left, right in zip(parts, others, strict=True):
            if not isinstance(left, torch.Tensor) and left != right:
                return f"{place} has other elements"
        pairs = zip(parts, others, strict=True)
        return [(left, right, f"a part of {place}") for left, right in pairs if isinstance(left, torch.Tensor)]

    def _arrays(self, expected: Any, found: Any, place: str) -> str | list[Pair]:
        if isinstance(expected, np.ndarray):
            expected = expected.astype(expected.dtype.newbyteorder("="))  # as NumPy's own pickles come back
        if (expected.dtype, expected.shape) != (found.dtype, found.shape):
            return f"{place} is {found.dtype} {found.shape}, not {expected.dtype} {expected.shape}"
        if expected.dtype.hasobject or expected.dtype.names is not None:  # what lies between fields is nobody's
            return [(expected.tolist(), found.tolist(), place)]
        if isinstance(expected, np.ma.MaskedArray) and not np.array_equal(np.ma.getmask(expected), found.mask):
            return f"{place} has another mask"
        if expected.flags.f_contiguous and not found.flags.f_contiguous:
            return f"{place} isn't in Fortran's order"
        if expected.dtype.kind == "f" and expected.dtype.itemsize == 16:  # six of its bytes are padding
            return [] if np.array_equal(expected, found) else f"{place} has other elements"
        return [] if expected.tobytes() == found.tobytes() else f"{place} has other elements"

    def _sets(self, expected: Any, found: Any, place: str) -> str | list[Pair]:
        rest = list(found)
        for left in expected:
            same = next((right for right in rest if difference(left, right) is None), rest)
            if same is rest:
                return f"{place} lacks {left!r}"
            rest.remove(same)
        return f"{place} has {len(rest)} more" if rest else []


def _tensor_parts(tensor: torch.Tensor) -> list[Any]:
    """What a tensor consists of: bytes, or other tensors."""
    if isinstance(tensor, Wrapped):
        return [tensor.inner]
    if tensor.is_meta or is_freed(tensor):
        return []  # there are no elements
    if tensor.is_mkldnn:
        return [elements(tensor.to_dense())]
    if tensor.is_nested:
        return [elements(part) for part in tensor.unbind()]
    if tensor.layout is torch.sparse_coo:
        return [tensor.is_coalesced(), elements(tensor._indices()), elements(tensor._values())]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [elements(part) for part in (tensor.crow_indices(), tensor.col_indices(), tensor.values())]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [elements(part) for part in (tensor.ccol_indices(), tensor.row_indices(), tensor.values())]
    if tensor.is_quantized:
        by_channel = tensor.qscheme() is torch.per_channel_affine
        scale = tensor.q_per_channel_scales() if by_channel else tensor.q_scale()
        zero = tensor.q_per_channel_zero_points() if by_channel else tensor.q_zero_point()
        return [
            elements(tensor.int_repr()),
            scale.tolist() if by_channel else scale,
            zero.tolist() if by_channel else zero,
        ]
    return [elements(tensor.as_subclass(torch.Tensor))]


def _parts(value: Any) -> list[Any]:
    """What a value consists of, in its own order."""
    match value:
        case torch.UntypedStorage():
            return [bytes(value.tolist())]
        case torch.TypedStorage():
            return [str(value.dtype), value.tolist()]
        case torch.Generator():
            return [value.get_state()]
        case torch.nn.Module() | torch.optim.Optimizer():
            return [value.state_dict()]
        case io.BytesIO():
            return [value.getvalue(), value.tell()]
        case random.Random():
            return [value.getstate()]
        case dict():
            return [part for pair in value.items() for part in pair] + _attributes(value)
        case list() | tuple():
            return [*value, *_attributes(value)]
        case _:
            return _reduced(value)


def _attributes(value: Any) -> list[Any]:
    """Of a container: its own, and what it makes of a missing key."""
    return [part for part in (getattr(value, "default_factory", None), getattr(value, "__dict__", None)) if part]


def _reduced(value: Any) -> list[Any]:
    """What a pickle would store."""
    reduced = value.__reduce_ex__(4)
    if isinstance(reduced, str):
        return [reduced]
    return [list(part) if number in (3, 4) else part for number, part in enumerate(reduced) if number < 2 or part]
