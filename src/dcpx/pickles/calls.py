"""What a call in a pickle is here: a function that judges the arguments, and returns what the call would make.

`torch_calls`, `library_calls` and `numpy_objects` have the tables of those that are known, by full name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from .account import Account
from .things import Name

__all__ = ["Call", "Stateful", "Walk"]


class Walk(Protocol):
    """What a call may ask of the pickle that it stands in."""

    account: Account
    """Takes note of what is made, and of what is hashed."""

    names: set[str]
    """What is named that the caller must have allowed."""

    sparse: bool
    """Set where a sparse tensor is made."""

    def attribute(self, name: Name, attribute: str) -> Name:
        """What is named as an attribute of a class."""

    def call(self, function: Name, arguments: tuple[Any, ...]) -> object:
        """What a call makes."""


Call: TypeAlias = Callable[[Walk, tuple[Any, ...]], object]
"""Given the arguments as the things that they were foreseen to be, it returns what is made of them. CorruptError,
UnsupportedError or LimitError for what isn't known to be harmless."""


class Stateful(ABC):
    """An object that isn't complete before it is given its state."""

    @abstractmethod
    def build(self, walk: Walk, state: Any) -> None:
        """Take the state, once. UnsupportedError for one that isn't known to be harmless."""
