"""What an expression of a Python file can be worth."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    MODULE = 0  # file
    FOLDER = 1  # path: a package without __init__
    DEFINITION = 2  # file, definition: the class or function itself
    INSTANCE = 3  # file, definition: an instance of that class
    SUPER = 4  # file, definition: super() in a method of that class
    OUTSIDE = 5  # dotted name of what lies outside the repository
    MADE_OUTSIDE = 6  # dotted name of what gave it, by a call or as a type
    CONTAINER = 7  # of things
    ELEMENTS = 8  # a method of a container that gives one of its things


Thing = tuple[Any, ...]  # (Kind, ...) as said above
Things = tuple[Thing, ...]
NOTHING: Things = ()
