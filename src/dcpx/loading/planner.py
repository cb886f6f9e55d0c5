"""The planner of `dcpx.load`: DCP's default one, mended where that loses names or puts objects in the wrong place."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint._nested_dict import flatten_state_dict
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, ReadItem

from ..dcp.private import is_stateful
from ..errors import LoadError, Where

__all__ = ["ABSENT", "OwnLoadPlanner"]

ABSENT = "the checkpoint has no item of this name"


class OwnLoadPlanner(DefaultLoadPlanner):
    """Takes the state apart as a save does, and puts an object back under the key that the state has.

    DCP's own planner first rebuilds the state from dictionaries and lists. Empty ones are lost in this, so that the
    parts of a list that held them get other names, and any other mapping becomes None. An object whose key is no string
    comes back beside it, under the key's text.

    What is loaded is the state of `filling`, and not what DCP passes on: it asks of each value that it is given, twice,
    whether it has a `state_dict()`, which takes as long as to plan it.
    """

    def __init__(self, allow_partial_load: bool = False) -> None:
        super().__init__(allow_partial_load=allow_partial_load)
        self._keys: dict[int, dict[str, Any]] = {}
        self._given: dict[str, Any] = {}

    @contextmanager
    def filling(self, state_dict: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A block that loads `state_dict`, in the order of its names, while DCP is given what this yields. At its end a
        value with a `state_dict()` is given that, and a value that was replaced takes the old one's place, as DCP does
        it."""
        self._given = {
            name: value.state_dict() if is_stateful(value) else value for name, value in sorted(state_dict.items())
        }
        yield {}
        for name, loaded in self._given.items():
            if is_stateful(state_dict[name]):
                state_dict[name].load_state_dict(loaded)
            else:
                state_dict[name] = loaded

    def set_up_planner(
        self, state_dict: dict[str, Any], metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        state_dict = self._given
        flattened, mappings = flatten_state_dict(state_dict)
        if any(map(_needs_rebuilding, flattened.values())):
            super().set_up_planner(state_dict, metadata, is_coordinator)
            return
        self.original_state_dict = state_dict
        self.state_dict, self.mappings = flattened, mappings
        self.metadata = metadata
        self.is_coordinator = is_coordinator

    def create_local_plan(self) -> LoadPlan:
        try:
            plan: LoadPlan = super().create_local_plan()
            return plan
        except RuntimeError as error:
            missing = self.missing()
            if self.allow_partial_load or not missing:
                raise
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            remedy = "Pass strict=False to leave as it is what the checkpoint lacks"
            raise LoadError(f"{ABSENT}{more}", Where(item=missing[0]), remedy) from error

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        *way, last = self.mappings[read_item.dest_index.fqn]
        place: Any = self.original_state_dict
        for part in way:
            place = place[self._key(place, part)]
        # The reader has checked it. torch may be set to map files into memory by default, and this is no file.
        place[self._key(place, last)] = torch.load(value, weights_only=False, mmap=False)

    def missing(self) -> list[str]:
        """The names of what the state has and the checkpoint doesn't."""
        stored = {} if self.metadata is None else self.metadata.state_dict_metadata
        return sorted(self.state_dict.keys() - stored.keys())

    def _key(self, container: Any, part: str | int) -> Any:
        if not isinstance(container, Mapping) or part in container:
            return part
        known = self._keys.get(id(container))
        if known is None:
            known = self._keys[id(container)] = {str(key): key for key in container}
        return known.get(str(part), part)


def _needs_rebuilding(value: object) -> bool:
    """Whether DCP's own way is needed, which replaces values of the state: a tensor on the device meta by one with
    memory, and nested shards by one tensor."""
    return isinstance(value, ShardedTensor) or (isinstance(value, torch.Tensor) and value.device.type == "meta")
