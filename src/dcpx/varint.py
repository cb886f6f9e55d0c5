"""Unsigned LEB128 integers in their shortest form, below 2^63: how frames and containers write small numbers."""

from __future__ import annotations

__all__ = ["Cursor", "pack_varint"]


def pack_varint(value: int) -> bytes:
    """`value` in 1 to 9 bytes. ValueError where it is negative or doesn't fit 63 bits."""
    if 0 <= value < 0x80:
        return _SINGLE[value]
    if not 0 <= value < 1 << 63:
        raise ValueError(f"{value} doesn't fit an unsigned varint of 63 bits")
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_SINGLE = [bytes([value]) for value in range(0x80)]


class Cursor:
    """Reads bytes and varints one after another. ValueError where they run out or aren't in their shortest form."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.position = 0

    def byte(self) -> int:
        if self.position >= len(self._data):
            raise ValueError("it ends too early")
        self.position += 1
        return self._data[self.position - 1]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    break
                return value
        raise ValueError("a number isn't in its shortest form")

    def varints(self, count: int) -> tuple[int, ...]:
        found = bytes(self._data[self.position : self.position + count])
        if len(found) == count and found.isascii():  # each in a byte of its own, as most are
            self.position += count
            return tuple(found)
        return tuple(self.varint() for _ in range(count))

    def rest(self) -> bytes:
        """What hasn't been read yet."""
        return bytes(self._data[self.position :])
