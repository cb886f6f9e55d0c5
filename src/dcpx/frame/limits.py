"""What a reader is willing to believe before it allocates."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_CHUNK_SIZE", "MAX_CHUNK_SIZE", "MAX_HEADER_SIZE", "MIN_CHUNK_SIZE", "Limits"]

MIN_CHUNK_SIZE = 4 << 10
MAX_CHUNK_SIZE = 16 << 20
DEFAULT_CHUNK_SIZE = 1 << 20
"""Raw bytes of a chunk: the format's bounds and what is written by default."""

MAX_HEADER_SIZE = 64 << 10
"""Bytes; a longer header is refused unread."""


@dataclass(frozen=True)
class Limits:
    """A caller's limits on one frame, in bytes; None means no limit.

    `total` bounds the item's raw size. A reader that knows what the item must hold (a tensor's size from the
    metadata) sets it, so that a small file can't unfold into more than was asked for.
    """

    chunk_size: int = MAX_CHUNK_SIZE
    total: int | None = None
