"""Whether a tensor that is to be saved could be loaded again, by the same rules by which a load refuses it."""

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
    """SaveError for a tensor that a load into one of its own kind would refuse. Its elements aren't read.

    A tensor that is nothing but elements can always be loaded. Any other goes through a container: its pickle is made
    here, without the storages that it refers to, and checked as a load checks it.
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
    """SaveError that names the first tensor of a state that DCP can't plan; returns if there is none.

    For a save whose planning failed: DCP doesn't say for which item.
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
    """Pickles as torch.save does, but without the storages' bytes: `records` says how many they would be."""

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
