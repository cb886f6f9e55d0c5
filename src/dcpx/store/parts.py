"""Buffers that are written one after another, at one go."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["split_parts"]


def split_parts(parts: Sequence[memoryview], size: int) -> tuple[list[memoryview], list[memoryview]]:
    """The parts' first `size` bytes, and the rest."""
    for number, part in enumerate(parts):
        if size < len(part):
            head = [*parts[:number], part[:size]] if size else list(parts[:number])
            return head, [part[size:], *parts[number + 1 :]]
        size -= len(part)
    return list(parts), []
