"""What an object's pickle may make of the standard library: values that hold data and can run nothing.

Each call is described by what it makes, as in `torch_calls`. Small values are made at once: their hashes are theirs.
What would take time or memory that its size says nothing of, such as a fraction of 10 ** 999999999, is refused, and so
is whatever isn't data: a function that is only named, an attribute that Python itself would call.
"""

from __future__ import annotations

import array
import builtins
import datetime
import decimal
import fractions
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import UnsupportedError
from .calls import Call, Stateful, Walk
from .paths import PATHS
from .things import HASHED, PLAIN, Bytes, Deque, Dict, Name, Object, Text

__all__ = ["LIBRARY_CALLS", "REPLACED", "attributes", "refuse"]


def refuse(what: str) -> NoReturn:
    raise UnsupportedError(f"{what} isn't one of the kinds that are known to run nothing")


def attributes(state: object) -> dict[str, Any]:
    """An object's attributes by their names, none of which Python itself would look for."""
    if type(state) is not Dict:
        refuse("an object's state")
    names = state.parts[::2]
    if not all(type(name) is str and not name.startswith("__") for name in names):
        refuse("an object's attribute")
    return dict(zip(names, state.parts[1::2], strict=True))


# --- values -----------------------------------------------------------------------------------------------------------

_MAX_BITS = 1 << 16
"""Of a fraction's numbers, whose common divisor is looked for."""

_RATIO = re.compile(r"-?[0-9]{1,4300}(?:/[0-9]{1,4300})?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]*\.?[0-9]*(?:E[+-]?[0-9]{1,19})?|s?NaN[0-9]*|Infinity)")
_ADDRESS = re.compile(r"[0-9a-fA-F.:/]{1,64}(?:%[\w.-]{1,64})?(?:/[0-9]{1,3})?")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,3}")
"""A time zone's name, which is looked for as a file: it can't lead out of the folder of zones."""


def _made(function: Callable[..., Any], *arguments: object) -> Any:
    try:
        return function(*arguments)
    except (ArithmeticError, TypeError, ValueError):
        refuse(f"a {function.__name__}")


def _decimal(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (str(text),) if _NUMBER.fullmatch(text):
            walk.account.spend(len(text))
            return _made(decimal.Decimal, text)
    refuse("a Decimal")


def _fraction(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (str(text),) if _RATIO.fullmatch(text):
            numbers = [int(part) for part in text.split("/")]
        case (int(above), int(below)):
            numbers = [above, below]
        case _:
            refuse("a Fraction")
    bits = max(number.bit_length() for number in numbers)
    if bits > _MAX_BITS:
        refuse("a Fraction")
    walk.account.spend((bits // 32) ** 2)  # so much time it takes
    return _made(fractions.Fraction, *numbers) if 0 not in numbers[1:] else refuse("a Fraction")


def _range(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (int(begin), int(end), int(step)) if step:
            return range(begin, end, step)
    refuse("a range")


def _slice(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (_, _, _) if all(part is None or type(part) in (bool, int, float, str) for part in arguments):
            return PLAIN
    refuse("a slice")


def _type(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """For the types that have no name."""
    match arguments:
        case (None | Name("builtins.Ellipsis" | "builtins.NotImplemented"),):
            return PLAIN
    refuse("a type")


def _address(cls: Callable[..., Any]) -> Call:
    def make(walk: Walk, arguments: tuple[Any, ...]) -> object:
        match arguments:
            case (int(),):
                return _made(cls, *arguments)
            case (str(text),) if _ADDRESS.fullmatch(text):
                return _made(cls, text)
        refuse(f"an {cls.__name__}")

    return make


def _time(cls: Callable[..., Any]) -> Call:
    """Dates and times are written as a few bytes, the others as numbers, and may have a time zone."""

    def make(walk: Walk, arguments: tuple[Any, ...]) -> object:
        for part in arguments:
            if not (part is HASHED or type(part) in (Bytes, bool, int, float, str, datetime.timedelta)):
                refuse(f"a {cls.__name__}")
        if cls is datetime.timedelta:
            return _made(cls, *arguments)
        return HASHED

    return make


def _zone(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (str(key), int()) if _ZONE.fullmatch(key):
            return HASHED
    refuse("a ZoneInfo")


def _path(walk: Walk, arguments: tuple[Any, ...]) -> object:
    if not all(type(part) is str for part in arguments):
        refuse("a path")
    walk.account.spend(sum(map(len, arguments)))
    return HASHED


def _named_tuple(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (tuple(parts), Dict() as more):
            values = [*parts, *attributes(more).values()]
            if all(value is None or type(value) in (int, float, str) for value in values):
                walk.account.spend(64 * len(values))
                return PLAIN
    refuse("a tuple with names")


def _empty(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """For bytes, called without arguments: how protocol 2 writes empty ones."""
    if arguments:
        refuse("bytes made of what isn't bytes")
    return Bytes(0, b"")


# --- containers -------------------------------------------------------------------------------------------------------


def _deque(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case () | ((),) | ((), None):
            return Deque()
        case ((), int(most)) if most >= 0:
            return Deque()
    refuse("a deque")


_FACTORIES = {"bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"}
_FACTORY_NAMES = {f"builtins.{name}" for name in _FACTORIES} | {
    f"collections.{name}" for name in ("Counter", "OrderedDict", "deque")
}


def _defaultdict(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case () | (None,):
            return Dict(attributes=False)
        case (Name(factory),) if factory in _FACTORY_NAMES or factory in walk.names:
            return Dict(attributes=False)
        case (Object(),):
            return Dict(attributes=False)
    refuse("a defaultdict with this factory")


def _array(walk: Walk, arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (str(code), list(numbers)) if code in array.typecodes:
            kind = str if code in "uw" else (int, float)
            if all(isinstance(number, kind) for number in numbers):
                walk.account.spend(8 * len(numbers))
                return PLAIN
    refuse("an array")


@dataclass(eq=False)
class _Attributes(Stateful):
    """An object that is nothing but attributes."""

    complete: bool = False

    def build(self, walk: Walk, state: Any) -> None:
        if self.complete:
            refuse("an object with two states")
        self.take(attributes(state))
        self.complete = True

    def take(self, found: dict[str, Any]) -> None:
        pass


class _Uuid(_Attributes):
    number: int | None = None

    def take(self, found: dict[str, Any]) -> None:
        match found:
            case {"int": int(number), **rest} if 0 <= number < 1 << 128:
                if rest.keys() <= {"is_safe"} and rest.get("is_safe", 0) in (0, -1, None):
                    self.number = number
                    return
        refuse("a UUID")

    def __eq__(self, other: object) -> bool:
        return type(other) is _Uuid and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


class _UserText(_Attributes):
    """A UserString, which is hashed by its text."""

    def take(self, found: dict[str, Any]) -> None:
        match found:
            case {"data": str() | Text()}:
                return
        refuse("a UserString")


class _Stream(_Attributes):
    """BytesIO or StringIO: the content, the position and, between them, how a StringIO's lines end."""

    def build(self, walk: Walk, state: Any) -> None:
        match state:
            case (Bytes() | Text() | str() as content, int(position), more):
                pass
            case (Text() | str() as content, None | "" | "\n" | "\r" | "\r\n", int(position), more):
                pass
            case _:
                refuse("a stream")
        size = len(content) if isinstance(content, str) else content.size
        # Writing behind the end would fill all that lies between.
        if not 0 <= position <= size:
            refuse("a stream")
        walk.account.spend(size)
        super().build(walk, Dict() if more is None else more)


def _of(cls: type[_Attributes], text: bool = False) -> Call:
    def make(walk: Walk, arguments: tuple[Any, ...]) -> object:
        match arguments:
            case ():
                return cls()
            case (str(),) if text:
                return cls()
        refuse("an object with arguments")

    return make


class _Exception(_Attributes):
    """What was raised, which holds its arguments."""


def _exception(walk: Walk, arguments: tuple[Any, ...]) -> object:
    walk.account.spend(64 * len(arguments))
    return _Exception()


def _attribute(walk: Walk, arguments: tuple[Any, ...]) -> object:
    """How protocol 2 names what lies in a class: `getattr(Outer, "Inner")`."""
    match arguments:
        case (Name() as name, str(attribute)):
            return walk.attribute(name, attribute)
    refuse("an attribute of an object")


# --- all of them ------------------------------------------------------------------------------------------------------

_ADDRESSES = [
    getattr(ipaddress, f"IPv{version}{kind}") for version in (4, 6) for kind in ("Address", "Network", "Interface")
]
_TIMES = [datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone]
_EXCEPTIONS = [
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
]

LIBRARY_CALLS: dict[str, Call | None] = {
    **{f"builtins.{name}": None for name in _FACTORIES | {"object", "Ellipsis", "NotImplemented"}},
    **{f"builtins.{name}": _exception for name in _EXCEPTIONS},
    "_io.BytesIO": _of(_Stream),
    "_io.StringIO": _of(_Stream),
    "argparse.Namespace": _of(_Attributes),
    "array.array": _array,
    "builtins.bytes": _empty,
    "builtins.getattr": _attribute,
    "builtins.range": _range,
    "builtins.slice": _slice,
    "builtins.type": _type,
    "collections.ChainMap": _of(_Attributes),
    "collections.UserDict": _of(_Attributes),
    "collections.UserList": _of(_Attributes),
    "collections.UserString": _of(_UserText, text=True),
    "collections.defaultdict": _defaultdict,
    "collections.deque": _deque,
    **{f"datetime.{cls.__name__}": _time(cls) for cls in _TIMES},
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _fraction,
    **{f"ipaddress.{cls.__name__}": _address(cls) for cls in _ADDRESSES},
    "os.stat_result": _named_tuple,
    **{f"{module}.{name}": _path for name in PATHS for module in ("pathlib", "pathlib._local")},
    "time.struct_time": _named_tuple,
    "types.SimpleNamespace": _of(_Attributes),
    "uuid.UUID": _of(_Uuid),
    "zoneinfo.ZoneInfo._unpickle": _zone,
}
"""What is made by each call, by full name; None for a class or a constant that may be named only."""

REPLACED: dict[str, object] = {
    f"{module}.{name}": cls for name, cls in PATHS.items() for module in ("pathlib", "pathlib._local")
}
"""What stands here for a name of another system's."""
