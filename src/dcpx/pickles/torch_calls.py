"""What a pickle of `torch.save` may call, and what of: torch's own functions believe whatever they are given.

`torch.load(weights_only=True)` calls them with any arguments. Some allocate what they are told to, some read beyond a
storage's end, and a sparse tensor's indices are looked at by nobody. Here every call is described by what it makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeAlias

import torch

from ..errors import CorruptError, UnsupportedError

__all__ = [
    "CALLS",
    "HASHED",
    "OTHER_CALLS",
    "PLAIN",
    "STORAGES",
    "TENSOR",
    "BeyondStorageError",
    "Bytes",
    "Call",
    "Dict",
    "Frozen",
    "Name",
    "Object",
    "Stateful",
    "Storage",
    "Tensor",
    "Text",
    "Walk",
    "Whole",
    "check_attributes",
    "is_constant",
]

TENSOR = object()
"""Stands for a tensor that is more than a view of a storage: of a class of its own, or with attributes."""

PLAIN = object()
"""Stands for anything else that nothing more needs to be known of."""

HASHED = object()
"""Stands for the same, where nobody can choose its hash."""


@dataclass(frozen=True)
class Name:
    """A class, a function or a constant: `full` is its module and name."""

    full: str


@dataclass(frozen=True)
class Storage:
    """A tensor's storage; `dtype` is None where it counts in bytes."""

    dtype: torch.dtype | None
    nbytes: int


@dataclass(frozen=True)
class Tensor:
    """A tensor that is nothing but a view of a storage."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    storage_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; more than the storage's where several share theirs."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def shares(self) -> bool:
        """Whether elements share their bytes, so that a few could stand for more than there is memory."""
        return self.nbytes > self.storage_bytes


@dataclass(frozen=True)
class Text:
    """A text too long to be made before it is needed, of so many characters."""

    size: int


@dataclass(frozen=True)
class Bytes:
    """Bytes, of this size; few of them are known."""

    size: int
    data: bytes | None = None


class Dict:
    """A dictionary of any kind, whose `parts` are the keys, each followed by its value. One of torch's own can't be
    given attributes."""

    __match_args__ = ("size",)
    __slots__ = ("attributes", "parts")

    def __init__(self, parts: Iterable[Any] = (), *, attributes: bool = True) -> None:
        self.parts: list[Any] = [*parts]
        self.attributes = attributes

    @property
    def size(self) -> int:
        """How many keys it has at most."""
        return len(self.parts) // 2


@dataclass(eq=False)
class Whole:
    """Something that is hashed, or compared, by its parts, and theirs: of how many levels, and how many parts, each
    counted as often as it occurs."""

    depth: int = 1
    weight: int = 1


class Object(Whole):
    """An object of a class that the caller allowed."""


class Frozen(Whole):
    """A frozenset."""


class Stateful(Protocol):
    """An object that isn't complete before it is given its state."""

    def build(self, walk: Walk, state: Any) -> None:
        """Take the state, once. UnsupportedError for one that isn't known to be harmless."""


class Walk(Protocol):
    """What a call may ask of the pickle that it stands in."""

    names: set[str]
    """What is named that the caller must have allowed."""

    sparse: bool
    """Set where a sparse tensor is made."""

    def spend(self, nbytes: int) -> None:
        """Take note of what is made. LimitError where it is too much in all."""

    def hash(self, keys: list[Any]) -> None:
        """Check what becomes the keys of a dictionary, or the members of a set."""

    def add_parts(self, whole: Whole, parts: Iterable[Any]) -> None:
        """Take note of what something consists of."""

    def attribute(self, name: Name, attribute: str) -> Name:
        """What is named as an attribute of a class."""

    def call(self, name: Name, arguments: tuple[Any, ...]) -> object:
        """What a call makes."""


Call: TypeAlias = Callable[[Walk, tuple[Any, ...]], object]

STORAGES: dict[str, torch.dtype | None] = {
    "torch.storage.UntypedStorage": None,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.BoolStorage": torch.bool,
    "torch.ByteStorage": torch.uint8,
    "torch.CharStorage": torch.int8,
    "torch.ComplexDoubleStorage": torch.complex128,
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.IntStorage": torch.int32,
    "torch.LongStorage": torch.int64,
    "torch.QInt32Storage": torch.qint32,
    "torch.QInt8Storage": torch.qint8,
    "torch.QUInt8Storage": torch.quint8,
    "torch.ShortStorage": torch.int16,
}
"""The classes of storages, and what their elements are."""

_FEW = 64
"""Bytes whose content is kept."""

_MAX_DIMENSIONS = 254
_END = 1 << 62
"""No size, stride or offset is as large."""

_TENSOR_CLASSES = {"torch.Tensor", "torch.nn.parameter.Parameter"}
_PER_TENSOR = {"torch.per_tensor_affine"}
_PER_CHANNEL = {"torch.per_channel_affine", "torch.per_channel_affine_float_qparams"}
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_WRAPPER = "torch._utils._rebuild_wrapper_subclass"


def _wrong(what: str) -> NoReturn:
    raise CorruptError(f"the pickle makes {what} of what can't be one")


def _other(what: str) -> NoReturn:
    """As of an object's class that reduces itself to a call of its own, with other arguments."""
    raise UnsupportedError(f"the pickle makes {what} in a way that isn't known")


def is_constant(name: str) -> bool:
    """Whether torch knows this name, of a class or a constant that can't be called, by itself."""
    return name in STORAGES or name in _TENSOR_CLASSES or _constant(name) is not None


def _constant(name: str) -> torch.dtype | torch.qscheme | None:
    found = vars(torch).get(name.removeprefix("torch.")) if name.startswith("torch.") else None
    return found if isinstance(found, (torch.dtype, torch.qscheme)) else None


# --- tensors ----------------------------------------------------------------------------------------------------------


class BeyondStorageError(ValueError):
    """A tensor has more elements than its storage: forged, or of memory that was freed before it was pickled."""


def _view(storage: Storage, dtype: torch.dtype, offset: int, size: tuple[Any, ...], stride: tuple[Any, ...]) -> Tensor:
    """The tensor, if it lies within its storage: torch would enlarge it, or read on behind it."""
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS or not all(type(number) is int for number in numbers):
        _wrong("a tensor")
    if not 0 <= min(numbers) <= max(numbers) < _END:
        _wrong("a tensor")
    end = 1 + offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if 0 not in size and end * dtype.itemsize > storage.nbytes:
        raise BeyondStorageError(f"a tensor of {end * dtype.itemsize} bytes in a storage of {storage.nbytes}")
    return Tensor(dtype, size, storage.nbytes)


def _tensor(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (Storage(torch.dtype() as dtype) as storage, int(offset), tuple(size), tuple(stride)):
            return _view(storage, dtype, offset, size, stride)
    _wrong("a tensor")


def _tensor_v2(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (_, _, _, _, bool(), Dict() | None, *marks) if _are_marks(marks):
            return _tensor(walk, arguments[:4])
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
            dtype = _constant(name)
            if isinstance(dtype, torch.dtype) and _are_marks(rest):
                return _view(storage, dtype, offset, size, stride)
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
            if type(made) is Tensor or not (another or cls in _TENSOR_CLASSES):
                _spend_state(walk, state)
                return TENSOR
    _wrong("a tensor")


def _spend_state(walk: Walk, state: object) -> None:
    check_attributes(state)
    for part in state if isinstance(state, tuple) else (state,):
        walk.spend(64 * part.size if type(part) is Dict else 0)


_LOOKED_FOR = {
    "__class__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__getstate__",
    "__module__",
    "__qualname__",
    "__reduce__",
    "__reduce_ex__",
}
"""Attributes that whoever pickles or copies an object looks for: they could name and import anything."""


_NO_ATTRIBUTES = (bool, int, float, complex, str, bytes, list, tuple, Bytes, Text, Name, Storage, Tensor)
"""Of a state: what a class may take in a `__setstate__` of its own, and nobody takes for a dictionary."""


def check_attributes(state: object) -> None:
    """UnsupportedError for a state that would change how its object is pickled, or of which that can't be seen: it is
    taken for a dictionary, or two, whatever has keys and values."""
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if type(part) is Dict:
            for name, value in zip(part.parts[::2], part.parts[1::2], strict=True):
                _check_attribute(name, value)
        elif part is not None and part is not TENSOR and not isinstance(part, _NO_ATTRIBUTES):
            raise UnsupportedError("an object's state is another object")


def _check_attribute(name: object, value: object) -> None:
    if isinstance(name, str):  # NumPy's texts, too
        if str(name) in _LOOKED_FOR:
            raise UnsupportedError(f"an object's state sets its {name}")
        if name.startswith("__") and type(value) is Dict:
            check_attributes(value)
    elif not (name is None or isinstance(name, _NO_ATTRIBUTES)) or type(name) is Text:
        raise UnsupportedError("an object's state has a key that isn't known")


def _quantized(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (
            Storage(torch.qint8 | torch.quint8 | torch.qint32 as dtype) as storage,
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
            walk.spend(32 * size[axis])
            return all(_is_row(row, size[axis]) for row in (scales, points))
    return False


def _is_row(row: object, count: int) -> bool:
    if type(row) is Tensor:
        return row.shape == (count,) and not row.shares and not row.dtype.is_complex
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
            walk.spend(128 * size)
            return Dict(counts.parts, attributes=False)
    _other("a counter")


def _set(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case () | ([],):
            return PLAIN
        case (list(members),):
            walk.spend(128 * len(members))
            walk.hash(members)
            return PLAIN
    _other("a set")


def _frozenset(walk: Walk, arguments: tuple[Any, ...]) -> object:
    _set(walk, arguments)
    made = Frozen()
    walk.add_parts(made, arguments[0] if arguments else ())
    return made


def _encode(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """Protocol 2 writes bytes as text."""
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            walk.spend(len(text))
            return Bytes(len(text), text.encode("latin1") if len(text) <= _FEW else None)
        case (Text(size), "latin1" | "latin-1"):
            walk.spend(size)
            return Bytes(size)
    _wrong("bytes")


def _bytearray(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case ():
            return PLAIN
        case (Bytes(size),):
            walk.spend(size)
            return PLAIN
    _encode(walk, arguments)
    return PLAIN


def _complex(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (int() | float(), int() | float()):
            return complex(*arguments)
    _wrong("a complex number")


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
