"""The body of a Python file as a small program of names: enough to tell what each name refers to, and nothing else.

Expressions are rows of parallel arrays, so that millions of them are held, stored and sent between processes cheaply.
An expression's operand is always an earlier row; row 0 is an unknown one.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import IntEnum


class Op(IntEnum):
    """What an expression is. ``first`` and ``name`` of its row mean:"""

    UNKNOWN = 0  # something that isn't followed
    NAME = 1  # first: the scope it stands in; name: its name
    ATTRIBUTE = 2  # first: the expression before the dot; name: the attribute
    CALL = 3  # first: what is called; second: its first argument
    ITEM = 4  # first: what is subscripted; second: what stands in the brackets, several as EITHER
    LITERAL = 5  # name: the built-in type: "str", "list"; second: its elements as EITHER
    EITHER = 6  # first, second: either expression (a or b, a if c else b, the parts of a tuple type)
    IMPORTED = 7  # first: the import, in Facts.imports; name: the imported name
    SUPER = 8  # first: the class, in Facts.definitions
    EXPORTED = 9  # first: the module's scope; name: a string in __all__
    TYPED = 10  # first: the type that it is said to have, by a cast


class Bound(IntEnum):
    """How a name got its value. ``Binding.what`` is:"""

    UNKNOWN = 0
    IMPORT = 1  # an import, in Facts.imports
    DEFINITION = 2  # a class or function, in Facts.definitions
    VALUE = 3  # an expression that was assigned
    ANNOTATION = 4  # an expression that says the type
    ELEMENT = 5  # an expression that was iterated over
    ENTERED = 6  # an expression that a with statement entered
    SELF = 7  # an instance of a class, in Facts.definitions
    CLASS = 8  # that class itself: the first parameter of a classmethod
    NARROWED = 9  # an expression that isinstance compares with; believed where nothing else says a type


@dataclass(slots=True)
class Binding:
    how: Bound
    what: int
    definition: int = -1  # the Definition that this binding makes, of a constant, variable or attribute


@dataclass(slots=True)
class Scope:
    """A module, class, function, lambda or comprehension. ``definition`` is the one that it is the body of, or the
    nearest around it."""

    kind: str
    parent: int
    definition: int
    names: dict[str, list[Binding]] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)  # global and nonlocal: the scope that is meant
    stars: list[int] = field(default_factory=list)  # imports of all names, in Facts.imports


@dataclass(slots=True)
class Function:
    scope: int
    returns: int = 0  # the annotation
    results: tuple[int, ...] = ()  # what return statements give
    kind: str = "function"  # "function", "method", "staticmethod", "classmethod", "property"
    generator: bool = False  # a call gives something to iterate over


@dataclass(slots=True)
class Class:
    scope: int
    bases: tuple[int, ...] = ()
    attributes: dict[str, list[Binding]] = field(default_factory=dict)  # self.name = ... in its methods


@dataclass(slots=True)
class Code:
    """``scopes[0]`` is the module. Lines count from 1, columns in characters from 0; ``within`` is the definition
    around an expression."""

    scopes: list[Scope] = field(default_factory=list)
    functions: dict[int, Function] = field(default_factory=dict)
    classes: dict[int, Class] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    op: bytearray = field(default_factory=bytearray)
    first: array[int] = field(default_factory=lambda: array("i"))
    second: array[int] = field(default_factory=lambda: array("i"))
    name: array[int] = field(default_factory=lambda: array("i"))
    line: array[int] = field(default_factory=lambda: array("i"))
    column: array[int] = field(default_factory=lambda: array("i"))
    within: array[int] = field(default_factory=lambda: array("i"))
