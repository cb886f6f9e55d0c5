"""Stand-ins for what numpy's pickles name, so that its scalars and arrays load without trusting the file.

numpy itself is no match for a hostile pickle: a dtype believes the fields and flags that it is given, and then takes
any bytes for pointers to objects. Here a dtype is a number, a time or a string, and an array has as many bytes as its
shape says. An object that is made here is pickled as what it stands for; what makes it can't be part of an object.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MADE_BY_NUMPY", "NUMPY_NAMES"]

_CODE = re.compile(r"[biufc][0-9]{1,2}|[mM]8|[SU][0-9]{1,9}")
_TIME_UNITS = {"Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"}


class _Dtype:
    """For numpy.dtype: called with a code and two flags, then given its state."""

    def __init__(self, code: object, *flags: object) -> None:
        if type(code) is not str or _CODE.fullmatch(code) is None:
            raise pickle.UnpicklingError("only numpy's numbers, times and strings are loaded")
        self.value: np.dtype[Any] = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, int(), int(), int(), *time):
                self.value = _with_unit(self.value, *time).newbyteorder(order)
            case _:
                raise pickle.UnpicklingError("only numpy's numbers, times and strings are loaded")

    def __reduce__(self) -> Any:
        return self.value.__reduce__()


def _with_unit(dtype: np.dtype[Any], time: Any = None) -> np.dtype[Any]:
    """numpy tells a time's unit behind the rest of the state, as ({}, (unit, how many, 1, 1))."""
    if time is None or dtype.kind not in "mM":
        return dtype
    _, (unit, count, _, _) = time
    unit = unit.decode() if type(unit) is bytes else unit
    if unit == "generic":
        return dtype
    if unit not in _TIME_UNITS or type(count) is not int or not 1 <= count < 1 << 31:
        raise pickle.UnpicklingError("a numpy time has an unknown unit")
    return np.dtype(f"{dtype.kind}8[{count}{unit}]")


class _Array:
    """For an array: made empty by numpy's `_reconstruct`, then given its state."""

    value: npt.NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if type(dtype) is not _Dtype or type(data) is not bytes or type(shape) is not tuple:
            raise pickle.UnpicklingError("only numpy arrays of numbers, times and strings are loaded")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise pickle.UnpicklingError("a numpy array has a wrong shape")
        if math.prod(shape) * dtype.value.itemsize != len(data):
            raise pickle.UnpicklingError("a numpy array hasn't the bytes that its shape needs")
        self.value = np.ndarray(shape, dtype.value, data, order="F" if fortran is True else "C")

    def __reduce__(self) -> Any:
        return self.value.__reduce__()


class _StandIn:
    """For a class or function, which may be called, or given to a call, and nothing else."""

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> object:
        return self._call(*arguments)

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("only numpy's numbers, times and strings are loaded")


def _reconstruct(cls: object, shape: object, code: object) -> _Array:
    return _Array()


def _scalar(dtype: object, data: object) -> Any:
    if type(dtype) is not _Dtype or type(data) is not bytes or not 0 < len(data) == dtype.value.itemsize:
        raise pickle.UnpicklingError("a numpy scalar hasn't the bytes that its dtype needs")
    return np.frombuffer(data, dtype.value)[0]


def _empty(*arguments: object) -> bytes:
    """For bytes, called without arguments: how pickles of torch write empty ones, those of empty arrays too."""
    if arguments:
        raise pickle.UnpicklingError("bytes are made of what isn't bytes")
    return b""


def _refuse(*arguments: object) -> object:
    """For numpy.ndarray, which `_reconstruct` gets."""
    raise pickle.UnpicklingError("arrays are made of a shape alone")


NUMPY_NAMES: dict[str, object] = {
    "numpy.dtype": _StandIn(_Dtype),
    "numpy.ndarray": _StandIn(_refuse),
    "builtins.bytes": _StandIn(_empty),
    **{
        f"numpy.{core}.multiarray.{name}": _StandIn(function)
        for core in ("core", "_core")  # of numpy 1 and 2
        for name, function in (("scalar", _scalar), ("_reconstruct", _reconstruct))
    },
}
"""What stands for each full name in a pickle."""

MADE_BY_NUMPY: dict[str, object] = {f"{__name__}.{cls.__name__}": cls for cls in (_Array, _Dtype)}
"""What no file names, but what these make, and what must be allowed to be given a state."""
