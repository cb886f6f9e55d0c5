"""The planners of `save` and `load`: DCP's default ones, but for what those leave unnamed or put beside its place."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import (
    DefaultLoadPlanner,
    DefaultSavePlanner,
    create_default_local_save_plan,
)
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem, SavePlan

from ..errors import SaveError, Where
from .replicas import check_kinds

__all__ = ["OwnLoadPlanner", "OwnSavePlanner"]


class OwnSavePlanner(DefaultSavePlanner):
    """Names the item that can't be planned, on one rank, or because ranks hold what no plan can join under its name."""

    def create_local_plan(self) -> SavePlan:
        try:
            plan: SavePlan = super().create_local_plan()
            return plan
        except Exception as error:
            raise SaveError(f"{type(error).__name__}: {error}", Where(item=self._unplanned())) from error

    def _unplanned(self) -> str | None:
        """The first item that fails by itself."""
        for name, value in self.state_dict.items():
            try:
                create_default_local_save_plan({name: value}, self.is_coordinator)
            except Exception:  # noqa: BLE001 (whatever it was, it failed before)
                return name
        return None

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        check_kinds(all_plans)
        plans: tuple[list[SavePlan], Metadata] = super().create_global_plan(all_plans)
        return plans


class OwnLoadPlanner(DefaultLoadPlanner):
    """Puts an object back under the key that the state has, where that is no string; DCP adds the key's text."""

    def __init__(self, allow_partial_load: bool = False) -> None:
        super().__init__(allow_partial_load=allow_partial_load)
        self._keys: dict[int, dict[str, Any]] = {}

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        *way, last = self.mappings[read_item.dest_index.fqn]
        place: Any = self.original_state_dict
        for part in way:
            place = place[self._key(place, part)]
        place[self._key(place, last)] = torch.load(value, weights_only=False)  # the reader has looked it through

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
