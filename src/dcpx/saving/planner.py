"""The planner of `dcpx.save`: DCP's default one, whose errors name the item."""

from __future__ import annotations

from typing import Any

from torch.distributed.checkpoint.default_planner import DefaultSavePlanner, create_default_local_save_plan
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan

from ..errors import SaveError, Where
from .replicas import check_kinds

__all__ = ["OwnSavePlanner"]


class OwnSavePlanner(DefaultSavePlanner):
    """DCP's planner, whose SaveError names the item that can't be planned: on this rank, or because the ranks hold
    different kinds of values under one name.

    A `state` is what is saved, whatever DCP passes on: of each value that it is given it asks, and logs, whether that
    has a `state_dict()`, which takes longer than to plan it.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._state = state

    def set_up_planner(
        self, state_dict: dict[str, Any], storage_meta: StorageMeta | None = None, is_coordinator: bool = False
    ) -> None:
        super().set_up_planner(state_dict if self._state is None else self._state, storage_meta, is_coordinator)

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
