"""What a pickle of `torch.save` may call, and what of: torch's own functions believe whatever they are given.

`torch.load(weights_only=True)` calls them with any arguments. Some allocate what they are told to, some read beyond a
storage's end, and a sparse tensor's indices are looked at by nobody. Here every call is described by what it makes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NoReturn

from ..errors import CorruptError, UnsupportedError
from .calls import Call, Walk
from .constants import ITEM_SIZES, TENSOR_CLASSES, dtype_named, is_complex
from .names import shown
from .states import check_attributes
from .things import HASHED, PLAIN, TENSOR, Bytes, Dict, Frozen, Name, Storage, Tensor, Text

__all__ = ["CALLS", "OTHER_CALLS", "TORCH_CALLS", "BeyondStorageError"]

_FEW = 64
"""Bytes whose content is kept."""

_MAX_DIMENSIONS = 254
_END = 1 << 62
"""No size, stride or offset is as large."""

_NEWER = "Upgrade dcpx if a newer torch wrote it"

_PER_TENSOR = {"torch.per_tensor_affine"}
_PER_CHANNEL = {"torch.per_channel_affine", "torch.per_channel_affine_float_qparams"}
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_WRAPPER = "torch._utils._rebuild_wrapper_subclass"


def _wrong(what: str) -> NoReturn:
    raise CorruptError(f"the pickle makes {what} of what can't be one")


def _other(what: str) -> NoReturn:
    """As of an object's class that reduces itself to a call of its own, with other arguments."""
    raise UnsupportedError(f"the pickle makes {what} in a way that isn't known")


# --- tensors ----------------------------------------------------------------------------------------------------------


class BeyondStorageError(ValueError):
    """A tensor has more elements than its storage: forged, or of memory that was freed before it was pickled."""


def _view(storage: Storage, dtype: str, offset: int, size: tuple[Any, ...], stride: tuple[Any, ...]) -> Tensor:
    """The tensor, if it lies within its storage: torch would enlarge it, or read on behind it."""
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS or not all(type(number) is int for number in numbers):
        _wrong("a tensor")
    if not 0 <= min(numbers) <= max(numbers) < _END:
        _wrong("a tensor")
    end = 1 + offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if 0 not in size and end * ITEM_SIZES[dtype] > storage.nbytes:
        raise BeyondStorageError(f"a tensor of {end * ITEM_SIZES[dtype]} bytes in a storage of {storage.nbytes}")
    return Tensor(dtype, size, storage, offset, stride)


def _tensor(walk: Walk, arguments: tuple[Any, ...]) -> Tensor:
    match arguments:
        case (Storage(str(dtype)) as storage, int(offset), tuple(size), tuple(stride)):
            return _view(storage, dtype, offset, size, stride)
    _wrong("a tensor")


def _tensor_v2(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (_, _, _, _, bool(), Dict() | None, *marks) if _are_marks(marks):
            return _marked(_tensor(walk, arguments[:4]), marks)
    _wrong("a tensor")


def _are_marks(marks: list[Any]) -> bool:
    """Whether these are the marks of a tensor, if any. torch ignores one that it doesn't know, and the elements would
    be others than those that were meant."""
    if len(marks) != 1:
        return not marks
    if type(marks[0]) is Dict and not all(
        name in ("conj", "neg") and type(value) is bool
        for name, value in zip(marks[0].parts[::2], marks[0].parts[1::2], strict=True)
    ):
        _other("a tensor with marks")
    return type(marks[0]) is Dict


def _marked(tensor: Tensor, marks: list[Any]) -> Tensor:
    pairs = (pair for one in marks for pair in zip(one.parts[::2], one.parts[1::2], strict=True))
    return replace(tensor, marks=tuple(name for name, value in pairs if value))


def _tensor_v3(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (
            Storage(None) as storage,
            int(offset),
            tuple(size),
            tuple(stride),
            bool(),
            Dict() | None,
            Name(name),
            *rest,
        ):
            dtype = dtype_named(name)
            if dtype is None and name in walk.names and name.startswith("torch."):
                raise UnsupportedError(f"the elements are of a dtype that isn't known, {shown(name)}", remedy=_NEWER)
            if dtype is not None and _are_marks(rest):
                return _marked(_view(storage, dtype, offset, size, stride), rest)
    _wrong("a tensor")


def _parameter(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (data, bool(), Dict() | None) if type(data) is Tensor or data in (TENSOR, PLAIN):
            return data
    _wrong("a parameter")


def _parameter_with_state(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (*plain, state):
            _parameter(walk, tuple(plain))
            _spend_state(walk, state)
            return TENSOR
    _wrong("a parameter")


def _from_type(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """A tensor of a class, or with attributes, which may change what it is."""
    match arguments:
        case (Name(function) as name, Name(cls) as class_name, tuple(inner), state):
            made = walk.call(name, inner)
            # What has no storage must not become a tensor that seems to have one.
            another = function == _FROM_TYPE or (function == _WRAPPER and inner[:1] != (class_name,))
            if type(made) is Tensor or not (another or cls in TENSOR_CLASSES):
                _spend_state(walk, state)
                return TENSOR
    _wrong("a tensor")


def _spend_state(walk: Walk, state: object) -> None:
    check_attributes(state)
    for part in state if isinstance(state, tuple) else (state,):
        walk.account.spend(64 * part.size if type(part) is Dict else 0)


def _quantized(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (
            Storage("qint8" | "quint8" | "qint32" as dtype) as storage,
            int(offset),
            tuple(size),
            tuple(stride),
            tuple(scheme),
            bool(),
            Dict() | None,
        ):
            tensor = _view(storage, dtype, offset, size, stride)
            if not tensor.shares and _is_scheme(walk, scheme, size):
                return tensor
    _wrong("a quantized tensor")


def _is_scheme(walk: Walk, scheme: tuple[Any, ...], size: tuple[int, ...]) -> bool:
    match scheme:
        case (Name(name), float() | int(), int()):
            return name in _PER_TENSOR
        case (Name(name), scales, points, int(axis)) if name in _PER_CHANNEL and 0 <= axis < len(size):
            walk.account.spend(32 * size[axis])
            return all(_is_row(row, size[axis]) for row in (scales, points))
    return False


def _is_row(row: object, count: int) -> bool:
    if type(row) is Tensor:
        return row.shape == (count,) and not row.shares and not is_complex(row.dtype)
    return type(row) is list and len(row) == count and all(type(number) in (int, float) for number in row)


def _sparse(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """Whether its indices are right is for torch to check, which is asked to where this was seen."""
    match arguments:
        case (_, (*parts, tuple(size))) | (_, (*parts, tuple(size), bool())):
            tensors = all(type(part) is Tensor and not part.shares for part in parts)
            if len(parts) in (2, 3) and tensors and _is_size(size):
                walk.sparse = True
                return PLAIN
    _wrong("a sparse tensor")


def _meta(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """A tensor without elements."""
    return PLAIN


def _wrapper(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """A tensor of a class that holds its elements in attributes."""
    return TENSOR


# --- other things ----------------------------------------------------------------------------------------------------


def _is_size(size: tuple[Any, ...] | list[Any]) -> bool:
    return len(size) <= _MAX_DIMENSIONS and all(type(number) is int and 0 <= number < _END for number in size)


def _size(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (tuple(size) | list(size),) if _is_size(size):
            return tuple(size)
    _wrong("a size")


def _device(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (str(),) | (str(), int()):
            return PLAIN
    _wrong("a device")


def _layout(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (str(),):
            return PLAIN
    _wrong("a layout")


def _ordered(walk: Walk, arguments: tuple[Any, ...]) -> object:
    if arguments:
        _other("a dictionary")
    return Dict()


def _counter(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case ():
            return Dict(attributes=False)
        case (Dict(size) as counts,):
            walk.account.spend(128 * size)
            return Dict(counts.parts, attributes=False)
    _other("a counter")


def _set(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case () | ([],):
            return PLAIN
        case (list(members),):
            walk.account.spend(128 * len(members))
            walk.account.hash(members)
            return PLAIN
    _other("a set")


def _frozenset(walk: Walk, arguments: tuple[Any, ...]) -> object:
    _set(walk, arguments)
    made = Frozen()
    made.add(arguments[0] if arguments else ())
    return made


def _encode(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """Protocol 2 writes bytes as text."""
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            walk.account.spend(len(text))
            return Bytes(len(text), text.encode("latin1") if len(text) <= _FEW else None)
        case (Text(size), "latin1" | "latin-1"):
            walk.account.spend(size)
            return Bytes(size)
    _wrong("bytes")


def _bytearray(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case ():
            return PLAIN
        case (Bytes(size),):
            walk.account.spend(size)
            return PLAIN
    _encode(walk, arguments)
    return PLAIN


def _complex(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (int() | float(), int() | float()):
            return complex(*arguments)
    _wrong("a complex number")


_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,64}")


def _version(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """A text of a class of torch's, as which `torch.__version__` is saved."""
    match arguments:
        case (str(text),) if _VERSION.fullmatch(text):
            walk.account.spend(2 * len(text))
            return HASHED
    _other("a version")


CALLS: dict[str, Call] = {
    "_codecs.encode": _encode,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "builtins.set": _set,
    "collections.Counter": _counter,
    "collections.OrderedDict": _ordered,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
    _FROM_TYPE: _from_type,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    _WRAPPER: _wrapper,
}
"""What torch lets a pickle call, by full name."""

OTHER_CALLS: dict[str, Call] = {"builtins.frozenset": _frozenset}
"""The same, of what torch has to be told to allow."""

TORCH_CALLS: dict[str, Call] = {"torch.torch_version.TorchVersion": _version}
"""The same, of what only an object may be made of."""
