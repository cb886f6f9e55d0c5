"""What a reader is willing to believe of a checkpoint before it allocates anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import LimitError, Where
from ..memory import available_memory
from .items import StoredItem
from .metadata import MAX_METADATA_SIZE

__all__ = ["Limits", "limits_remedy"]

_FREE = 64 << 20
"""Bytes that an object may unfold into however little is stored of it."""

_RATIO = 1024
"""Of an object that no manifest names: what is written plain, as stock DCP does, unfolds into itself."""

_COPIES = 4
"""Times its size that an object takes, about, while it is loaded."""


@dataclass(frozen=True)
class Limits:
    """A caller's limits on one checkpoint, in bytes but for `object_ratio` and `files`; None means no limit of its own.

    A tensor never takes more than its shape says, which is that of the target, so that `total` is what bounds a load.
    An object has no such measure. `object_size` bounds each one, by default to a quarter of the memory that is
    available. One of more than 64 MiB may be at most `object_ratio` times as large as it is stored, by default 1,024
    times where no manifest names it: what dcpx saves of zeros may be a few bytes for each MiB. `metadata_size` bounds
    `.metadata` and the manifest, each.
    """

    total: int | None = None
    object_size: int | None = None
    object_ratio: int | None = None
    metadata_size: int = MAX_METADATA_SIZE
    files: int = 1 << 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            optional = name in ("total", "object_size", "object_ratio")
            if not (value is None and optional) and (type(value) is not int or value < 0):
                raise ValueError(f"{name} must be a number from 0, not {value!r}")

    def most_bytes(self, item: StoredItem) -> int:
        """What an item may unfold into."""
        if item.shape is not None:
            return item.most_bytes
        return self.most_object_bytes(item.info.length, sealed=item.seal is not None)

    def most_object_bytes(self, stored: int, *, sealed: bool) -> int:
        """What an object may unfold into of which so much is stored; `sealed` says whether a manifest names it."""
        size = max(_FREE, available_memory() // _COPIES) if self.object_size is None else self.object_size
        ratio = self.object_ratio
        if ratio is None and not sealed:
            ratio = _RATIO
        return size if ratio is None else min(size, max(_FREE, ratio * stored))

    def check(self, items: Iterable[StoredItem]) -> int:
        """LimitError if what is to be loaded lies in too many files, or is too much in all; else how many bytes that
        is, those of objects as they are stored."""
        files: set[str] = set()
        total = 0
        for item in items:
            files.add(item.info.relative_path)
            total += item.nbytes
            if len(files) > self.files:
                raise LimitError(
                    f"the items lie in more than {self.files} files", Where(item=item.name), limits_remedy("files")
                )
            self.check_total(total, item)
        return total

    def check_total(self, total: int, item: StoredItem) -> None:
        """LimitError if what is loaded with this item is too much in all."""
        if self.total is not None and total > self.total:
            raise LimitError(
                f"the items have more than {self.total} bytes in all", Where(item=item.name), limits_remedy("total")
            )


def limits_remedy(*names: str) -> str:
    """What to do about limits that were met."""
    raised = ", ".join(f"{name}=..." for name in names)
    return f"If you trust where the checkpoint comes from, raise the limit with limits=dcpx.Limits({raised})"
