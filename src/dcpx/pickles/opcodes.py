"""The stack machine that a pickle is a program for: the opcodes that both readers of pickles here know.

There are two, and neither runs anything: `unpickle` makes DCP's records of a `.metadata` file, and `torch_pickle`
foresees what a pickle of `torch.save` would make. What an opcode does to the stack and to the memo is the same for
both and stands here. What is made of a name, a call or a state is theirs: they are subclasses, and say it in methods.
"""

from __future__ import annotations

import pickletools
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from ..errors import CorruptError, DcpxError, UnsupportedError
from .account import NUMBER, OBJECT, Account

__all__ = ["INT32", "LEFT_OUT", "LeftOutError", "Machine", "unknown_opcode"]

LEFT_OUT = object()
"""Stands in the memo for an object that isn't kept there."""

_UINT16 = struct.Struct("<H").unpack_from
_UINT32 = struct.Struct("<I").unpack_from
INT32 = struct.Struct("<i").unpack_from
_FLOAT64 = struct.Struct(">d").unpack_from


class LeftOutError(LookupError):
    """The pickle refers to an object that is LEFT_OUT of the memo."""


class Machine(ABC):
    """Goes through the pickle `data`. Its `memo` has what the pickle can refer to, in the order in which it was made.

    `position` is where the last run came to, in bytes, whether it ended or failed.
    """

    modern: ClassVar[bool]
    """Whether the opcodes that protocol 4 brought may occur."""

    make_dict: Callable[[], object] = dict
    """Makes an empty dictionary, or what a reader has in its place."""

    make_tuple: Callable[[list[Any]], object] = tuple
    """Makes a tuple of its parts."""

    numbers: Callable[[int], tuple[list[Any], int]] | None = None
    """Where it is given, it reads the numbers that follow a MARK all at once, and returns them and where they end."""

    def __init__(self, data: bytes, account: Account | None = None) -> None:
        """What is made is charged to the account, if there is one."""
        self.data = data
        self.memo: list[Any] = []
        self.position = 0
        self._spend = None if account is None else account.spend

    @abstractmethod
    def keep(self, made: list[Any], index: int, kept: Any) -> None:
        """Put an object into the memo, or what is to become a part of it, at another place than the end. No pickler
        asks for that. Places that are left between are LEFT_OUT."""

    @abstractmethod
    def text(self, start: int, end: int) -> object:
        """A text, of the UTF-8 that lies from `start` to `end`, where the data may have ended before."""

    @abstractmethod
    def name(self, module: Any, name: Any) -> object:
        """What a module's global stands for: a class, a function or a value."""

    @abstractmethod
    def new(self, cls: Any, arguments: Any) -> object:
        """An object of a class, made without calling it."""

    @abstractmethod
    def call(self, function: Any, arguments: Any) -> object:
        """What a function returns."""

    @abstractmethod
    def build(self, stack: list[Any], state: Any, position: int) -> int:
        """Give the topmost object its state. Returns where the next opcode is: `position`, or where what was read
        ahead ends, to the same effect on stack and memo."""

    @abstractmethod
    def extend(self, target: Any, parts: list[Any]) -> None:
        """Append to a list."""

    @abstractmethod
    def insert(self, target: Any, parts: list[Any]) -> None:
        """Put keys and values, which alternate in `parts`, into a dictionary."""

    @abstractmethod
    def other(self, opcode: int, stack: list[Any], position: int) -> int:
        """Obey an opcode that isn't shared, whose operand begins at `position`, and return where the next one is. For
        an opcode that isn't known there either, raise what `unknown_opcode` makes."""

    def run(self, position: int, made: list[Any]) -> object:
        """The object that the pickle makes, read from `position` to its STOP. To `made`, which may be the memo itself,
        is added what the pickle would add to its memo.

        Raises CorruptError for what no pickle does, LeftOutError, and what the methods raise; of operands that aren't
        there or aren't valid come IndexError, ValueError and struct.error.
        """
        data, memo, modern, spend = self.data, self.memo, self.modern, self._spend
        make_dict, make_tuple, numbers, text = self.make_dict, self.make_tuple, self.numbers, self.text
        new, build, extend, insert = self.new, self.build, self.extend, self.insert
        # The stack above the last MARK, and the stacks below each MARK.
        stack: list[Any] = []
        below: list[list[Any]] = []
        try:
            # Two chains of comparisons, in each the most frequent opcodes first: Python has nothing faster.
            while True:
                opcode = data[position]
                position += 1
                if opcode >= 0x80:
                    if opcode == 0x94 and modern:  # MEMOIZE
                        made.append(stack[-1])
                    elif opcode == 0x8C and modern:  # SHORT_BINUNICODE
                        start = position + 1
                        position = start + data[position]
                        stack.append(str(data[start:position], "utf-8", "surrogatepass"))
                    elif opcode == 0x86:  # TUPLE2
                        last = stack.pop()
                        stack.append(make_tuple([stack.pop(), last]))
                    elif opcode == 0x85:  # TUPLE1
                        stack.append(make_tuple([stack.pop()]))
                    elif opcode == 0x81:  # NEWOBJ
                        arguments, cls = stack.pop(), stack.pop()
                        stack.append(new(cls, arguments))
                    elif opcode == 0x8A:  # LONG1
                        start = position + 1
                        position = start + data[position]
                        if spend:
                            spend(NUMBER + position - start)
                        stack.append(int.from_bytes(data[start:position], "little", signed=True))
                    elif opcode == 0x87:  # TUPLE3
                        last, middle = stack.pop(), stack.pop()
                        stack.append(make_tuple([stack.pop(), middle, last]))
                    elif opcode == 0x89:  # NEWFALSE
                        stack.append(False)
                    elif opcode == 0x88:  # NEWTRUE
                        stack.append(True)
                    else:
                        position = self.other(opcode, stack, position)
                elif opcode == 0x68:  # BINGET
                    known = memo[data[position]]
                    if known is LEFT_OUT:
                        raise LeftOutError
                    stack.append(known)
                    position += 1
                elif opcode == 0x6A:  # LONG_BINGET
                    known = memo[_UINT32(data, position)[0]]
                    if known is LEFT_OUT:
                        raise LeftOutError
                    stack.append(known)
                    position += 4
                elif opcode == 0x71:  # BINPUT
                    if data[position] == len(made):
                        made.append(stack[-1])
                    else:
                        self.keep(made, data[position], stack[-1])
                    position += 1
                elif opcode == 0x72:  # LONG_BINPUT
                    index = _UINT32(data, position)[0]
                    if index == len(made):
                        made.append(stack[-1])
                    else:
                        self.keep(made, index, stack[-1])
                    position += 4
                elif opcode == 0x4B:  # BININT1
                    stack.append(data[position])
                    position += 1
                elif opcode == 0x58:  # BINUNICODE
                    start = position + 4
                    position = start + _UINT32(data, position)[0]
                    stack.append(text(start, position))
                elif opcode == 0x28:  # MARK
                    if spend:
                        spend(OBJECT)
                    below.append(stack)
                    if numbers:
                        stack, position = numbers(position)
                    else:
                        stack = []
                elif opcode == 0x29:  # EMPTY_TUPLE
                    stack.append(())
                elif opcode == 0x62:  # BUILD
                    state = stack.pop()
                    position = build(stack, state, position)
                elif opcode == 0x52:  # REDUCE
                    arguments, function = stack.pop(), stack.pop()
                    stack.append(self.call(function, arguments))
                elif opcode == 0x7D:  # EMPTY_DICT
                    if spend:
                        spend(2 * OBJECT)
                    stack.append(make_dict())
                elif opcode == 0x75:  # SETITEMS
                    parts, stack = stack, below.pop()
                    if len(parts) % 2:
                        raise CorruptError("the pickle has a key without a value")
                    insert(stack[-1], parts)
                elif opcode == 0x73:  # SETITEM
                    last = stack.pop()
                    key = stack.pop()
                    insert(stack[-1], [key, last])
                elif opcode == 0x4A:  # BININT
                    if spend:
                        spend(NUMBER)
                    stack.append(INT32(data, position)[0])
                    position += 4
                elif opcode == 0x74:  # TUPLE
                    parts, stack = stack, below.pop()
                    stack.append(make_tuple(parts))
                elif opcode == 0x5D:  # EMPTY_LIST
                    if spend:
                        spend(OBJECT)
                    stack.append([])
                elif opcode == 0x61:  # APPEND
                    last = stack.pop()
                    extend(stack[-1], [last])
                elif opcode == 0x65:  # APPENDS
                    parts, stack = stack, below.pop()
                    extend(stack[-1], parts)
                elif opcode == 0x4D:  # BININT2
                    stack.append(_UINT16(data, position)[0])
                    position += 2
                elif opcode == 0x47:  # BINFLOAT
                    if spend:
                        spend(NUMBER)
                    stack.append(_FLOAT64(data, position)[0])
                    position += 8
                elif opcode == 0x4E:  # NONE
                    stack.append(None)
                elif opcode == 0x63:  # GLOBAL
                    middle = data.index(b"\n", position)
                    end = data.index(b"\n", middle + 1)
                    stack.append(self.name(str(data[position:middle], "utf-8"), str(data[middle + 1 : end], "utf-8")))
                    position = end + 1
                elif opcode == 0x2E:  # STOP
                    break
                else:
                    position = self.other(opcode, stack, position)
            if below or len(stack) != 1:
                raise CorruptError("the pickle leaves more than one object")
            return stack[0]
        finally:
            self.position = position


def unknown_opcode(opcode: int, writer: str, remedy: str | None = None) -> DcpxError:
    """The error for an opcode that `writer` doesn't write, with this remedy, or that is none at all."""
    for known in pickletools.opcodes:
        if known.code == chr(opcode):
            cause = f"the pickle uses the opcode {known.name}, which {writer} doesn't write"
            return UnsupportedError(cause, remedy=remedy)
    return CorruptError(f"the pickle has a byte that is no opcode, {opcode:#04x}")
