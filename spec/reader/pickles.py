"""Pickles, read without being run: what a file names is a key into a table, and nothing else is ever called."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Any, Protocol

from .kinds import CorruptError, ReadError, TruncatedError, UnsupportedError

__all__ = ["BOTH", "METADATA", "TORCH_SAVE", "Language", "read_pickle"]

BOTH = frozenset(b"q r h j X K M J \x8a ) \x85 \x86 \x87 ( t c R N \x88 \x89 } s u ] a e .".replace(b" ", b""))
METADATA = BOTH | frozenset(b"\x8c\x94\x93\x95\x81bG")
TORCH_SAVE = BOTH | frozenset(b"Q")
ANY = frozenset(b"(.012BCFGIJKLMNPQRSTUVX]abcdeghijlopqrstu})") | frozenset(range(0x80, 0x99))
"""The opcodes of `.metadata` (section 1 of metadata.md), of a tensor's container (section 2 of container.md), and of
any pickle."""


class Language(Protocol):
    """What the names of one kind of pickle mean."""

    opcodes: frozenset[int]
    protocols: range

    def name(self, module: str, name: str) -> object: ...
    def call(self, function: object, arguments: tuple[Any, ...]) -> object: ...
    def new(self, cls: object) -> object: ...
    def build(self, made: object, state: Any) -> None: ...
    def persistent(self, reference: object) -> object: ...
    def key(self, key: object) -> Hashable:
        """What stands for the key in a dictionary; it is hashed."""


def read_pickle(data: bytes, language: Language) -> object:
    """The object that a pickle describes in this language."""
    if not data:
        raise TruncatedError("an empty pickle")
    if data[0] != 0x80 or int.from_bytes(data[1:2], "little") not in language.protocols:
        error = CorruptError if language.opcodes is METADATA else UnsupportedError
        raise error("no pickle, or one of another protocol")
    try:
        return _run(data, language)
    except ReadError:
        raise
    except (IndexError, KeyError, struct.error, ValueError) as error:
        raise CorruptError(f"not a valid pickle: {error}") from None


def _run(data: bytes, language: Language) -> object:
    at = 2
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks below each mark
    memo: dict[int, Any] = {}

    def take(count: int) -> bytes:
        nonlocal at
        if count > len(data) - at:
            raise TruncatedError("the pickle ends too early")
        at += count
        return data[at - count : at]

    def number(form: str) -> int:
        return int(struct.unpack("<" + form, take(struct.calcsize("<" + form)))[0])

    def line() -> str:
        nonlocal at
        end = data.find(b"\n", at)
        if end < 0:
            raise TruncatedError("the pickle ends within a name")
        begin, at = at, end + 1
        return str(data[begin:end], "utf-8")

    def remember(index: int) -> None:
        if index != len(memo) and language.opcodes is METADATA:
            raise CorruptError("the memo has gaps")
        memo[index] = stack[-1]

    while True:
        opcode = take(1)
        if opcode[0] not in language.opcodes:
            raise (UnsupportedError if opcode[0] in ANY else CorruptError)(f"opcode {opcode!r}")
        if opcode == b"\x94":  # MEMOIZE
            remember(len(memo))
        elif opcode == b"q":  # BINPUT
            remember(number("B"))
        elif opcode == b"r":  # LONG_BINPUT
            remember(number("I"))
        elif opcode == b"h":  # BINGET
            stack.append(memo[number("B")])
        elif opcode == b"j":  # LONG_BINGET
            stack.append(memo[number("I")])
        elif opcode in b"\x8cX":  # SHORT_BINUNICODE, BINUNICODE
            stack.append(str(take(number("B" if opcode == b"\x8c" else "I")), "utf-8", "surrogatepass"))
        elif opcode == b"K":  # BININT1
            stack.append(number("B"))
        elif opcode == b"M":  # BININT2
            stack.append(number("H"))
        elif opcode == b"J":  # BININT
            stack.append(number("i"))
        elif opcode == b"\x8a":  # LONG1
            stack.append(int.from_bytes(take(number("B")), "little", signed=True))
        elif opcode == b"G":  # BINFLOAT
            stack.append(struct.unpack(">d", take(8))[0])
        elif opcode == b"N":  # NONE
            stack.append(None)
        elif opcode in b"\x88\x89":  # NEWTRUE, NEWFALSE
            stack.append(opcode == b"\x88")
        elif opcode in b")\x85\x86\x87":  # EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3
            count = b")\x85\x86\x87".index(opcode)
            parts = [stack.pop() for _ in range(count)]
            stack.append(tuple(parts[::-1]))
        elif opcode == b"(":  # MARK
            below.append(stack)
            stack = []
        elif opcode == b"t":  # TUPLE
            parts, stack = stack, below.pop()
            stack.append(tuple(parts))
        elif opcode == b"]":  # EMPTY_LIST
            stack.append([])
        elif opcode in b"ae":  # APPEND, APPENDS
            parts, stack = ([stack.pop()], stack) if opcode == b"a" else (stack, below.pop())
            if type(stack[-1]) is not list:
                raise CorruptError("appends to what isn't a list")
            stack[-1].extend(parts)
        elif opcode == b"}":  # EMPTY_DICT
            stack.append({})
        elif opcode in b"su":  # SETITEM, SETITEMS
            parts, stack = ([stack.pop(), stack.pop()][::-1], stack) if opcode == b"s" else (stack, below.pop())
            target = stack[-1]
            if type(target) is not dict or len(parts) % 2:
                raise CorruptError("puts keys into what isn't a dictionary")
            for key, value in zip(map(language.key, parts[::2]), parts[1::2], strict=True):
                if key in target:
                    raise CorruptError("the same key twice")
                target[key] = value
        elif opcode == b"c":  # GLOBAL
            stack.append(language.name(line(), line()))
        elif opcode == b"\x93":  # STACK_GLOBAL
            name, module = stack.pop(), stack.pop()
            if type(module) is not str or type(name) is not str:
                raise CorruptError("a name that isn't a string")
            stack.append(language.name(module, name))
        elif opcode == b"Q":  # BINPERSID
            stack.append(language.persistent(stack.pop()))
        elif opcode in b"R\x81":  # REDUCE, NEWOBJ
            arguments, function = stack.pop(), stack.pop()
            if type(arguments) is not tuple or (opcode == b"\x81" and arguments):
                raise CorruptError("arguments")
            stack.append(language.call(function, arguments) if opcode == b"R" else language.new(function))
        elif opcode == b"b":  # BUILD
            state = stack.pop()
            language.build(stack[-1], state)
        elif opcode == b"\x95":  # FRAME
            if number("Q") > len(data) - at:
                raise TruncatedError("the pickle ends within a frame")
        else:  # STOP
            if below or len(stack) != 1 or (language.opcodes is METADATA and at != len(data)):
                raise CorruptError("more than one object, or bytes behind it")
            return stack[0]
