"""Reads a pickle without running it: the few opcodes that a `.metadata` file consists of, and nothing else.

`pickle.Unpickler` can't be made safe by what its `find_class` returns: it takes extension codes from a process-wide
cache, allocates its memo by the largest index that the file names, and hashes whatever the file makes a key, which
takes forever or overflows the C stack for tuples of tuples. Here a global is a key of a table, an object is filled by
a function that checks what it is filled with, nothing is hashed but strings and such objects, and a forged length
meets the end of the data before it meets an allocation.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import CorruptError, DcpxError, TruncatedError, UnsupportedError, Where
from .names import shown
from .opcodes import LEFT_OUT, LeftOutError, Machine, unknown_opcode

__all__ = ["FOREIGN", "LEFT_OUT", "Function", "LeftOutError", "Record", "Then", "Unpickler"]

FOREIGN = "Nothing in it was run. Upgrade dcpx if a newer torch wrote it, otherwise don't trust it"
"""The remedy where something isn't known."""


@dataclass(frozen=True, eq=False)
class Record:
    """A class that the file may name. Its objects are made without calling it.

    `build(fields, state)` checks the state that the file gives an object, once, and puts it into `fields`, the object's
    empty `__dict__`. `fields` says whether an object must have some, `hashable` allows objects as keys of dictionaries.
    """

    cls: type
    build: Callable[[dict[str, Any], Any], None]
    fields: bool = True
    hashable: bool = False


@dataclass(frozen=True, eq=False)
class Function:
    """What the file may call: `call` gets the tuple of arguments, checks it, and returns the result."""

    call: Callable[[tuple[Any, ...]], object]


Then: TypeAlias = "Callable[[Unpickler, int, list[Any]], int]"
"""Called with position and stack after an object was built, it may read on by itself, to the same effect on stack and
memo, and returns how far it came. In the memo it may put LEFT_OUT in the place of objects that it has made: if the file
refers to one of them, LeftOutError says that it has to be read again, without what left it out."""


class Unpickler(Machine):
    """Reads one pickle; what it has seen so far is its `memo`, to which things are only ever added."""

    modern = True

    def __init__(
        self, data: bytes, names: Mapping[tuple[str, str], object], then: Mapping[type, Then] | None = None
    ) -> None:
        """`names` says what stands for each (module, name): a Record, a Function, or a value; `then`, what reads on
        after an object of a class."""
        super().__init__(data)
        self._names, self._then = names, then or {}
        self._records = {record.cls: record for record in names.values() if isinstance(record, Record)}
        self._key_types = {record.cls for record in self._records.values() if record.hashable} | {str}
        self._incomplete = 0
        """Objects that were made, and lack the fields that they must have."""

    def load(self) -> object:
        """The object that the pickle (protocol 2 to 5) describes.

        Besides the objects of `names` it holds None, bool, int, float, str, tuple, list and dict, the latter with keys
        that are strings or hashable records; and every record is complete.

        Raises CorruptError, TruncatedError, UnsupportedError for a name or opcode that isn't known, and whatever
        DcpxError a Record or Function raises; each says at which byte. LeftOutError comes of a Then.
        """
        data = self.data
        if not data:
            raise TruncatedError("the file is empty")
        if data[0] != 0x80 or not 2 <= int.from_bytes(data[1:2], "little") <= 5:
            raise CorruptError("the file isn't a pickle of protocol 2 to 5", Where(offset=0))
        return self._whole(2, self.memo)

    def apart(self, words: bytes) -> tuple[object, list[Any]]:
        """The object that these words would make here, and what they would add to the memo; nothing is changed.

        They must not change what they refer to, and can't refer to what they add. Raises what `load` raises.
        """
        reader = copy.copy(self)
        reader.data, reader._then, reader._incomplete = words + b".", {}, 0
        made: list[Any] = []
        return reader._whole(0, made), made

    def _whole(self, position: int, made: list[Any]) -> object:
        """What `run` returns, if it is complete and all there is; errors say at which byte."""
        try:
            found = self.run(position, made)
            if self._incomplete:
                raise CorruptError("it makes objects without fields")
            if self.position != len(self.data):
                raise CorruptError("bytes follow its end")
            return found
        except DcpxError as error:
            raise type(error)(error.cause, Where(offset=self.position), error.remedy) from error.__cause__
        except (IndexError, ValueError, struct.error) as error:
            where = Where(offset=self.position)
            if self.position >= len(self.data):
                raise TruncatedError("the file ends too early", where) from error
            raise CorruptError(f"it isn't a valid pickle: {error}", where) from error

    def keep(self, made: list[Any], index: int, kept: Any) -> None:
        raise CorruptError("it numbers its objects out of order")

    def text(self, start: int, end: int) -> str:
        return str(self.data[start:end], "utf-8", "surrogatepass")

    def name(self, module: Any, name: Any) -> object:
        if type(module) is not str or type(name) is not str:
            raise CorruptError("it names a global by what isn't a string")
        try:
            return self._names[module, name]
        except KeyError:
            raise UnsupportedError(f"it names {shown(module)}.{shown(name)}", remedy=FOREIGN) from None

    def new(self, cls: Any, arguments: Any) -> object:
        if type(cls) is not Record or type(arguments) is not tuple or arguments:
            raise CorruptError("it makes an object of what isn't a class")
        self._incomplete += cls.fields
        return object.__new__(cls.cls)

    def call(self, function: Any, arguments: Any) -> object:
        if type(function) is not Function or type(arguments) is not tuple:
            raise CorruptError("it calls what isn't a function")
        return function.call(arguments)

    def build(self, stack: list[Any], state: Any, position: int) -> int:
        built = stack[-1]
        record = self._records.get(type(built))
        if record is None or vars(built):
            raise CorruptError(f"it changes a {type(built).__name__} that is complete")
        record.build(vars(built), state)
        if record.fields:
            self._incomplete -= 1
            if not vars(built):
                raise CorruptError(f"it makes a {type(built).__name__} without fields")
        read_on = self._then.get(type(built))
        return position if read_on is None else read_on(self, position, stack)

    def extend(self, target: Any, parts: list[Any]) -> None:
        if type(target) is not list:
            raise CorruptError(f"it appends to a {type(target).__name__}")
        target.extend(parts)

    def insert(self, target: Any, parts: list[Any]) -> None:
        keys, values = parts[::2], parts[1::2]
        if type(target) is not dict:
            raise CorruptError(f"it puts keys into a {type(target).__name__}")
        # Before anything is hashed: tuples of tuples of the same few tuples would take forever.
        types = set(map(type, keys))
        if not types <= self._key_types:
            raise CorruptError("it has a dictionary with keys that are neither strings nor records")
        count = len(target) + len(keys)
        try:
            target.update(zip(keys, values, strict=True))
        except AttributeError:  # from the hash of an object that has no fields yet
            raise CorruptError("it has a dictionary with a key that isn't complete") from None
        if len(target) != count:
            raise CorruptError("it has a dictionary with the same key twice")

    def other(self, opcode: int, stack: list[Any], position: int) -> int:
        if opcode == 0x93:  # STACK_GLOBAL
            name, module = stack.pop(), stack.pop()
            stack.append(self.name(module, name))
        elif opcode == 0x95:  # FRAME
            position += 8
            if int.from_bytes(self.data[position - 8 : position], "little") > len(self.data) - position:
                raise TruncatedError("the file ends within a frame")
        else:
            raise unknown_opcode(opcode, "DCP", FOREIGN)
        return position
