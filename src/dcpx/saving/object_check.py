"""ObjectCheck: tells when saving, while it can still be mended, which objects a load would refuse."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.distributed.checkpoint.planner import WriteItem

from ..catalog.limits import Limits, limits_remedy
from ..errors import DcpxError, DcpxWarning, LimitError, SaveError, Where
from ..pickles.objects import check_object
from ..pickles.torch_calls import BeyondStorageError
from ..pickles.trust import SafeGlobal

__all__ = ["ObjectCheck", "Resolver"]

_SMALL = 1024
_HEADER = 30
"""Bytes of a container that are looked at first, and of its first record's header but for the names."""


class Resolver(Protocol):
    """What gives the data of a save's items: a planner, or what stands before one."""

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO: ...


class ObjectCheck:
    """Stands before a planner, and checks its objects as a load does that allows `safe_globals`. `refused` has the
    errors that such a load would raise."""

    def __init__(self, planner: Resolver, safe_globals: Sequence[SafeGlobal] = ()) -> None:
        self._planner = planner
        self._safe_globals = safe_globals
        self._limits = Limits()
        self.refused: list[DcpxError] = []

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        data = self._planner.resolve_data(write_item)
        if isinstance(data, io.BytesIO):
            try:
                self._check(data)
            except DcpxError as error:
                if isinstance(error.__cause__, BeyondStorageError):
                    cause = "the memory of a tensor in the object was freed or shrunk by its owner"
                    raise SaveError(cause, Where(item=write_item.index.fqn), "Save it while it is in memory") from error
                self.refused.append(error.located(item=write_item.index.fqn))
        return data

    def report(self, *, strict: bool) -> None:
        """Issue one DcpxWarning for all objects that were refused, or raise SaveError if `strict`."""
        if not self.refused:
            return
        # The thread that an item was saved in doesn't matter.
        refused = sorted(self.refused, key=lambda error: error.where.item or "")
        listed = "; ".join(f"{error.where.item!r}: {error.cause}" for error in refused[:_LISTED])
        more = f"; and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
        remedies = " | ".join(dict.fromkeys(error.remedy for error in refused[:_LISTED]))
        text = f"objects that a load refuses by default: {listed}{more}"
        if strict:
            where = Where(item=refused[0].where.item)
            raise SaveError(text, where, f"Save plain values instead, or without strict=True. When loading: {remedies}")
        warnings.warn(f"{text}. When loading: {remedies}", DcpxWarning, stacklevel=2)

    def _check(self, data: io.BytesIO) -> None:
        size = data.seek(0, io.SEEK_END)
        try:
            if not _is_trivial(data):
                most = self._limits.most_object_bytes(size, sealed=True)
                if size > most:
                    raise LimitError(f"the object has more than {most} bytes", remedy=limits_remedy("object_size"))
                check_object(data, size, self._safe_globals)
        finally:
            data.seek(size)


_LISTED = 10


def _is_trivial(data: io.BytesIO) -> bool:
    """Whether the object is a small pickle that names nothing, such as a number's, a text's or a list's.

    Such a one needs no further look: it can call nothing, and is too small to nest too deep.
    """
    data.seek(0)
    head = data.read(_SMALL)
    begin = _HEADER + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    try:
        _Nameless(io.BytesIO(head[begin : begin + _SMALL // 2])).load()
    except Exception:  # noqa: BLE001 (it names something, or is longer: then it is looked through)
        return False
    return head.startswith(b"PK")


class _Nameless(pickle.Unpickler):
    """Loads a pickle that names nothing and refers to no tensor. UnpicklingError for any other."""

    def find_class(self, module: str, name: str, /) -> Any:
        raise pickle.UnpicklingError
