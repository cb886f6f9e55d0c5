"""A worker's own memory, kept from job to job: fresh memory would cost more than what is done in it."""

from __future__ import annotations

import threading
from collections import Counter

from ..dcp.staging import host_buffer

__all__ = ["Buffers"]

_LEAST = 4 << 20
"""Bytes that are taken at once."""

_ALIGNMENT = 64
"""Bytes: where decoded chunks begin."""


class Buffers(threading.local):
    """A worker's own memory, kept from job to job: for stored bytes, and for decoded ones that go on from there."""

    def __init__(self) -> None:
        self._stored = bytearray()
        self._decoded: dict[bool, memoryview] = {}
        self._used: Counter[bool] = Counter()

    def stored(self, size: int) -> memoryview:
        """`size` bytes, valid until the next call."""
        if len(self._stored) < size:
            self._stored = bytearray(size)
        return memoryview(self._stored)[:size]

    def decoded(self, size: int, pinned: bool) -> memoryview:
        """`size` bytes, valid until `release`."""
        memory = self._decoded.get(pinned)
        if memory is None or self._used[pinned] + size > len(memory):
            # The views of the one before keep it alive.
            memory = self._decoded[pinned] = host_buffer(max(size, _LEAST), pinned).numpy().data
            self._used[pinned] = 0
        begin = self._used[pinned]
        self._used[pinned] += -(-size // _ALIGNMENT) * _ALIGNMENT
        return memory[begin : begin + size]

    def release(self) -> None:
        """All that `decoded` gave may be given again."""
        self._used.clear()
