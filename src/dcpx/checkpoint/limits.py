"""What a reader is willing to believe of a checkpoint before it allocates anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import LimitError, Where
from .items import StoredItem
from .metadata import MAX_METADATA_SIZE

__all__ = ["Limits"]

_FREE = 64 << 20
"""Bytes that an object may unfold into however little is stored of it."""


@dataclass(frozen=True)
class Limits:
    """A caller's limits on one checkpoint, in bytes but for `object_ratio` and `files`; None means no limit.

    A tensor never takes more than its shape says, which is that of the target, so that `total` is what bounds a load.
    An object has no such measure: `object_size` bounds each one, and one of more than 64 MiB may be at most
    `object_ratio` times as large as it is stored. `metadata_size` bounds `.metadata` and the manifest, each.
    """

    total: int | None = None
    object_size: int = 1 << 30
    object_ratio: int = 1024
    metadata_size: int = MAX_METADATA_SIZE
    files: int = 1 << 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (value is None and name == "total") and (type(value) is not int or value < 0):
                raise ValueError(f"{name} must be a number from 0, not {value!r}")

    def most_bytes(self, item: StoredItem) -> int:
        """What an item may unfold into."""
        if item.shape is not None:
            return item.most_bytes
        return min(self.object_size, max(_FREE, self.object_ratio * item.info.length))

    def check(self, items: Iterable[StoredItem]) -> int:
        """LimitError if what is to be loaded lies in too many files, or is too much in all; else how many bytes that
        is, those of objects as they are stored."""
        files: set[str] = set()
        total = 0
        for item in items:
            files.add(item.info.relative_path)
            total += item.nbytes
            if len(files) > self.files:
                raise LimitError(f"the items lie in more than {self.files} files", Where(item=item.name))
            self.check_total(total, item)
        return total

    def check_total(self, total: int, item: StoredItem) -> None:
        """LimitError if what is loaded with this item is too much in all."""
        if self.total is not None and total > self.total:
            raise LimitError(f"the items have more than {self.total} bytes in all", Where(item=item.name))
