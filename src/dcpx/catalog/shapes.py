"""Reads the entries of a `.metadata` file that look alike, thousands of them, faster than word by word.

100,000 items are read in some 0.8 seconds where the interpreter alone takes 3.5. What is read comes from strangers, so
this must not let anything pass that the interpreter would refuse:

- Item after item is described by the same words (opcodes, and references to the memo) around another name and other
  numbers. So an entry is cut into these blanks and the words between them, by the grammar below.
- When the words are new, the interpreter reads them by themselves (`Unpickler.apart`), and checks what they make as
  always: that is the model.
- An entry of the same words is a copy of the model with its blanks filled in, for the price of a look-up. It is what
  the interpreter would have made: what the words refer to in the memo never changes, and by the grammar they change
  nothing but what they have just made. What the blanks hold is checked here as the interpreter would check it.

Whatever looks different is left to the interpreter; nothing is refused here. `design/0006-shapes.md` has it at length.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import DcpxError
from ..pickles.unpickle import LEFT_OUT, Then, Unpickler
from .records import Classes

__all__ = ["Shapes"]

# Alternatives differ in their first byte, so that matching hardly ever goes back: it takes time in proportion to what
# matches. Lists, dictionaries and objects are filled right where they are made, so that nothing older is changed.
_GRAMMAR = r"""
    REF          h. | j.{4}
    INT          K. | M.. | J.{4}
    LONG         INT | \x8a (?: \x05.{5} | \x06.{6} | \x07.{7} | \x08.{8} )
    INTS         \) | (?: INT \x85 | INT INT \x86 | INT INT INT \x87 | \( INT{4,64} t ) \x94
    SIZE         REF (?: INTS \x85 \x94 R \x94 )?
    NEW          REF \) \x81 \x94

    PROPERTIES   NEW \( (?: REF | [\x88\x89] ){5} (?: N | REF | INTS )? t \x94 b
    CHUNK        NEW \} \x94 \( REF SIZE REF SIZE u b
    CHUNKS       \] \x94 (?: CHUNK a | \( CHUNK{2,4096} e )?
    TENSOR       \} \x94 \( REF PROPERTIES REF SIZE REF CHUNKS u b
    ITEM         \x94 NEW TENSOR?

    HEAD         NEW \} \x94 \( REF
    FIELD        REF (?: INT | N | SIZE )
    DESCRIPTOR   REF | \x8c TEXT \x94
    DESCRIPTORS  REF (?: REF | \] \x94 (?: DESCRIPTOR a | \( DESCRIPTOR{2,64} e )? )
    REST         ( \x94? FIELD{0,2} u b NEW \} \x94 \( REF REF REF ) LONG ( REF ) LONG ( DESCRIPTORS? u b )
"""


def _patterns(*names: str) -> list[re.Pattern[bytes]]:
    """The rules of these names as regular expressions; names within a rule stand for earlier rules."""
    # A text is as long as its first byte says; these are those that are short.
    rules = {"TEXT": "|".join(f"\\x{size:02x}.{{{size}}}" for size in range(1, 65))}
    for name, rule in (line.split(None, 1) for line in _GRAMMAR.splitlines() if line.strip()):
        rules[name] = re.sub("[A-Z]{2,}", lambda earlier: f"(?:{rules[earlier.group()]})", rule)
    return [re.compile(rules[name].encode(), re.DOTALL | re.VERBOSE) for name in names]


# ITEM follows an item's name. HEAD and REST make an index and the place where it is stored, around three blanks: the
# item's name, and the offset and length of its bytes.
_ITEM, _HEAD, _REST = _patterns("ITEM", "HEAD", "REST")

_NEXT_NAME = b"ub\x8c"
"""How most items end, and the next one begins."""

_MAX_WORDS = 512
"""Bytes that are searched for the end of an item: a longer one is found by matching the grammar."""

_END = 1 << 63
"""No offset or length reaches this."""

_OFFSET, _LENGTH = 0x01020304, 0x05060708
"""What stands for the blanks in a model."""

_UINT32 = struct.Struct("<I").unpack_from
_INT32 = struct.Struct("<i").unpack_from

_new: Any = object.__new__
"""No class is called: another torch may want other fields than those that the file has."""


@dataclass(eq=False)
class _Item:
    """The model of an item, and what making it adds to the memo. `chunk` is the class of a tensor's chunks, None for an
    object.

    `next` is the model that came after this one last time, and mostly will again.
    """

    words: bytes
    model: Any
    chunk: type[Any] | None
    memo: list[Any]
    next: _Item | None = None

    def copy(self) -> Any:
        model = self.model
        if self.chunk is None:
            return _new(type(model))
        # Attributes one by one: an object that is never asked for its dictionary doesn't need one.
        copy: Any = _new(type(model))
        copy.properties = properties = _new(type(model.properties))
        properties.__dict__ = vars(model.properties).copy()
        copy.size = model.size
        copy.chunks = chunks = []
        kind = self.chunk
        for chunk in model.chunks:
            part = _new(kind)
            part.offsets, part.sizes = chunk.offsets, chunk.sizes
            chunks.append(part)
        return copy


@dataclass(eq=False)
class _Place:
    """The model of an index and of the place where it is stored, and what making them adds to the memo."""

    words: tuple[bytes, ...]
    index: Any
    info: Any
    own_list: bool
    memo: list[Any]
    name_in_memo: int
    next: _Place | None = None

    def blanks(self, data: bytes, memo: list[Any], at: int) -> tuple[int, int, int] | None:
        """Offset, length and the position behind it all, if these are the words that follow a name."""
        _, middle, between, tail = self.words
        if data.startswith(middle, at):
            offset, at = _pushed(data, memo, at + len(middle))
            if data.startswith(between, at):
                length, at = _pushed(data, memo, at + len(between))
                numbers = type(offset) is type(length) is int and offset >= 0 and length >= 0
                if numbers and offset + length < _END and data.startswith(tail, at):
                    return offset, length, at + len(tail)
        return None

    def copy(self, name: str, offset: int, length: int) -> tuple[Any, Any]:
        index, fields = _new(type(self.index)), vars(self.index).copy()
        fields["fqn"] = name
        object.__setattr__(index, "__dict__", fields)  # it may be frozen
        model = self.info
        info: Any = _new(type(model))
        info.relative_path, info.offset, info.length = model.relative_path, offset, length
        descriptors = model.transform_descriptors
        if descriptors is not None:
            info.transform_descriptors = list(descriptors) if self.own_list else descriptors
        return index, info


class Shapes:
    """The models of one file.

    `count(indices)` is told name and offset of each index that is made, and may refuse the file.
    """

    def __init__(self, classes: Classes[Any], count: Callable[[list[tuple[str, Any]]], None]) -> None:
        self._classes = classes
        self._count = count
        self._items: dict[bytes, _Item | None] = {}
        self._places: dict[tuple[bytes, ...], _Place | None] = {}

    def then(self) -> Mapping[type, Then]:
        """For the interpreter: by the class of an object that was just built, what may go on reading after it."""
        return {self._classes.tensor: self._read_items, self._classes.storage_info: self._read_places}

    def _read_items(self, unpickler: Unpickler, position: int, stack: list[Any]) -> int:
        """Entries of a name and an item."""
        data, memo, shared = unpickler.data, unpickler.memo, self._classes.shared
        item: _Item | None = None
        try:
            while data[position] == 0x8C:  # SHORT_BINUNICODE
                start = position + 2 + data[position + 1]
                name = str(data[position + 2 : start], "utf-8", "surrogatepass")
                before, item = item, item and item.next
                if not item or not data.startswith(item.words, start):
                    item = self._item(unpickler, start)
                    if before:
                        before.next = item
                    if not item:
                        break
                stack += (name, item.model if shared else item.copy())
                memo.append(name)
                memo += item.memo
                position = start + len(item.words)
        except (IndexError, ValueError):  # the file ends, or the name isn't UTF-8
            pass
        return position

    def _item(self, unpickler: Unpickler, start: int) -> _Item | None:
        data = unpickler.data
        item = self._items.get(data[start : data.find(_NEXT_NAME, start, start + _MAX_WORDS) + 2])
        if item:
            return item
        match = _ITEM.match(data, start)
        if match is None:
            return None
        words = match.group()
        if words not in self._items:
            self._items[words] = None
            with suppress(DcpxError):
                model, made = unpickler.apart(words[1:])  # without the MEMOIZE of the name
                classes = self._classes
                if type(model) in (classes.tensor, classes.object):
                    chunk = classes.chunk if type(model) is classes.tensor else None
                    self._items[words] = _Item(words, model, chunk, _unchanging(made, classes))
        return self._items[words]

    def _read_places(self, unpickler: Unpickler, position: int, stack: list[Any]) -> int:
        """Entries of an index and the place where it is stored."""
        data, memo = unpickler.data, unpickler.memo
        match = _HEAD.match(data, position)
        if match is None:
            return position
        head = match.group()
        place: _Place | None = None
        indices: list[tuple[str, Any]] = []
        try:
            while data.startswith(head, position):
                name, at = _pushed(data, memo, position + len(head))
                before, place = place, place and place.next
                blanks = place and place.blanks(data, memo, at)
                if not blanks:
                    place = self._place(unpickler, head, at)
                    blanks = place and place.blanks(data, memo, at)
                    if before:
                        before.next = place
                if type(name) is not str or not place or not blanks:
                    break
                offset, length, position = blanks
                stack += place.copy(name, offset, length)
                memo += place.memo
                if place.name_in_memo:
                    memo[place.name_in_memo] = name
                indices.append((name, place.index.offset))
        except (IndexError, ValueError, struct.error):  # the file ends, or isn't sound
            pass
        self._count(indices)
        return position

    def _place(self, unpickler: Unpickler, head: bytes, at: int) -> _Place | None:
        match = _REST.match(unpickler.data, at)
        if match is None:
            return None
        middle, between, tail = match.groups()
        words = head, middle, between, tail
        if words not in self._places:
            self._places[words] = None
            name = f"{len(self._places):08}"  # another each time, because indices are counted
            blanks = name.encode(), _OFFSET.to_bytes(4, "little"), _LENGTH.to_bytes(4, "little")
            filled_in = b"%b\x8c\x08%b%bJ%b%bJ%b%b\x86"  # and a tuple of both objects
            with suppress(DcpxError):
                pair, made = unpickler.apart(filled_in % (head, blanks[0], middle, blanks[1], between, blanks[2], tail))
                self._places[words] = _model_of(self._classes, words, name, pair, made)
        return self._places[words]


def _model_of(classes: Classes[Any], words: tuple[bytes, ...], name: str, pair: Any, made: list[Any]) -> _Place | None:
    """The model, if the blanks are where they should be."""
    index, info = pair
    if type(index) is not classes.index or type(info) is not classes.storage_info:
        return None
    descriptors = info.transform_descriptors
    # No other field takes a string, or a number, than these three and the descriptors.
    if (index.fqn, info.offset, info.length) != (name, _OFFSET, _LENGTH) or type(descriptors) not in (list, type(None)):
        return None
    own_list = any(part is descriptors for part in made)
    name_in_memo = made.index(name) - len(made) if name in made else 0
    return _Place(words, index, info, own_list, _unchanging(made, classes), name_in_memo)


def _unchanging(made: list[Any], classes: Classes[Any]) -> list[Any]:
    """What a copy shares with its model. The file doesn't refer to the rest; if it does, it is read without models."""
    return [part if type(part) in (str, tuple, classes.size) else LEFT_OUT for part in made]


def _pushed(data: bytes, memo: list[Any], at: int) -> tuple[Any, int]:
    """What the word at this position pushes, and where the next one begins; LEFT_OUT if it can't be a blank."""
    word = data[at]
    if word == 0x4D:  # BININT2
        return data[at + 1] | data[at + 2] << 8, at + 3
    if word == 0x4A:  # BININT
        return _INT32(data, at + 1)[0], at + 5
    if word == 0x6A:  # LONG_BINGET
        return memo[_UINT32(data, at + 1)[0]], at + 5
    if word == 0x68:  # BINGET
        return memo[data[at + 1]], at + 2
    if word == 0x4B:  # BININT1
        return data[at + 1], at + 2
    if word == 0x8A:  # LONG1
        end = at + 2 + data[at + 1]
        return int.from_bytes(data[at + 2 : end], "little", signed=True), end
    if word == 0x8C:  # SHORT_BINUNICODE
        end = at + 2 + data[at + 1]
        return str(data[at + 2 : end], "utf-8", "surrogatepass"), end
    return LEFT_OUT, at
