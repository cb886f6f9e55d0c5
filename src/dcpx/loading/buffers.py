"""Buffers: memory that a worker keeps from job to job, because fresh memory would cost more than what is done in it."""

from __future__ import annotations

import threading
from collections import Counter

from ..dcp.staging import host_buffer

__all__ = ["Buffers"]

_LEAST = 4 << 20
"""Bytes that are taken at once, of which several chunks get their parts."""

_ALIGNMENT = 64
"""Bytes: where decoded chunks begin."""


class Buffers(threading.local):
    """A worker's own memory: for stored bytes, and for decoded ones before they are copied to their targets."""

    def __init__(self) -> None:
        self._stored = bytearray()
        self._decoded: dict[bool, memoryview] = {}
        self._used: Counter[bool] = Counter()

    def stored(self, size: int) -> memoryview:
        """`size` bytes to read into, valid until the next call of this method."""
        if len(self._stored) < size:
            self._stored = bytearray(size)
        return memoryview(self._stored)[:size]

    def decoded(self, size: int, pinned: bool) -> memoryview:
        """`size` bytes to decode into, valid until `release`; `pinned` if they go on to a device."""
        memory = self._decoded.get(pinned)
        if memory is None or self._used[pinned] + size > len(memory):
            # The views of the one before keep it alive.
            memory = self._decoded[pinned] = host_buffer(max(size, _LEAST), pinned).numpy().data
            self._used[pinned] = 0
        begin = self._used[pinned]
        self._used[pinned] += -(-size // _ALIGNMENT) * _ALIGNMENT
        return memory[begin : begin + size]

    def release(self) -> None:
        """Allow all that `decoded` gave to be given again."""
        self._used.clear()
