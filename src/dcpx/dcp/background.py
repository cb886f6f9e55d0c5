"""DCP's own ways to copy a state and to save it in another process, whatever torch's version has of them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import torch
from torch.distributed.checkpoint import staging
from torch.distributed.checkpoint._async_process_executor import _ProcessBasedAsyncCheckpointExecutor

from .private import collectives

__all__ = ["Stager", "save_in_process"]


class Stager:
    """Copies states to this machine's memory by DCP's stager: each storage once, whatever refers to it, and all that is
    no tensor as well.

    Where there is a device the memory is pinned and kept for the next state, until `close`; without one it is the
    copy's own, and gone with it. `shared` puts it where another process finds it.
    """

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._stager: Any = None

    def copy(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The copy. What DCP raises of a state that it can't copy passes."""
        pinned = torch.cuda.is_available()
        # Taken while it is at work: a signal's handler may copy another state meanwhile.
        stager, self._stager = self._stager or self._make(pinned), None
        try:
            copied: dict[str, Any] = stager.stage(_resolved(state_dict))
        except BaseException:
            _close(stager)
            raise
        if pinned and self._stager is None:
            self._stager = stager
        else:
            _close(stager)
        return copied

    def _make(self, pinned: bool) -> Any:
        if not hasattr(staging, "DefaultStager"):  # before torch 2.9
            return staging.BlockingAsyncStager(cache_staged_state_dict=pinned)
        options = staging.StagingOptions(
            use_pinned_memory=pinned,
            use_shared_memory=self._shared,
            use_async_staging=False,
            use_non_blocking_copy=False,
        )
        return staging.DefaultStager(options)

    def close(self) -> None:
        """Give the kept memory back."""
        stager, self._stager = self._stager, None
        _close(stager)


def _close(stager: Any) -> None:
    if hasattr(stager, "close"):
        stager.close()


def _resolved(value: Any) -> Any:
    """The same state whose tensors say their elements as they lie in memory: a stager copies the memory, and would
    forget that a tensor is the conjugate or the negative of it."""
    if isinstance(value, torch.Tensor):
        strided = value.layout is torch.strided and type(value) in (torch.Tensor, torch.nn.Parameter)
        return value.resolve_conj().resolve_neg() if strided and (value.is_conj() or value.is_neg()) else value
    if type(value) is dict:
        return {name: _resolved(one) for name, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_resolved, value))
    return value


def save_in_process(state_dict: dict[str, Any], *, use_collectives: bool, **arguments: Any) -> Future[Any]:
    """Save by DCP's own process for that, which is begun with the first save. The state is a copy already."""
    executor = _ProcessBasedAsyncCheckpointExecutor()
    options: dict[str, Any] = {**arguments, **collectives(use_collectives)}
    found: Future[Any] = executor.execute_save(state_dict, **options)
    return found
