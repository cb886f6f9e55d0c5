"""Goes through a pickle of `torch.save` to see what would be made of it, without making it.

A pickle that runs nothing foreign can still crash whoever unpickles it, or use up memory and time: it hashes whatever
is made a key, such as tuples of tuples of tuples, and copies what a few bytes refer to again and again. Here every
object is followed as far as that matters, and everything is charged to one account of bytes.
"""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import CorruptError, DcpxError, LimitError, UnsupportedError
from .account import NUMBER, OBJECT, PLACE, Account, copy_size
from .archive import Archive
from .calls import Call, Stateful
from .constants import ITEM_SIZES, STORAGES, TENSOR_BASES, is_constant
from .library_calls import attributes
from .names import allowed_name, python3_name, shown
from .opcodes import INT32, LEFT_OUT, Machine, unknown_opcode
from .states import check_attributes
from .things import (
    MAX_DEPTH,
    MAX_WEIGHT,
    PLAIN,
    Deque,
    Dict,
    Name,
    Nested,
    Object,
    Storage,
    Text,
    Whole,
    depth_of,
    weight_of,
)
from .torch_calls import CALLS, OTHER_CALLS
from .trust import full_name

__all__ = ["Foreseen", "check_names", "foresee"]

_LONG_TEXT = 64 << 10
"""Bytes of a text that isn't made to be looked at."""

_PART = 1 << 20
"""Bytes of it that are looked at together."""

_CONTINUED = bytes(range(0x80, 0xC0))
_BELOW_256 = bytes(range(0xC4))
_BELOW_65536 = bytes(range(0xF0))
"""In UTF-8: the bytes that go on with a character, and all that occur where every character is below such a number."""

_NUMBERS = 1000
"""Numbers that are looked at together: pickle writes a list in parts of so many elements."""

_FIXED = {ord("J"): (5, b"J" * _NUMBERS), ord("G"): (9, b"G" * _NUMBERS)}
"""The size of a number of each kind, and the opcodes of many of them."""

_MIXED = re.compile(rb"(?:K.|M..|J.{4}|G.{8}){16,%d}" % _NUMBERS, re.DOTALL)

_FIELDS = {
    f"torch.distributed.tensor.placement_types.{name}": fields
    for name, fields in {"Shard": {"dim"}, "_StridedShard": {"dim", "split_factor"}, "Partial": {"reduce_op"}}.items()
}
"""What the state of torch's own classes in C++ must give, because nobody else does."""


class Foreseen(NamedTuple):
    """What a pickle makes: one of `things`, or a number, a text, a list or a tuple."""

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
        if isinstance(cls, type) and not TENSOR_BASES.isdisjoint(map(full_name, cls.__mro__)):
            raise CorruptError(f"{what} makes a {shown(name)} without its elements")


class _Walk(Machine):
    modern = False

    def __init__(self, pickled: bytes, archive: Archive, known: Mapping[str, Call | None]) -> None:
        self.account = Account(len(pickled))
        super().__init__(pickled, self.account)
        self.names: set[str] = set()
        self.outer: set[str] = set()  # classes of which an attribute is named
        self.called: set[str] = set()
        self.created: set[str] = set()
        self.sparse = False
        self.plain = True
        self._empty: dict[int, tuple[Object, str]] = {}  # what was created and not yet given a state
        self._archive = archive
        self._known = known
        self._storages: dict[str, Storage] = {}

    def load(self) -> object:
        """What the pickle makes."""
        if self.data[:2] != b"\x80\x02":
            raise UnsupportedError("the pickle isn't of protocol 2, which torch.save writes")
        return self.run(2, self.memo)

    def empty(self) -> set[str]:
        """The names of the classes whose objects were made but never given the fields that they must have."""
        return {name for _, name in self._empty.values() if name in _FIELDS}

    def keep(self, made: list[Any], index: int, kept: Any) -> None:
        if index > max(len(self.data), 0xFF):  # whoever unpickles it has a place for each up to this one
            raise CorruptError("the pickle remembers more than it makes")
        made += [LEFT_OUT] * (index + 1 - len(made))
        made[index] = kept

    # --- values -------------------------------------------------------------------------------------------------------

    def text(self, start: int, end: int) -> str | Text:
        if end > len(self.data):
            raise CorruptError("the pickle ends within a text")
        if end - start > _LONG_TEXT:
            return self._long_text(start, end)
        text = str(self.data[start:end], "utf-8", "surrogatepass")
        self.account.spend(text.__sizeof__())
        return text

    def _long_text(self, start: int, end: int) -> Text:
        """A text that is counted instead of made; one that isn't valid is refused by whoever makes it."""
        size, width = 0, 1
        for begin in range(start, end, _PART):
            part = self.data[begin : min(begin + _PART, end)]
            size += len(part.translate(None, _CONTINUED))
            if part.translate(None, _BELOW_65536):
                width = 4
            elif width == 1 and part.translate(None, _BELOW_256):
                width = 2
        self.account.spend(size * width)
        return Text(size)

    def numbers(self, position: int) -> tuple[list[Any], int]:
        """The numbers that a list begins with, if they are many, and where the next opcode is.

        They are made by pickle itself, from nothing but numbers: a list may have millions.
        """
        data = self.data
        size, all_alike = _FIXED.get(data[position], (0, b""))
        end = position + size * _NUMBERS
        if not size or data[position:end:size] != all_alike or end > len(data):
            found = _MIXED.match(data, position)
            if found is None:
                return [], position
            end = found.end()
        numbers: list[Any] = pickle.loads(b"\x80\x02](%be." % data[position:end])
        self.account.spend(NUMBER * len(numbers))
        return numbers, end

    def make_dict(self) -> Dict:
        return Dict(attributes=False)

    def make_tuple(self, parts: list[Any]) -> tuple[Any, ...]:
        made = tuple(parts)
        self.account.spend(OBJECT + PLACE * len(made))
        inner = [part for part in made if isinstance(part, (tuple, Whole))]
        if not inner:
            return made
        self.account.spend(4 * OBJECT)
        nested = Nested(made)
        nested.depth = 1 + max(map(depth_of, inner))
        nested.weight = len(made) + sum(map(weight_of, inner))
        if nested.depth > MAX_DEPTH or nested.weight > MAX_WEIGHT:
            raise LimitError("the pickle has tuples that nest too deep")
        return nested

    def extend(self, target: Any, parts: list[Any]) -> None:
        if type(target) is list or type(target) is Deque:
            target.extend(parts)
        elif type(target) is not Object:
            raise CorruptError("the pickle appends to what isn't a list")
        self.account.spend(PLACE * len(parts))

    def insert(self, target: Any, parts: list[Any]) -> None:
        if type(target) is not Dict and type(target) is not Object:
            raise CorruptError("the pickle puts keys into what isn't a dictionary")
        keys = parts[::2]
        self.account.hash(keys)
        self.account.spend(OBJECT * len(keys))
        if type(target) is Dict:
            target.parts += parts

    # --- names, calls and objects -------------------------------------------------------------------------------------

    def name(self, module: str, name: str) -> Name:
        self.plain = False
        self.account.spend(OBJECT)
        return self._named(python3_name(module, name))

    def attribute(self, name: Name, attribute: str) -> Name:
        self.outer.add(name.full)
        return self._named(f"{name.full}.{attribute}")

    def _named(self, full: str) -> Name:
        if full not in CALLS and full not in self._known and not is_constant(full):
            self.names.add(full)
        return Name(full)

    def call(self, function: object, arguments: object) -> object:
        if type(function) is not Name or not isinstance(arguments, tuple):
            raise CorruptError("the pickle calls what isn't a function")
        full = function.full
        call = CALLS.get(full) or OTHER_CALLS.get(full) or self._known.get(full)
        if call is not None:
            return call(self, arguments)
        if full not in self.names:
            raise UnsupportedError(f"the pickle calls {shown(full)}")
        self.called.add(full)
        return self._object(arguments)

    def new(self, cls: object, arguments: object) -> object:
        if type(cls) is Name and isinstance(arguments, tuple):
            if known := self._known.get(cls.full):
                return known(self, arguments)
            if cls.full in self.names:
                self.created.add(cls.full)
                made = self._object(arguments)
                self._empty[id(made)] = made, cls.full
                return made
        raise UnsupportedError("the pickle makes an object of what isn't a class that may be made so")

    def _object(self, arguments: tuple[Any, ...]) -> Object:
        self.account.spend(sum(map(copy_size, arguments)))
        made = Object()
        made.add(arguments)
        return made

    def build(self, stack: list[Any], state: Any, position: int) -> int:
        built = stack[-1]
        self.account.spend(copy_size(state))
        if type(built) is Object:
            check_attributes(state)
            name = self._empty.get(id(built), (None, ""))[1]
            if _FIELDS.get(name, set()) <= (set(state.parts[::2]) if type(state) is Dict else set()):
                self._empty.pop(id(built), None)
            for parts in state if isinstance(state, tuple) else (state,):
                built.add(parts.parts[1::2] if type(parts) is Dict else (parts,))
        elif type(built) is Dict and built.attributes and type(state) is Dict:
            attributes(state)
        elif isinstance(built, Stateful):
            built.build(self, state)
        else:
            raise CorruptError("the pickle changes an object that is complete")
        return position

    # --- what only torch.save writes ----------------------------------------------------------------------------------

    def other(self, opcode: int, stack: list[Any], position: int) -> int:
        if opcode == 0x51:  # BINPERSID
            stack.append(self._storage(stack.pop()))
        elif opcode == 0x8B:  # LONG4
            start = position + 4
            position = start + INT32(self.data, position)[0]
            if not start <= position <= len(self.data):
                raise CorruptError("the pickle ends within a number")
            self.account.spend(NUMBER + position - start)
            stack.append(int.from_bytes(self.data[start:position], "little", signed=True))
        elif opcode == 0x8F:  # EMPTY_SET
            self.account.spend(2 * OBJECT)
            stack.append(PLAIN)
        else:
            raise unknown_opcode(opcode, "torch.save")
        return position

    def _storage(self, reference: object) -> Storage:
        """The storage that a pickle refers to: torch would take as many bytes of the record as the pickle says."""
        match reference:
            case ("storage", Name(cls), str(key), str(), int(count)) if cls in STORAGES:
                dtype = STORAGES[cls]
                item_size = 1 if dtype is None else ITEM_SIZES[dtype]
                record = f"data/{key}"
                found = Storage(dtype, count * item_size, record)
                rest = self._archive.size(record) - found.nbytes
                # torch counts whole elements, but stores the bytes of one that isn't whole behind them.
                if not 0 <= rest < item_size:
                    raise CorruptError("the pickle's storages aren't those of the container")
                if rest:
                    self._archive.used[record] = found.nbytes
                if self._storages.setdefault(key, found) != found:
                    raise CorruptError("the pickle has two kinds of elements in one storage")
                return found
            case ("storage", Name(cls), *_):
                raise UnsupportedError(f"the pickle refers to a {shown(cls)}")
        raise CorruptError("the pickle refers to what isn't a storage")
