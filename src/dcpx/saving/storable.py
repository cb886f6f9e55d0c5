"""Whether what is to be saved could be loaded again: asked of the rules by which a load refuses it."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch.distributed.checkpoint._nested_dict import flatten_state_dict

from ..dcp.classes import classes_of
from ..dcp.private import storage_reference, write_items
from ..dcp.staging import is_plain
from ..errors import CorruptError, LimitError, SaveError, UnsupportedError, Where
from ..pickles.archive import Archive
from ..pickles.containers import check_pickle

__all__ = ["check_storable", "name_unstorable"]


def check_storable(tensor: torch.Tensor) -> None:
    """SaveError for a tensor that would be refused by a load into one of its own kind; nothing is read of it.

    What is nothing but elements can always be loaded. All else goes through a container, whose pickle is made here,
    without what it refers to, and held against what a load lets a pickle be.
    """
    if is_plain(tensor):
        return
    output = io.BytesIO()
    pickler = _Pickler(output)
    try:
        pickler.dump(tensor.detach())
        check_pickle(output.getvalue(), Archive(output, {}, pickler.records), (), classes_of(tensor))
    except (CorruptError, UnsupportedError, LimitError) as error:
        raise SaveError(f"the tensor couldn't be loaded again: {error.cause}", remedy=error.remedy) from error
    except Exception as error:
        kind = f"a {type(tensor).__name__}, {tensor.dtype}, {tensor.layout}, on {tensor.device}"
        raise SaveError(f"the tensor ({kind}) can't be pickled: {type(error).__name__}: {error}") from error


def name_unstorable(state_dict: dict[str, Any]) -> None:
    """SaveError that names the first tensor of a state that DCP can't plan; nothing where there is none.

    For a save that failed while it was planned: DCP doesn't say of what.
    """
    for name, value in flatten_state_dict(state_dict)[0].items():
        if isinstance(value, torch.Tensor):
            try:
                write_items(name, value)
            except Exception as error:
                kind = f"a {type(value).__name__}, {value.dtype}, {value.layout}, on {value.device}"
                cause = f"DCP has no plan for the tensor ({kind}): {type(error).__name__}: {error}"
                raise SaveError(cause, Where(item=name)) from error


class _Pickler(pickle.Pickler):
    """Pickles as torch.save does, but for the storages: `records` says how large they would be, and nothing is read."""

    def __init__(self, output: io.BytesIO) -> None:
        super().__init__(output, protocol=2)
        self.records: dict[str, tuple[int, int]] = {}
        self._keys: dict[int, str] = {}

    def persistent_id(self, found: Any) -> Any:
        if not torch.is_storage(found):
            return None
        kind, untyped, count = storage_reference(found)
        key = self._keys.setdefault(untyped._cdata, str(len(self._keys)))
        self.records[f"data/{key}"] = (0, untyped.nbytes())
        return ("storage", kind, key, "cpu", count)
