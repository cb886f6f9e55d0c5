"""Unpickling with nothing but what is allowed: the names of a table, and classes that the caller named.

What is unpickled here has been foreseen (`pickles.torch_pickle`): every call is one of those that `torch_calls`,
`library_calls` and `numpy_objects` describe, of arguments that they let pass. No name is looked for anywhere but in
these tables.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import torch

from ..pickles.library_calls import REPLACED
from ..pickles.names import allowed_name, python3_name
from ..pickles.objects import known_name

__all__ = ["load_restricted"]


def load_restricted(content: bytes, allowed: Mapping[str, object]) -> object:
    """The object in a container, made of what everybody's objects may name, and what is `allowed`."""

    class Unpickler(_Unpickler):
        pass

    Unpickler.allowed = allowed
    return torch.load(io.BytesIO(content), weights_only=False, pickle_module=_Module(Unpickler), mmap=False)


class _Module:
    """What torch takes for the module `pickle`."""

    __name__ = "pickle"

    def __init__(self, unpickler: type[pickle.Unpickler]) -> None:
        self.Unpickler = unpickler
        self.load = pickle.load  # asked for, and called for older formats only


class _Unpickler(pickle.Unpickler):
    allowed: Mapping[str, object]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._found: dict[int, tuple[str, object]] = {}  # what was found, with its name, by its id

    def find_class(self, module: str, name: str) -> Any:
        full = python3_name(module, name)
        if full == "builtins.getattr":
            return self._attribute
        if full in self.allowed:
            found = self.allowed[full]
        elif full in REPLACED:
            found = REPLACED[full]
        elif known_name(full):
            found = _only_called(super().find_class(module, name), full)
        else:
            found = _NotAllowed(module, name)
        self._found[id(found)] = full, found
        return found

    def _attribute(self, outer: object, attribute: str) -> Any:
        full = f"{self._found[id(outer)][0]}.{attribute}"
        if full in self.allowed:
            found = self.allowed[full]
        elif known_name(full) and isinstance(outer, _NotAllowed):
            found = _only_called(getattr(super().find_class(outer.module, outer.name), attribute), full)
        elif allowed_name(full, self.allowed):
            found = getattr(outer, attribute)
        else:
            raise pickle.UnpicklingError(f"{full} isn't allowed")
        self._found[id(found)] = full, found
        return found


def _only_called(found: Any, name: str) -> Any:
    return _Function(found, name) if callable(found) and not isinstance(found, type) else found


class _Function:
    """A function that may be called, and nothing else: it is no data."""

    def __init__(self, function: Any, name: str) -> None:
        self._function = function
        self._name = name

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)

    def __reduce__(self) -> Any:
        raise pickle.PicklingError(f"it holds the function {self._name}")


class _NotAllowed:
    """A class that may be named for what lies in it only."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __reduce__(self) -> Any:
        raise pickle.PicklingError(f"it holds {python3_name(self.module, self.name)}, which isn't allowed")
