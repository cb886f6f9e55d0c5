"""Pickles made by hand, word by word."""

from __future__ import annotations

import struct


def named(module: str, name: str) -> bytes:
    """GLOBAL"""
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    """BINUNICODE"""
    coded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(coded)) + coded


def number(value: int) -> bytes:
    """LONG1"""
    coded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(coded)]) + coded


def tuple_of(*parts: bytes) -> bytes:
    """TUPLE"""
    return b"(" + b"".join(parts) + b"t"


def numbers(*values: int) -> bytes:
    return tuple_of(*map(number, values))


def put(index: int) -> bytes:
    """LONG_BINPUT"""
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    """LONG_BINGET"""
    return b"j" + struct.pack("<I", index)


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """REDUCE"""
    return named(module, name) + tuple_of(*arguments) + b"R"


def laughing(levels: int = 60) -> bytes:
    """A pair of the same pair of the same pair ..., 2 ** levels in all."""
    return b")" + b"".join(put(level) + get(level) + b"\x86" for level in range(levels))
