"""Reads a pickle without running it: the few opcodes that a `.metadata` file consists of, and nothing else.

`pickle.Unpickler` can't be made safe by what its `find_class` returns: it takes extension codes from a process-wide
cache, allocates its memo by the largest index that the file names, and hashes whatever the file makes a key, which
takes forever or overflows the C stack for tuples of tuples. Here a global is a key of a table, an object is filled by
a function that checks what it is filled with, nothing is hashed but strings and such objects, and a forged length
meets the end of the data before it meets an allocation.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import CorruptError, DcpxError, TruncatedError, UnsupportedError, Where

__all__ = ["FOREIGN", "LEFT_OUT", "Function", "LeftOutError", "Record", "Then", "Unpickler", "shown"]

FOREIGN = "Nothing in it was run. Upgrade dcpx if a newer torch wrote it, otherwise don't trust it"
"""The remedy where something isn't known."""

LEFT_OUT = object()
"""Stands in the memo for what a Then didn't put there."""

_UINT16 = struct.Struct("<H").unpack_from
_UINT32 = struct.Struct("<I").unpack_from
_INT32 = struct.Struct("<i").unpack_from
_UINT64 = struct.Struct("<Q").unpack_from
_FLOAT64 = struct.Struct(">d").unpack_from


class LeftOutError(Exception):
    """The file refers to something that is LEFT_OUT: it has to be read again, without what left it out."""


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
memo, and returns how far it came. In the memo it may put LEFT_OUT in the place of objects that it has made."""


class Unpickler:
    """Reads one pickle; what it has seen so far is its `memo`, to which things are only ever added."""

    def __init__(
        self, data: bytes, names: Mapping[tuple[str, str], object], then: Mapping[type, Then] | None = None
    ) -> None:
        """`names` says what stands for each (module, name): a Record, a Function, or a value; `then`, what reads on
        after an object of a class."""
        self.data = data
        self.memo: list[Any] = []
        self._names, self._then = names, then or {}
        self._records = {record.cls: record for record in names.values() if isinstance(record, Record)}
        self._key_types = {record.cls for record in self._records.values() if record.hashable} | _STRINGS

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
        return self._run(data, 2, self.memo)

    def apart(self, words: bytes) -> tuple[object, list[Any]]:
        """The object that these words would make here, and what they would add to the memo; nothing is changed.

        They must not change what they refer to, and can't refer to what they add. Raises what `load` raises.
        """
        made: list[Any] = []
        return self._run(words + b".", 0, made), made

    def _run(self, data: bytes, position: int, made: list[Any]) -> object:
        # The stack above the last MARK, and the stacks below each MARK.
        stack: list[Any] = []
        below: list[list[Any]] = []
        memo, records, then = self.memo, self._records, self._then if made is self.memo else {}
        incomplete = 0
        try:
            # A chain of comparisons, the most frequent opcodes first (of what is left here): Python has nothing faster.
            while True:
                opcode = data[position]
                position += 1
                if opcode == 0x94:  # MEMOIZE
                    made.append(stack[-1])
                elif opcode == 0x6A:  # LONG_BINGET
                    known = memo[_UINT32(data, position)[0]]
                    if known is LEFT_OUT:
                        raise LeftOutError
                    stack.append(known)
                    position += 4
                elif opcode == 0x68:  # BINGET
                    known = memo[data[position]]
                    if known is LEFT_OUT:
                        raise LeftOutError
                    stack.append(known)
                    position += 1
                elif opcode == 0x8C:  # SHORT_BINUNICODE
                    start = position + 1
                    position = start + data[position]
                    stack.append(str(data[start:position], "utf-8", "surrogatepass"))
                elif opcode == 0x86:  # TUPLE2
                    last = stack.pop()
                    stack.append((stack.pop(), last))
                elif opcode == 0x85:  # TUPLE1
                    stack.append((stack.pop(),))
                elif opcode == 0x28:  # MARK
                    below.append(stack)
                    stack = []
                elif opcode == 0x74:  # TUPLE
                    items, stack = stack, below.pop()
                    stack.append(tuple(items))
                elif opcode == 0x4B:  # BININT1
                    stack.append(data[position])
                    position += 1
                elif opcode == 0x29:  # EMPTY_TUPLE
                    stack.append(())
                elif opcode == 0x81:  # NEWOBJ
                    arguments, record = stack.pop(), stack.pop()
                    if type(record) is not Record or type(arguments) is not tuple or arguments:
                        raise CorruptError("it makes an object of what isn't a class")
                    stack.append(object.__new__(record.cls))
                    incomplete += record.fields
                elif opcode == 0x62:  # BUILD
                    state, built = stack.pop(), stack[-1]
                    record = records.get(type(built))
                    if record is None or vars(built):
                        raise CorruptError(f"it changes a {type(built).__name__} that is complete")
                    record.build(vars(built), state)
                    if record.fields:
                        incomplete -= 1
                        if not vars(built):
                            raise CorruptError(f"it makes a {type(built).__name__} without fields")
                    read_on = then.get(type(built))
                    if read_on is not None:
                        position = read_on(self, position, stack)
                elif opcode == 0x7D:  # EMPTY_DICT
                    stack.append({})
                elif opcode == 0x75:  # SETITEMS
                    items, stack = stack, below.pop()
                    _insert(stack[-1], items, self._key_types)
                elif opcode == 0x52:  # REDUCE
                    arguments, function = stack.pop(), stack.pop()
                    if type(function) is not Function or type(arguments) is not tuple:
                        raise CorruptError("it calls what isn't a function")
                    stack.append(function.call(arguments))
                elif opcode == 0x89:  # NEWFALSE
                    stack.append(False)
                elif opcode == 0x4D:  # BININT2
                    stack.append(_UINT16(data, position)[0])
                    position += 2
                elif opcode == 0x5D:  # EMPTY_LIST
                    stack.append([])
                elif opcode == 0x61:  # APPEND
                    last = stack.pop()
                    _extend(stack[-1], [last])
                elif opcode == 0x65:  # APPENDS
                    items, stack = stack, below.pop()
                    _extend(stack[-1], items)
                elif opcode == 0x4A:  # BININT
                    stack.append(_INT32(data, position)[0])
                    position += 4
                elif opcode == 0x8A:  # LONG1
                    start = position + 1
                    position = start + data[position]
                    stack.append(int.from_bytes(data[start:position], "little", signed=True))
                elif opcode in (0x71, 0x72):  # BINPUT, LONG_BINPUT
                    index, width = (data[position], 1) if opcode == 0x71 else (_UINT32(data, position)[0], 4)
                    if index != len(made):
                        raise CorruptError("it numbers its objects out of order")
                    made.append(stack[-1])
                    position += width
                elif opcode == 0x58:  # BINUNICODE
                    start = position + 4
                    position = start + _UINT32(data, position)[0]
                    stack.append(str(data[start:position], "utf-8", "surrogatepass"))
                elif opcode == 0x73:  # SETITEM
                    last = stack.pop()
                    key = stack.pop()
                    _insert(stack[-1], [key, last], self._key_types)
                elif opcode == 0x87:  # TUPLE3
                    last, middle = stack.pop(), stack.pop()
                    stack.append((stack.pop(), middle, last))
                elif opcode == 0x4E:  # NONE
                    stack.append(None)
                elif opcode == 0x88:  # NEWTRUE
                    stack.append(True)
                elif opcode == 0x47:  # BINFLOAT
                    stack.append(_FLOAT64(data, position)[0])
                    position += 8
                elif opcode == 0x93:  # STACK_GLOBAL
                    name, module = stack.pop(), stack.pop()
                    stack.append(_resolve(self._names, module, name))
                elif opcode == 0x63:  # GLOBAL
                    middle = data.index(b"\n", position)
                    end = data.index(b"\n", middle + 1)
                    module, name = str(data[position:middle], "utf-8"), str(data[middle + 1 : end], "utf-8")
                    stack.append(_resolve(self._names, module, name))
                    position = end + 1
                elif opcode == 0x95:  # FRAME
                    position += 8
                    if _UINT64(data, position - 8)[0] > len(data) - position:
                        raise TruncatedError("the file ends within a frame")
                elif opcode == 0x2E:  # STOP
                    break
                else:
                    raise _unknown_opcode(opcode)
            if below or len(stack) != 1:
                raise CorruptError("it leaves more than one object")
            if incomplete:
                raise CorruptError("it makes objects without fields")
            if position != len(data):
                raise CorruptError("bytes follow its end")
            return stack[0]
        except DcpxError as error:
            raise type(error)(error.cause, Where(offset=position), error.remedy) from error.__cause__
        except (IndexError, ValueError, struct.error) as error:
            where = Where(offset=position)
            if position >= len(data):
                raise TruncatedError("the file ends too early", where) from error
            raise CorruptError(f"it isn't a valid pickle: {error}", where) from error


def _insert(target: Any, items: list[Any], key_types: set[type]) -> None:
    """Put keys and values, which alternate in `items`, into a dictionary."""
    keys, values = items[::2], items[1::2]
    if type(target) is not dict or len(keys) != len(values):
        raise CorruptError(f"it puts keys into a {type(target).__name__}")
    # Before anything is hashed: tuples of tuples of the same few tuples would take forever.
    types = set(map(type, keys))
    if not types <= key_types:
        raise CorruptError("it has a dictionary with keys that are neither strings nor records")
    count = len(target) + len(keys)
    try:
        target.update(zip(keys, values, strict=True))
    except AttributeError:  # from the hash of an object that has no fields yet
        raise CorruptError("it has a dictionary with a key that isn't complete") from None
    if len(target) != count:
        raise CorruptError("it has a dictionary with the same key twice")


_STRINGS = {str}


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise CorruptError(f"it appends to a {type(target).__name__}")
    target.extend(items)


def _resolve(names: Mapping[tuple[str, str], object], module: object, name: object) -> object:
    if type(module) is not str or type(name) is not str:
        raise CorruptError("it names a global by what isn't a string")
    try:
        return names[module, name]
    except KeyError:
        raise UnsupportedError(f"it names {shown(module)}.{shown(name)}", remedy=FOREIGN) from None


def shown(name: object) -> str:
    """A name from the file, fit for a message: short, and with nothing that a terminal would obey."""
    return ascii(name[:100])[1:-1] if type(name) is str else f"a {type(name).__name__}"


def _unknown_opcode(opcode: int) -> DcpxError:
    for known in pickletools.opcodes:
        if known.code == chr(opcode):
            return UnsupportedError(f"it uses the opcode {known.name}, which DCP doesn't write", remedy=FOREIGN)
    return CorruptError(f"it has a byte that is no opcode, {opcode:#04x}")
