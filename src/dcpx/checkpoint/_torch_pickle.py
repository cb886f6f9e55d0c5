"""Goes through a pickle of `torch.save` to see what torch would make of it, without making it.

`torch.load(weights_only=True)` runs nothing foreign, but a pickle can still crash it or use up memory and time: it
hashes whatever is made a key, such as tuples of tuples of tuples, and copies what a few bytes refer to again and again.
Here every object is followed as far as that matters, and everything is charged to one account of bytes.
"""

from __future__ import annotations

import pickletools
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch

from ..errors import CorruptError, DcpxError, LimitError, UnsupportedError
from ._archive import Archive
from ._torch_calls import CALLS, OBJECT, OTHER_CALLS, PLAIN, STORAGES, Dict, Name, Storage, is_constant
from ._unpickle import shown

__all__ = ["Foreseen", "SafeGlobal", "by_name", "check_names", "foresee", "full_name"]

SafeGlobal: TypeAlias = Callable[..., object] | tuple[Callable[..., object], str]
"""A class or function that an object may name, as `torch.serialization.add_safe_globals` takes it: alone, or with the
full name that it has in the file."""

_ROOM = 1 << 30
_ROOM_FOR_EACH = 4
"""Bytes that what is made may take: so many, and these for each byte of the pickle."""

_OBJECT_SIZE = 64
"""Bytes that an object takes, about."""

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


class Foreseen(NamedTuple):
    """What a pickle makes: one of the things of `_torch_calls`, or a number, a text, a list or a tuple."""

    made: object
    names: set[str]
    """What it names that torch doesn't know by itself."""

    called: set[str]
    created: set[str]
    """What of that it calls, or makes an object of without calling it, other than through torch's own functions."""

    sparse: bool
    """Whether a sparse tensor is made, whose indices nobody has looked at."""


def foresee(pickled: bytes, archive: Archive) -> Foreseen:
    """What torch would make of `pickled`, the pickle of this archive.

    Raises CorruptError, UnsupportedError for what torch.save doesn't write, LimitError for what would take too much.
    """
    walk = _Walk(pickled, archive)
    try:
        return Foreseen(walk.load(), walk.names, walk.called, walk.created, walk.sparse)
    except DcpxError:
        raise
    except MemoryError:
        pass  # and with it what was made so far
    except (LookupError, ValueError, TypeError, struct.error) as error:
        raise CorruptError(f"the pickle isn't valid: {error}") from error
    raise LimitError("the pickle needs more memory than there is")


def check_names(found: Foreseen, what: str, allowed: Mapping[str, object], remedy: str) -> None:
    """Raise UnsupportedError if `what` names more than is `allowed`, CorruptError for tensors of its own making."""
    if refused := sorted(found.names - allowed.keys()):
        listed = ", ".join(map(shown, refused[:10]))
        raise UnsupportedError(f"{what} names {listed}, which could run code", remedy=remedy)
    for name in found.called | found.created:
        # A class of tensors allocates what it is told to, and more when it is given a state.
        cls = allowed[name]
        if isinstance(cls, type) and issubclass(cls, (torch.Tensor, torch.UntypedStorage, torch.TypedStorage)):
            raise CorruptError(f"{what} makes a {shown(name)} without its elements")


def by_name(entries: Iterable[SafeGlobal]) -> dict[str, object]:
    """Classes and functions by the full names that they have in a pickle."""
    return dict((entry[1], entry[0]) if isinstance(entry, tuple) else (full_name(entry), entry) for entry in entries)


def full_name(entry: Any) -> str:
    return f"{entry.__module__}.{entry.__qualname__}"


class _Nested(tuple[Any, ...]):
    """A tuple of tuples, and others."""

    depth: int
    weight: int


def _depth(parts: tuple[Any, ...]) -> int:
    return parts.depth if isinstance(parts, _Nested) else 1


def _weight(parts: tuple[Any, ...]) -> int:
    return parts.weight if isinstance(parts, _Nested) else len(parts)


class _Walk:
    def __init__(self, pickled: bytes, archive: Archive) -> None:
        self.names: set[str] = set()
        self.called: set[str] = set()
        self.created: set[str] = set()
        self.sparse = False
        self._pickled = pickled
        self._archive = archive
        self._room = _ROOM + _ROOM_FOR_EACH * len(pickled)
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
            if isinstance(key, tuple):
                self.spend(_OBJECT_SIZE * _weight(key))
            if type(key) is Dict:
                raise CorruptError("the pickle has a key that is a dictionary")
            found = hash(key)
            if key not in self._keys:
                self._keys.add(key)
                self._alike[found] = alike = self._alike.get(found, 0) + 1
                if alike > _MAX_ALIKE:
                    raise LimitError("the pickle has many keys of the same hash")

    def call(self, name: Name, arguments: tuple[Any, ...]) -> object:
        call = CALLS.get(name.full) or OTHER_CALLS.get(name.full)
        if call is not None:
            return call(self, arguments)
        if name.full not in self.names:
            raise CorruptError(f"the pickle calls {shown(name.full)}")
        self.called.add(name.full)
        self.spend(sum(map(_size, arguments)))
        return OBJECT

    def load(self) -> object:
        data, position = self._pickled, 0
        # The stack above the last MARK, and the stacks below each MARK.
        stack: list[Any] = []
        below: list[list[Any]] = []
        memo: dict[int, Any] = {}
        # A chain of comparisons, the most frequent opcodes first: Python has nothing faster.
        while True:
            opcode = data[position]
            position += 1
            self.spend(_OBJECT_SIZE)
            match opcode:
                case 0x71:  # BINPUT
                    memo[data[position]] = stack[-1]
                    position += 1
                case 0x68:  # BINGET
                    stack.append(memo[data[position]])
                    position += 1
                case 0x4B:  # BININT1
                    stack.append(data[position])
                    position += 1
                case 0x58:  # BINUNICODE
                    start = position + 4
                    position = start + _UINT32(data, position)[0]
                    if position > len(data):
                        raise CorruptError("the pickle ends within a text")
                    text = str(data[start:position], "utf-8", "surrogatepass")
                    self.spend(text.__sizeof__())
                    stack.append(text)
                case 0x28:  # MARK
                    below.append(stack)
                    stack = []
                case 0x74:  # TUPLE
                    parts, stack = stack, below.pop()
                    stack.append(self._tuple(parts))
                case 0x85:  # TUPLE1
                    stack.append(self._tuple([stack.pop()]))
                case 0x86:  # TUPLE2
                    last = stack.pop()
                    stack.append(self._tuple([stack.pop(), last]))
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
                    if type(cls) is not Name or cls.full not in self.names or not isinstance(arguments, tuple):
                        raise CorruptError("the pickle makes an object of what isn't a class")
                    self.created.add(cls.full)
                    self.spend(sum(map(_size, arguments)))
                    stack.append(OBJECT)
                case 0x62:  # BUILD
                    state, built = stack.pop(), stack[-1]
                    if built is not OBJECT and not (type(built) is Dict and built.attributes and type(state) is Dict):
                        raise CorruptError("the pickle changes an object that is complete")
                    self.spend(_size(state))
                case 0x4A:  # BININT
                    stack.append(_INT32(data, position)[0])
                    position += 4
                case 0x4D:  # BININT2
                    stack.append(_UINT16(data, position)[0])
                    position += 2
                case 0x47:  # BINFLOAT
                    stack.append(_FLOAT64(data, position)[0])
                    position += 8
                case 0x8A:  # LONG1
                    start = position + 1
                    position = start + data[position]
                    stack.append(int.from_bytes(data[start:position], "little", signed=True))
                case 0x4E:  # NONE
                    stack.append(None)
                case 0x88:  # NEWTRUE
                    stack.append(True)
                case 0x89:  # NEWFALSE
                    stack.append(False)
                case 0x5D:  # EMPTY_LIST
                    stack.append([])
                case 0x61:  # APPEND
                    last = stack.pop()
                    _list(stack[-1]).append(last)
                case 0x65:  # APPENDS
                    parts, stack = stack, below.pop()
                    _list(stack[-1]).extend(parts)
                case 0x7D:  # EMPTY_DICT
                    stack.append(Dict(attributes=False))
                case 0x73:  # SETITEM
                    stack.pop()
                    key = stack.pop()
                    self._insert(stack[-1], [key])
                case 0x75:  # SETITEMS
                    parts, stack = stack, below.pop()
                    if len(parts) % 2:
                        raise CorruptError("the pickle has a key without a value")
                    self._insert(stack[-1], parts[::2])
                case 0x8F:  # EMPTY_SET
                    self.spend(2 * _OBJECT_SIZE)
                    stack.append(PLAIN)
                case 0x72:  # LONG_BINPUT
                    memo[_UINT32(data, position)[0]] = stack[-1]
                    position += 4
                case 0x6A:  # LONG_BINGET
                    stack.append(memo[_UINT32(data, position)[0]])
                    position += 4
                case 0x80:  # PROTO
                    position += 1
                case 0x2E:  # STOP
                    if below or len(stack) != 1:
                        raise CorruptError("the pickle leaves more than one object")
                    return stack[0]
                case _:
                    raise _foreign(opcode)

    def _tuple(self, parts: list[Any]) -> tuple[Any, ...]:
        made = tuple(parts)
        self.spend(8 * len(made))
        inner = [part for part in made if isinstance(part, tuple)]
        if not inner:
            return made
        self.spend(4 * _OBJECT_SIZE)
        nested = _Nested(made)
        nested.depth = 1 + max(_depth(part) for part in inner)
        nested.weight = len(made) + sum(map(_weight, inner))
        if nested.depth > _MAX_DEPTH or nested.weight > _MAX_WEIGHT:
            raise LimitError("the pickle has tuples that nest too deep")
        return nested

    def _insert(self, target: Any, keys: list[Any]) -> None:
        if type(target) is not Dict:
            raise CorruptError("the pickle puts keys into what isn't a dictionary")
        self.hash(keys)
        self.spend(_OBJECT_SIZE * len(keys))
        target.size += len(keys)

    def _name(self, module: str, name: str) -> Name:
        # As Python 2 named it, which protocol 2 keeps to.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if full not in CALLS and not is_constant(full):
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


def _list(target: Any) -> list[Any]:
    if type(target) is not list:
        raise CorruptError("the pickle appends to what isn't a list")
    return target


def _size(value: Any) -> int:
    """Bytes that a copy of a value may take."""
    if type(value) is str:
        return len(value)
    if isinstance(value, (list, tuple)):
        return _OBJECT_SIZE + 8 * len(value)
    return _OBJECT_SIZE + getattr(value, "size", 0)


def _foreign(opcode: int) -> DcpxError:
    for known in pickletools.opcodes:
        if known.code == chr(opcode):
            return UnsupportedError(f"the pickle uses the opcode {known.name}, which torch.save doesn't write")
    return CorruptError(f"the pickle has a byte that is no opcode, {opcode:#04x}")
