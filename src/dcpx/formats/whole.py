"""`dcpx.load_all`: a checkpoint, or some of it, without a template."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from ..api import load, raising
from ..errors import LoadError, NotFoundError, Where
from ..loading.reader import Reader
from ..store.address import shown_path
from .nesting import nested

__all__ = ["load_all"]

_KNOWN_TO_READER = ("registry", "threads", "budget", "safe_globals", "trust", "require", "limits", "storage_options")


def load_all(
    path: str | os.PathLike[str], *, keys: Iterable[str] | str | None = None, **options: Any
) -> dict[str, Any]:
    """Load a checkpoint in this process alone, nested as it was saved: tensors on the CPU, whole, and objects.

    `keys` chooses by name: a whole one, or the beginning of one that ends before a dot, such as `"model"`. `options`
    are those of `load` that say how to read: `registry`, `threads`, `budget`, `safe_globals`, `trust`, `require`,
    `limits`, `progress` and `storage_options`. Keys that were no text are text, but for the numbers of an optimizer's
    parameters, and what was empty is missing. Raises NotFoundError for a key that nothing has, and what `load` raises.
    """
    unknown = options.keys() - {*_KNOWN_TO_READER, "progress"}
    if unknown:
        raise TypeError(f"load_all() got an unexpected keyword argument {min(unknown)!r}")
    reader = Reader(path, **{name: value for name, value in options.items() if name != "progress"})
    with raising(LoadError, alone=True):
        metadata = reader.read_metadata()
    wanted = None if keys is None else [keys] if isinstance(keys, str) else list(keys)
    used: set[str] = set()
    state: dict[str, Any] = {}
    for name, described in metadata.state_dict_metadata.items():
        if wanted is not None:
            matching = [key for key in wanted if name == key or name.startswith(f"{key}.")]
            used.update(matching)
            if not matching:
                continue
        if isinstance(described, TensorStorageMetadata):
            state[name] = torch.empty(described.size, dtype=described.properties.dtype)
        else:
            state[name] = None
    if absent := [key for key in wanted or () if key not in used]:
        remedy = "Ask verify or the metadata which names there are"
        raise NotFoundError("the checkpoint has no item of this name", Where(shown_path(path), absent[0]), remedy)
    load(
        state,
        path,
        planner=DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
        no_dist=True,
        **options,
    )
    paths = {name: place for name, place in (metadata.planner_data or {}).items() if isinstance(place, tuple)}
    return nested(state, {name: paths.get(name, (name,)) for name in state})
