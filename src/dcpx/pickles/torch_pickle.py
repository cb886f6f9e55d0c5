"""Goes through a pickle of `torch.save` to see what would be made of it, without making it.

A pickle that runs nothing foreign can still crash whoever unpickles it, or use up memory and time: it hashes whatever
is made a key, such as tuples of tuples of tuples, and copies what a few bytes refer to again and again. Here every
object is followed as far as that matters, and everything is charged to one account of bytes.
"""

from __future__ import annotations

import enum
import pickle
import pickletools
import re
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import CorruptError, DcpxError, LimitError, UnsupportedError
from ..memory import available_memory
from .archive import Archive
from .library_calls import Deque, attributes
from .torch_calls import (
    CALLS,
    OTHER_CALLS,
    PLAIN,
    STORAGES,
    Call,
    Dict,
    Name,
    Object,
    Storage,
    Text,
    Whole,
    check_attributes,
    is_constant,
)
from .unpickle import shown

__all__ = ["Foreseen", "allowed_name", "check_names", "foresee", "python3_name"]

_ROOM = 1 << 30
_ROOM_FOR_EACH = 4
"""Bytes that what is made may take in any case: so many, and these for each byte of the pickle."""

_MOST_FOR_EACH = 32
"""Bytes for each byte of the pickle where there is so much memory. Small lists and dictionaries take some 25."""

_PLACE = 8
_NUMBER_SIZE = 32
_OBJECT_SIZE = 64
"""Bytes that an object's place in a list, a number, and any other object take, about."""

_LONG_TEXT = 64 << 10
"""Bytes of a text that isn't made to be looked at."""

_NUMBERS = 1000
"""Numbers that are looked at together: pickle writes a list in parts of so many elements."""

_FIXED = {ord("J"): (5, b"J" * _NUMBERS), ord("G"): (9, b"G" * _NUMBERS)}
"""The size of a number of each kind, and the opcodes of many of them."""

_MIXED = re.compile(rb"(?:K.|M..|J.{4}|G.{8}){16,%d}" % _NUMBERS, re.DOTALL)

_MAX_DEPTH = 200
_MAX_WEIGHT = 1 << 24
"""Of tuples within tuples: levels, which could overflow the C stack where they are hashed, and parts, each counted as
often as it occurs."""

_MAX_ALIKE = 100
"""Keys with the same hash: a dictionary of many would take forever."""

_UINT16 = struct.Struct("<H").unpack_from
_UINT32 = struct.Struct("<I").unpack_from
_INT32 = struct.Struct("<i").unpack_from
_FLOAT64 = struct.Struct(">d").unpack_from


_FIELDS = {
    f"torch.distributed.tensor.placement_types.{name}": fields
    for name, fields in {"Shard": {"dim"}, "_StridedShard": {"dim", "split_factor"}, "Partial": {"reduce_op"}}.items()
}
"""What the state of torch's own classes in C++ must give, because nobody else does."""


class Foreseen(NamedTuple):
    """What a pickle makes: one of the things of `_torch_calls`, or a number, a text, a list or a tuple."""

    made: object
    names: set[str]
    """What it names that isn't known here."""

    called: set[str]
    created: set[str]
    """What of that it calls, or makes an object of without calling it, other than through torch's own functions."""

    empty: set[str]
    """Of what it makes an object that is never given the fields that it must have."""

    sparse: bool
    """Whether a sparse tensor is made, whose indices nobody has looked at."""

    plain: bool
    """Whether it names nothing at all, so that nothing can be called."""


def foresee(pickled: bytes, archive: Archive, known: Mapping[str, Call | None] | None = None) -> Foreseen:
    """What is made of `pickled`, the pickle of this archive, by whoever has torch's calls, and those that are `known`.

    Raises CorruptError, UnsupportedError for what torch.save doesn't write, LimitError for what would take too much.
    """
    walk = _Walk(pickled, archive, known or {})
    try:
        made = walk.load()
        # A class that is named only for what lies in it needn't be allowed itself.
        names = walk.names - (walk.outer - walk.called - walk.created)
        return Foreseen(made, names, walk.called, walk.created, walk.empty(), walk.sparse, walk.plain)
    except DcpxError:
        raise
    except MemoryError:
        pass  # and with it what was made so far
    except (LookupError, ValueError, TypeError, ArithmeticError, struct.error) as error:
        raise CorruptError(f"the pickle isn't valid: {error}") from error
    raise LimitError("the pickle needs more memory than there is")


def check_names(found: Foreseen, what: str, allowed: Mapping[str, object], remedy: str) -> None:
    """Raise UnsupportedError if `what` names more than is `allowed`, CorruptError for tensors of its own making."""
    if refused := sorted(name for name in found.names if not allowed_name(name, allowed)):
        listed = ", ".join(map(shown, refused[:10]))
        raise UnsupportedError(f"{what} names {listed}, which could run code", remedy=remedy)
    for name in found.called | found.created:
        # A class of tensors allocates what it is told to, and more when it is given a state.
        cls = allowed.get(name)
        if isinstance(cls, type) and issubclass(cls, (torch.Tensor, torch.UntypedStorage, torch.TypedStorage)):
            raise CorruptError(f"{what} makes a {shown(name)} without its elements")


def allowed_name(name: str, allowed: Mapping[str, object]) -> bool:
    """Whether a name is allowed, or that of a member of an enumeration which is."""
    if name in allowed:
        return True
    cls, _, member = name.rpartition(".")
    found = allowed.get(cls)
    return isinstance(found, enum.EnumMeta) and member in found.__members__


def python3_name(module: str, name: str) -> str:
    """A full name, of what is named as Python 2 did, which protocol 2 keeps to."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


class _Nested(tuple[Any, ...]):
    """A tuple of tuples, and others."""

    depth: int
    weight: int


def _depth(part: tuple[Any, ...] | Whole) -> int:
    return part.depth if isinstance(part, (_Nested, Whole)) else 1


def _weight(part: tuple[Any, ...] | Whole) -> int:
    return part.weight if isinstance(part, (_Nested, Whole)) else len(part)


class _Walk:
    def __init__(self, pickled: bytes, archive: Archive, known: Mapping[str, Call | None]) -> None:
        self.names: set[str] = set()
        self.outer: set[str] = set()  # classes of which an attribute is named
        self.called: set[str] = set()
        self.created: set[str] = set()
        self._empty: dict[int, tuple[Object, str]] = {}  # what was created and not yet given a state
        self.sparse = False
        self.plain = True
        self._pickled = pickled
        self._archive = archive
        self._known = known
        self._room = _room(len(pickled))
        self._unknown = 0  # keys whose hashes aren't known
        self._storages: dict[str, Storage] = {}
        self._keys: set[object] = set()
        self._alike: dict[int, int] = {}  # of the keys, by their hash

    def spend(self, nbytes: int) -> None:
        self._room -= nbytes
        if self._room < 0:
            raise LimitError("the pickle unfolds into too much")

    def hash(self, keys: list[Any]) -> None:
        for key in keys:
            if type(key) is str:
                continue  # nobody can choose these hashes
            self.spend(4 * _OBJECT_SIZE)
            if isinstance(key, (tuple, Whole)):
                self.spend(_OBJECT_SIZE * _weight(key))
            elif type(key) is int:
                self.spend(key.bit_length() >> 3)
            if type(key) is Dict:
                raise CorruptError("the pickle has a key that is a dictionary")
            if key is PLAIN or isinstance(key, Whole):
                # It may have the hash of all others, and be compared with each of them.
                self._unknown += 1
                self.spend(8 * self._unknown)
            if isinstance(key, Whole) and key.depth > _MAX_DEPTH:
                raise LimitError("the pickle has a key that nests too deep")
            found = hash(key)
            if key not in self._keys:
                self._keys.add(key)
                self._alike[found] = alike = self._alike.get(found, 0) + 1
                if alike > _MAX_ALIKE:
                    raise LimitError("the pickle has many keys of the same hash")

    def call(self, name: Name, arguments: tuple[Any, ...]) -> object:
        call = CALLS.get(name.full) or OTHER_CALLS.get(name.full) or self._known.get(name.full)
        if call is not None:
            return call(self, arguments)
        if name.full not in self.names:
            raise UnsupportedError(f"the pickle calls {shown(name.full)}")
        self.called.add(name.full)
        return self._object(arguments)

    def attribute(self, name: Name, attribute: str) -> Name:
        self.outer.add(name.full)
        return self._named(f"{name.full}.{attribute}")

    def _object(self, arguments: tuple[Any, ...]) -> Object:
        self.spend(sum(map(_size, arguments)))
        made = Object()
        self.add_parts(made, arguments)
        return made

    def empty(self) -> set[str]:
        """Of what objects were made that lack fields which they must have."""
        return {name for _, name in self._empty.values() if name in _FIELDS}

    def add_parts(self, whole: Whole, parts: Iterable[Any]) -> None:
        for part in parts:
            if isinstance(part, (tuple, Whole)):
                whole.depth = max(whole.depth, 1 + _depth(part))
                whole.weight = min(whole.weight + _weight(part), 2 * _MAX_WEIGHT)

    def load(self) -> object:
        data, position = self._pickled, 0
        # The stack above the last MARK, and the stacks below each MARK.
        stack: list[Any] = []
        below: list[list[Any]] = []
        memo: dict[int, Any] = {}
        if data[:2] != b"\x80\x02":
            raise UnsupportedError("the pickle isn't of protocol 2, which torch.save writes")
        # A chain of comparisons, the most frequent opcodes first: Python has nothing faster.
        while True:
            opcode = data[position]
            position += 1
            match opcode:
                case 0x71:  # BINPUT
                    memo[data[position]] = stack[-1]
                    position += 1
                case 0x72:  # LONG_BINPUT
                    index = _UINT32(data, position)[0]
                    if index > len(data):  # whoever unpickles it has a place for each up to this one
                        raise CorruptError("the pickle remembers more than it makes")
                    memo[index] = stack[-1]
                    position += 4
                case 0x68:  # BINGET
                    stack.append(memo[data[position]])
                    position += 1
                case 0x6A:  # LONG_BINGET
                    stack.append(memo[_UINT32(data, position)[0]])
                    position += 4
                case 0x58:  # BINUNICODE
                    start = position + 4
                    position = start + _UINT32(data, position)[0]
                    if position > len(data):
                        raise CorruptError("the pickle ends within a text")
                    if position - start > _LONG_TEXT:
                        stack.append(self._long_text(start, position))
                        continue
                    text = str(data[start:position], "utf-8", "surrogatepass")
                    self.spend(text.__sizeof__())
                    stack.append(text)
                case 0x4B:  # BININT1
                    stack.append(data[position])
                    position += 1
                case 0x4A:  # BININT
                    self.spend(_NUMBER_SIZE)
                    stack.append(_INT32(data, position)[0])
                    position += 4
                case 0x7D:  # EMPTY_DICT
                    self.spend(2 * _OBJECT_SIZE)
                    stack.append(Dict(attributes=False))
                case 0x73:  # SETITEM
                    last, middle = stack.pop(), stack.pop()
                    self._insert(stack[-1], [middle, last])
                case 0x5D:  # EMPTY_LIST
                    self.spend(_OBJECT_SIZE)
                    stack.append([])
                case 0x61:  # APPEND
                    last = stack.pop()
                    self._extend(stack[-1], [last])
                case 0x28:  # MARK
                    self.spend(_OBJECT_SIZE)
                    below.append(stack)
                    stack, position = self._numbers(position)
                case 0x75:  # SETITEMS
                    parts, stack = stack, below.pop()
                    if len(parts) % 2:
                        raise CorruptError("the pickle has a key without a value")
                    self._insert(stack[-1], parts)
                case 0x65:  # APPENDS
                    parts, stack = stack, below.pop()
                    self._extend(stack[-1], parts)
                case 0x8A:  # LONG1
                    start = position + 1
                    position = start + data[position]
                    self.spend(_NUMBER_SIZE + position - start)
                    stack.append(int.from_bytes(data[start:position], "little", signed=True))
                case 0x4D:  # BININT2
                    stack.append(_UINT16(data, position)[0])
                    position += 2
                case 0x47:  # BINFLOAT
                    self.spend(_NUMBER_SIZE)
                    stack.append(_FLOAT64(data, position)[0])
                    position += 8
                case 0x74:  # TUPLE
                    parts, stack = stack, below.pop()
                    stack.append(self._tuple(parts))
                case 0x86:  # TUPLE2
                    last = stack.pop()
                    stack.append(self._tuple([stack.pop(), last]))
                case 0x85:  # TUPLE1
                    stack.append(self._tuple([stack.pop()]))
                case 0x87:  # TUPLE3
                    last, middle = stack.pop(), stack.pop()
                    stack.append(self._tuple([stack.pop(), middle, last]))
                case 0x29:  # EMPTY_TUPLE
                    stack.append(())
                case 0x63:  # GLOBAL
                    middle = data.index(b"\n", position)
                    end = data.index(b"\n", middle + 1)
                    stack.append(self._name(str(data[position:middle], "utf-8"), str(data[middle + 1 : end], "utf-8")))
                    position = end + 1
                case 0x51:  # BINPERSID
                    stack.append(self._storage(stack.pop()))
                case 0x52:  # REDUCE
                    arguments, function = stack.pop(), stack.pop()
                    if type(function) is not Name or not isinstance(arguments, tuple):
                        raise CorruptError("the pickle calls what isn't a function")
                    stack.append(self.call(function, arguments))
                case 0x81:  # NEWOBJ
                    arguments, cls = stack.pop(), stack.pop()
                    if type(cls) is Name and isinstance(arguments, tuple) and (known := self._known.get(cls.full)):
                        stack.append(known(self, arguments))
                        continue
                    if type(cls) is not Name or cls.full not in self.names or not isinstance(arguments, tuple):
                        raise UnsupportedError("the pickle makes an object of what isn't a class that may be made so")
                    self.created.add(cls.full)
                    made = self._object(arguments)
                    self._empty[id(made)] = made, cls.full
                    stack.append(made)
                case 0x62:  # BUILD
                    state = stack.pop()
                    self._build(stack[-1], state)
                case 0x8B:  # LONG4
                    start = position + 4
                    position = start + _INT32(data, position)[0]
                    if not start <= position <= len(data):
                        raise CorruptError("the pickle ends within a number")
                    self.spend(_NUMBER_SIZE + position - start)
                    stack.append(int.from_bytes(data[start:position], "little", signed=True))
                case 0x4E:  # NONE
                    stack.append(None)
                case 0x88:  # NEWTRUE
                    stack.append(True)
                case 0x89:  # NEWFALSE
                    stack.append(False)
                case 0x8F:  # EMPTY_SET
                    self.spend(2 * _OBJECT_SIZE)
                    stack.append(PLAIN)
                case 0x80 if position == 1:  # PROTO
                    position += 1
                case 0x2E:  # STOP
                    if below or len(stack) != 1:
                        raise CorruptError("the pickle leaves more than one object")
                    return stack[0]
                case _:
                    raise _foreign(opcode)

    def _tuple(self, parts: list[Any]) -> tuple[Any, ...]:
        made = tuple(parts)
        self.spend(_OBJECT_SIZE + _PLACE * len(made))
        inner = [part for part in made if isinstance(part, (tuple, Whole))]
        if not inner:
            return made
        self.spend(4 * _OBJECT_SIZE)
        nested = _Nested(made)
        nested.depth = 1 + max(_depth(part) for part in inner)
        nested.weight = len(made) + sum(map(_weight, inner))
        if nested.depth > _MAX_DEPTH or nested.weight > _MAX_WEIGHT:
            raise LimitError("the pickle has tuples that nest too deep")
        return nested

    def _numbers(self, position: int) -> tuple[list[Any], int]:
        """The numbers that a list begins with, if they are many, and where the next opcode is.

        They are made by pickle itself, from nothing but numbers: a list may have millions.
        """
        data = self._pickled
        size, all_alike = _FIXED.get(data[position], (0, b""))
        end = position + size * _NUMBERS
        if not size or data[position:end:size] != all_alike or end > len(data):
            found = _MIXED.match(data, position)
            if found is None:
                return [], position
            end = found.end()
        numbers: list[Any] = pickle.loads(b"\x80\x02](%be." % data[position:end])
        self.spend(_NUMBER_SIZE * len(numbers))
        return numbers, end

    def _long_text(self, start: int, end: int) -> Text:
        """A text that is counted instead of made; one that isn't valid is refused by whoever makes it."""
        size = widest = 0
        for begin in range(start, end, 1 << 20):
            part = np.frombuffer(self._pickled, np.uint8, min(1 << 20, end - begin), begin)
            size += int(np.count_nonzero(part & 0xC0 != 0x80))  # UTF-8: what doesn't go on with a character begins one
            widest = max(widest, int(part.max()))
        self.spend(size * (1 if widest < 0xC4 else 2 if widest < 0xF0 else 4))
        return Text(size)

    def _extend(self, target: Any, parts: list[Any]) -> None:
        if type(target) is list or type(target) is Deque:
            target.extend(parts)
        elif type(target) is not Object:
            raise CorruptError("the pickle appends to what isn't a list")
        self.spend(_PLACE * len(parts))

    def _insert(self, target: Any, parts: list[Any]) -> None:
        if type(target) is not Dict and type(target) is not Object:
            raise CorruptError("the pickle puts keys into what isn't a dictionary")
        keys = parts[::2]
        self.hash(keys)
        self.spend(_OBJECT_SIZE * len(keys))
        if type(target) is Dict:
            target.parts += parts

    def _build(self, built: Any, state: Any) -> None:
        self.spend(_size(state))
        if type(built) is Object:
            check_attributes(state)
            name = self._empty.get(id(built), (None, ""))[1]
            if _FIELDS.get(name, set()) <= (set(state.parts[::2]) if type(state) is Dict else set()):
                self._empty.pop(id(built), None)
            for parts in state if isinstance(state, tuple) else (state,):
                self.add_parts(built, parts.parts[1::2] if type(parts) is Dict else (parts,))
        elif type(built) is Dict and built.attributes and type(state) is Dict:
            attributes(state)
        elif hasattr(built, "build"):
            built.build(self, state)
        else:
            raise CorruptError("the pickle changes an object that is complete")

    def _name(self, module: str, name: str) -> Name:
        self.plain = False
        self.spend(_OBJECT_SIZE)
        return self._named(python3_name(module, name))

    def _named(self, full: str) -> Name:
        if full not in CALLS and full not in self._known and not is_constant(full):
            self.names.add(full)
        return Name(full)

    def _storage(self, reference: object) -> Storage:
        """The storage that a pickle refers to: torch would take as many bytes of the record as the pickle says."""
        match reference:
            case ("storage", Name(cls), str(key), str(), int(count)) if cls in STORAGES:
                dtype = STORAGES[cls]
                found = Storage(dtype, count * (1 if dtype is None else dtype.itemsize))
                record = f"data/{key}"
                rest = self._archive.size(record) - found.nbytes
                # torch counts whole elements, but stores the bytes of one that isn't whole behind them.
                if not 0 <= rest < (1 if dtype is None else dtype.itemsize):
                    raise CorruptError("the pickle's storages aren't those of the container")
                if rest:
                    self._archive.used[record] = found.nbytes
                if self._storages.setdefault(key, found) != found:
                    raise CorruptError("the pickle has two kinds of elements in one storage")
                return found
            case ("storage", Name(cls), *_):
                raise UnsupportedError(f"the pickle refers to a {shown(cls)}")
        raise CorruptError("the pickle refers to what isn't a storage")


def _room(size: int) -> int:
    """Bytes that what a pickle of this size makes may take."""
    least = _ROOM + _ROOM_FOR_EACH * size
    most = _MOST_FOR_EACH * size
    return least if most <= least else max(least, min(most, available_memory() // 2))


def _size(value: Any) -> int:
    """Bytes that a copy of a value may take."""
    if type(value) is str:
        return len(value)
    if type(value) is int:
        return _OBJECT_SIZE + (value.bit_length() >> 3)
    if isinstance(value, (list, tuple)):
        return _OBJECT_SIZE + _PLACE * len(value)
    return _OBJECT_SIZE + getattr(value, "size", 0)


def _foreign(opcode: int) -> DcpxError:
    for known in pickletools.opcodes:
        if known.code == chr(opcode):
            return UnsupportedError(f"the pickle uses the opcode {known.name}, which torch.save doesn't write")
    return CorruptError(f"the pickle has a byte that is no opcode, {opcode:#04x}")
