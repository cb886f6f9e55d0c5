"""Notices tensors that are written to while they are being saved."""

from __future__ import annotations

import warnings

import torch
from torch.distributed.checkpoint.planner import WriteItem

from ..dcp.private import version_of
from ..errors import DcpxWarning

__all__ = ["Changes"]

_NAMED = 3


class Changes:
    """The items of one save whose tensors changed between `begin` and `end`, as far as torch counts that: what this
    process does to a tensor in place, unless it is an inference tensor. Any thread may use it."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def begin(self, data: object) -> int | None:
        """What `end` needs: the tensor's version, if `data` is a tensor that has one."""
        return version_of(data) if isinstance(data, torch.Tensor) else None

    def end(self, item: WriteItem, data: object, version: int | None) -> None:
        """All of the item's data was stored, which had this version when it was taken up."""
        if version is not None and self.begin(data) != version:
            self._names.append(item.index.fqn)

    def warn(self) -> None:
        """Say once which items changed, if any did."""
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
