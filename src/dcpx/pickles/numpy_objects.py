"""What an object's pickle may make of NumPy: scalars, arrays and generators of random numbers.

NumPy itself is no match for a hostile pickle: a dtype believes the fields and flags that it is given, and then takes
any bytes for pointers to objects; a generator reads beyond its state. Here a dtype must be the one that NumPy itself
makes of its fields, an array has as many bytes as its shape says, and a generator's state is of its kind.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .calls import Call, Stateful, Walk
from .library_calls import attributes, refuse
from .things import PLAIN, Bytes, Dict, Name

__all__ = ["NUMPY_CALLS"]

# --- dtypes -----------------------------------------------------------------------------------------------------------

_CODE = re.compile(r"[biufc][0-9]{1,2}|[mM]8|[SUV][0-9]{1,9}|O8")
_TIME_UNITS = {"generic", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"}
_OBJECTS = np.dtype("O")
_ALIGNED = 0x80
_MAX_FIELDS = 1 << 16


@dataclass(eq=False)
class _Dtype(Stateful):
    """A dtype: the one that its code names, until it is given its state."""

    value: np.dtype[Any] | None
    complete: bool = False

    def build(self, walk: Walk, state: Any) -> None:
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, parts, names, fields, size, alignment, flags, *time) if (
                not self.complete
            ):
                try:
                    made = self._made(order, parts, names, fields, size, flags, *time)
                except (TypeError, ValueError):  # numpy's own, of what isn't a dtype
                    refuse("a NumPy dtype")
            case _:
                refuse("a NumPy dtype")
        # NumPy believes these numbers: they must be its own.
        if made.__reduce__()[2][5:8] != (size, alignment, flags):
            refuse("a NumPy dtype")
        self.value, self.complete = made, True

    def _made(
        self, order: Any, parts: Any, names: Any, fields: Any, size: Any, flags: Any, time: Any = None
    ) -> np.dtype[Any]:
        match parts, names, fields:
            case None, None, None if self.value is not None:
                ordered: np.dtype[Any] = _with_unit(self.value, time).newbyteorder(order)
                return ordered
            case (_Dtype(base, True), tuple(shape)), None, None if all(type(count) is int for count in shape):
                return np.dtype((base, shape))
            case None, tuple(), Dict() if type(size) is int and type(flags) is int:
                layout: Any = _fields(names, fields) | {"itemsize": size}
                made = np.dtype(layout, align=bool(flags & _ALIGNED))
                return made if self.value is not None else np.dtype((np.record, made))
        refuse("a NumPy dtype")


def _fields(names: tuple[Any, ...], fields: Dict) -> dict[str, Any]:
    """A structure's fields as `numpy.dtype` takes them."""
    found = dict(zip(fields.parts[::2], fields.parts[1::2], strict=True))
    if not len(found) == len(names) == len(fields.parts) // 2 <= _MAX_FIELDS:
        refuse("a NumPy dtype")
    formats, offsets = [], []
    for name in names:
        match name, found.get(name):
            case str(), (_Dtype(np.dtype() as dtype, True), int(offset)) if not dtype.hasobject:
                formats.append(dtype)
                offsets.append(offset)
            case _:
                refuse("a NumPy dtype")
    return {"names": list(names), "formats": formats, "offsets": offsets}


def _with_unit(dtype: np.dtype[Any], time: Any) -> np.dtype[Any]:
    """NumPy tells a time's unit behind the rest of the state, as ({}, (unit, how many, 1, 1))."""
    if dtype.kind not in "mM" or time is None:
        return dtype
    match time:
        case (_, (Bytes(_, bytes(unit)), int(count), 1, 1)) if unit.decode("latin1") in _TIME_UNITS:
            if unit == b"generic":
                return dtype
            if 1 <= count < 1 << 31:
                return np.dtype(f"{dtype.kind}8[{count}{unit.decode()}]")
    refuse("a unit of time")


def _dtype(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (str(code), False, True) if _CODE.fullmatch(code):  # a copy: its state is its own
            try:
                return _Dtype(np.dtype(code))
            except TypeError:
                refuse(f"the dtype {code!r}")
        case (Name("numpy.record"), False, True):
            return _Dtype(None)
    refuse("a NumPy dtype")


# --- arrays -----------------------------------------------------------------------------------------------------------

_ARRAYS = {"numpy.ndarray", "numpy.matrix", "numpy.memmap", "numpy.recarray", "numpy.rec.recarray"}


@dataclass(eq=False)
class _Array(Stateful):
    """An array: empty, until it is given its state."""

    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()

    def build(self, walk: Walk, state: Any) -> None:
        match state:
            case (int(), tuple(shape), _Dtype(np.dtype() as dtype, True), bool(), content) if self.dtype is None:
                self._check(shape, dtype, content)
                walk.account.spend(math.prod(shape) * dtype.itemsize)
                self.dtype, self.shape = dtype, shape
            case _:
                refuse("a NumPy array")

    def _check(self, shape: tuple[Any, ...], dtype: np.dtype[Any], content: object) -> None:
        if not all(type(size) is int and size >= 0 for size in shape):
            refuse("a NumPy array")
        count = math.prod(shape)
        if dtype == _OBJECTS:
            right = type(content) is list and len(content) == count
        else:
            right = type(content) is Bytes and not dtype.hasobject and content.size == count * dtype.itemsize
        if not right:
            refuse("a NumPy array that hasn't the bytes that its shape needs")

    def is_a(self, dtype: str, *shape: int) -> bool:
        return self.dtype == dtype and self.shape == shape


class _Masked(_Array):
    """An array with a mask of its own, and what stands for the masked elements."""

    def build(self, walk: Walk, state: Any) -> None:
        match state:
            case (int(), tuple(shape), _Dtype(np.dtype() as dtype, True), bool(), Bytes(), Bytes(masked), fill):
                super().build(walk, (*state[:4], state[4]))
                if masked != math.prod(shape) * np.ma.make_mask_descr(dtype).itemsize:
                    refuse("a NumPy array's mask")
                if not (fill is None or isinstance(fill, (bool, int, float, complex, str, Bytes, np.generic, _Array))):
                    refuse("a NumPy array's mask")
            case _:
                refuse("a masked NumPy array")


def _reconstruct(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (Name(cls), (0,), Bytes(1) | "b") if cls in _ARRAYS:
            return _Array()
    refuse("a NumPy array")


def _masked(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (Name("numpy.ma.MaskedArray" | "numpy.ma.core.MaskedArray"), Name("numpy.ndarray"), (0,), "b" | Bytes(1)):
            return _Masked()
    refuse("a masked NumPy array")


def _scalar(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (_Dtype(np.dtype() as dtype, True), Bytes(size, data)) if 0 < size == dtype.itemsize:
            if not dtype.hasobject:
                return PLAIN if data is None or dtype.kind == "V" else np.frombuffer(data, dtype)[0]
    refuse("a NumPy scalar that hasn't the bytes that its dtype needs")


# --- random numbers ---------------------------------------------------------------------------------------------------

_UINT32, _UINT64, _UINT128 = 1 << 32, 1 << 64, 1 << 128
_GENERATORS = {"MT19937": "_mt19937", "PCG64": "_pcg64", "PCG64DXSM": "_pcg64", "Philox": "_philox", "SFC64": "_sfc64"}
_GENERATOR_NAMES = {f"numpy.random.{module}.{kind}": kind for kind, module in _GENERATORS.items()}


def _below(number: object, end: int) -> bool:
    return type(number) is int and 0 <= number < end


def _is_state(kind: str, found: dict[str, Any]) -> bool:
    """Whether this is a generator's whole state: it reads where the state says."""
    inner = found.get("state")
    if found.get("bit_generator") != kind or type(inner) is not Dict:
        return False
    state = attributes(inner)
    if kind != "MT19937" and not (_below(found.get("has_uint32"), 2) and _below(found.get("uinteger"), _UINT32)):
        return False
    match kind, state:
        case "MT19937", {"key": _Array() as key, "pos": position}:
            return key.is_a("u4", 624) and _below(position, 625)
        case (("PCG64" | "PCG64DXSM"), {"state": number, "inc": step}):
            return _below(number, _UINT128) and _below(step, _UINT128)
        case "SFC64", {"state": _Array() as words}:
            return words.is_a("u8", 4)
        case "Philox", {"counter": _Array() as counter, "key": _Array() as key}:
            buffer = found.get("buffer")
            filled = type(buffer) is _Array and buffer.is_a("u8", 4) and _below(found.get("buffer_pos"), 5)
            return filled and counter.is_a("u8", 4) and key.is_a("u8", 2)
    return False


@dataclass(eq=False)
class _BitGenerator(Stateful):
    kind: str
    complete: bool = False

    def build(self, walk: Walk, state: Any) -> None:
        match state:
            case Dict() as found, _Seeds(True) | None:
                pass
            case Dict() as found:
                pass
            case _:
                refuse("a NumPy generator")
        if self.complete or not _is_state(self.kind, attributes(found)):
            refuse("a NumPy generator")
        self.complete = True


@dataclass(eq=False)
class _Seeds(Stateful):
    """A SeedSequence."""

    complete: bool = False

    def build(self, walk: Walk, state: Any) -> None:
        match state:
            case (entropy, int(spawned), _Array() as pool, int(size), tuple(key)) if not self.complete:
                numbers = entropy if isinstance(entropy, (list, tuple)) else [entropy]
                whole = all(number is None or type(number) is int for number in (*numbers, *key))
                if whole and 4 <= size < 1 << 16 and pool.is_a("u4", size) and spawned >= 0:
                    self.complete = True
                    return
        refuse("a NumPy SeedSequence")


@dataclass(eq=False)
class _RandomState(Stateful):
    """NumPy's older generator, or one of its newer ones, which is complete without a state of its own."""

    bits: _BitGenerator
    legacy: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)

    def build(self, walk: Walk, state: Any) -> None:
        found = attributes(state)
        right = _below(found.get("has_gauss"), 2) and type(found.get("gauss")) is float
        if not (self.legacy and right and _is_state(self.bits.kind, found)):
            refuse("a NumPy RandomState")


def _bit_generator(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (Name(name),) if name in _GENERATOR_NAMES:
            return _BitGenerator(_GENERATOR_NAMES[name])
        case (str(kind),) if kind in _GENERATORS:
            return _BitGenerator(kind)
    refuse("a NumPy generator")


def _generator(legacy: bool) -> Call:
    def make(walk: Walk, arguments: tuple[Any, ...]) -> object:
        match arguments:
            case (_BitGenerator(complete=True) as bits,):
                return _RandomState(bits, legacy)
        refuse("a NumPy generator")

    return make


def _seeds(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (Name("numpy.random.bit_generator.SeedSequence"), int(), None):
            return _Seeds()
    refuse("a NumPy SeedSequence")


# --- all of them ------------------------------------------------------------------------------------------------------

_SCALARS = {value.__name__ for value in vars(np).values() if isinstance(value, type) and issubclass(value, np.generic)}

NUMPY_CALLS: dict[str, Call | None] = {
    **{f"numpy.{name}": None for name in _SCALARS},
    **dict.fromkeys(_ARRAYS),
    **dict.fromkeys(_GENERATOR_NAMES),
    "numpy.random.bit_generator.SeedSequence": None,
    "numpy.ma.MaskedArray": None,
    "numpy.ma.core.MaskedArray": None,
    "numpy.dtype": _dtype,
    "numpy.ma.core._mareconstruct": _masked,
    "numpy.random._pickle.__bit_generator_ctor": _bit_generator,
    "numpy.random._pickle.__generator_ctor": _generator(legacy=False),
    "numpy.random._pickle.__randomstate_ctor": _generator(legacy=True),
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence": _seeds,
    **{
        f"numpy.{core}.multiarray.{name}": call
        for core in ("core", "_core")  # of numpy 1 and 2
        for name, call in (("scalar", _scalar), ("_reconstruct", _reconstruct))
    },
}
"""What is made by each call, by full name; None for a class that may be named only."""
