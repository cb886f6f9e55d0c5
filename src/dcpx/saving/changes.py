"""Changes: notices tensors that are written to while they are being saved."""

from __future__ import annotations

import warnings

import torch
from torch.distributed.checkpoint.planner import WriteItem

from ..dcp.private import version_of
from ..errors import DcpxWarning

__all__ = ["Changes"]

_NAMED = 3


class Changes:
    """The items of one save whose tensors changed between `begin` and `end`. Any thread may use it.

    torch counts what this process does to a tensor in place, unless it is an inference tensor; other changes go
    unnoticed.
    """

    def __init__(self) -> None:
        self._names: list[str] = []

    def begin(self, data: object) -> int | None:
        """The tensor's version, which `end` needs; None for what has none."""
        return version_of(data) if isinstance(data, torch.Tensor) else None

    def end(self, item: WriteItem, data: object, version: int | None) -> None:
        """Note that all of the item's data was stored; `version` is what `begin` returned of it."""
        if version is not None and self.begin(data) != version:
            self._names.append(item.index.fqn)

    def warn(self) -> None:
        """Issue one DcpxWarning that names the items that changed, if any did."""
        names = sorted(set(self._names))
        if not names:
            return
        shown = ", ".join(map(repr, names[:_NAMED]))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        warnings.warn(
            f"tensors were written to while they were being saved: {shown}{more}. What is stored of them may mix "
            "values from before and after; change them once the save has ended, or save a copy",
            DcpxWarning,
            stacklevel=2,
        )
