"""Pickles made by hand, of what a file names as much as of what it holds: nothing of it is imported or needed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["Call", "Global", "Made", "Pairs", "Reference", "Words", "dumps"]


@dataclass(frozen=True)
class Global:
    """A class, a function or a constant, by its names."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Made:
    """An object made without a call; `states` are the states that it is given, one as a rule."""

    cls: Global
    states: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """What a function returns."""

    function: Any
    arguments: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Reference:
    """A persistent reference."""

    of: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Pairs:
    """A dictionary of these keys and values, whatever they are."""

    pairs: list[tuple[Any, Any]]


class Words(bytes):
    """Opcodes as they are."""


def dumps(value: object, protocol: int = 4) -> bytes:
    """A pickle of numbers, strings, their containers, and the above. Strings and names are memoized."""
    body = _Pickler(protocol).words(value) + b"."
    framed = b"\x95" + struct.pack("<Q", len(body)) if protocol >= 4 else b""
    return bytes([0x80, protocol]) + framed + body


class _Pickler:
    def __init__(self, protocol: int) -> None:
        self._protocol = protocol
        self._memo: dict[object, int] = {}

    def words(self, value: Any) -> bytes:
        if isinstance(value, Words):
            return value
        if value is None or isinstance(value, bool):
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        if isinstance(value, int):
            return _integer(value)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, (str, Global)):
            return self._remembered(value)
        if isinstance(value, Made):
            return self.words(value.cls) + b")\x81" + b"".join(self.words(state) + b"b" for state in value.states)
        if isinstance(value, Call):
            return self.words(value.function) + self.words(value.arguments) + b"R"
        if isinstance(value, Reference):
            return self.words(value.of) + b"Q"
        if isinstance(value, tuple):
            parts = b"".join(map(self.words, value))
            return parts + b")\x85\x86\x87"[len(value) : len(value) + 1] if len(value) < 4 else b"(" + parts + b"t"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.words, value)) + b"e" if value else b"]"
        pairs = [*value.items()] if isinstance(value, dict) else value.pairs
        return b"}(" + b"".join(self.words(key) + self.words(one) for key, one in pairs) + b"u" if pairs else b"}"

    def _remembered(self, value: str | Global) -> bytes:
        known = self._memo.get(value)
        if known is not None:
            return b"h" + bytes([known]) if known < 256 else b"j" + struct.pack("<I", known)
        if isinstance(value, str):
            text = value.encode("utf-8", "surrogatepass")
            short = self._protocol >= 4 and len(text) < 256
            made = b"\x8c" + bytes([len(text)]) + text if short else b"X" + struct.pack("<I", len(text)) + text
        elif self._protocol >= 4:
            made = self.words(value.module) + self.words(value.name) + b"\x93"
        else:
            made = f"c{value.module}\n{value.name}\n".encode()
        number = self._memo[value] = len(self._memo)
        if self._protocol >= 4:
            return made + b"\x94"
        return made + (b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number))


def _integer(value: int) -> bytes:
    for word, form, most in ((b"K", "<B", 1 << 8), (b"M", "<H", 1 << 16)):
        if 0 <= value < most:
            return word + struct.pack(form, value)
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
