"""What an object's state may say: nothing that changes how the object is pickled or copied again."""

from __future__ import annotations

from ..errors import UnsupportedError
from .things import TENSOR, Bytes, Dict, Name, Storage, Tensor, Text

__all__ = ["check_attributes"]

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
    """UnsupportedError for a state that sets attributes which change how its object is pickled later, and for one of
    which that can't be told. Whatever has keys and values is taken for a dictionary of attributes, and so is each of a
    pair of such."""
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
