"""Casts: stored tensors whose targets have another dtype, and what that loses."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache

import torch
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlanner, ReadItem

from ..errors import DcpxWarning, LoadError, Where

__all__ = ["check_casts", "narrows"]


def check_casts(requests: Iterable[ReadItem], metadata: Metadata, planner: LoadPlanner, *, refuse: bool) -> None:
    """Compare the stored dtypes with those of the targets before anything is filled.

    With `refuse`, LoadError if any differs. Without, one DcpxWarning is issued for all targets that can't hold every
    stored value; those that aren't in the planner's `state_dict` are left out then.
    """
    shown = getattr(planner, "state_dict", None)
    state = shown if isinstance(shown, dict) else {}
    described = metadata.state_dict_metadata
    found: dict[str, tuple[torch.dtype, torch.dtype]] = {}
    for request in requests:
        name = request.dest_index.fqn
        item = described.get(request.storage_index.fqn)
        if request.type is LoadItemType.BYTE_IO or not isinstance(item, TensorStorageMetadata) or name in found:
            continue
        target = state.get(name)
        if not isinstance(target, torch.Tensor):
            if not refuse:
                continue
            target = planner.resolve_tensor(request)
        stored = item.properties.dtype
        if target.dtype != stored and (refuse or narrows(stored, target.dtype)):
            found[name] = (stored, target.dtype)
    if not found:
        return
    name, (stored, wanted) = next(iter(found.items()))
    if refuse:
        more = f" (and {len(found) - 1} more of another dtype)" if len(found) > 1 else ""
        remedy = "Make the target of the stored dtype, or pass cast=True to have it cast"
        raise LoadError(f"the stored tensor is {stored}, the target {wanted}{more}", Where(item=name), remedy)
    warnings.warn(
        f"{len(found)} tensors lose range or precision as they are loaded, among them {name!r}: stored as {stored}, "
        f"loaded as {wanted}. Pass cast=False to refuse that",
        DcpxWarning,
        stacklevel=2,
    )


@cache
def narrows(stored: torch.dtype, target: torch.dtype) -> bool:
    """Whether `target` can't hold every value of `stored`."""
    if stored is torch.bool or stored == target:
        return False
    if target is torch.bool or (stored.is_complex and not target.is_complex):
        return True
    floats = (stored.is_floating_point or stored.is_complex, target.is_floating_point or target.is_complex)
    try:
        if floats == (True, True):
            old, new = torch.finfo(stored), torch.finfo(target)
            return not (
                new.max >= old.max
                and new.min <= old.min
                and new.eps <= old.eps
                and new.smallest_normal <= old.smallest_normal
            )
        if floats == (False, True):
            whole = torch.iinfo(stored)
            return whole.max > 2 / torch.finfo(target).eps or whole.max > torch.finfo(target).max
        if floats == (False, False):
            before, after = torch.iinfo(stored), torch.iinfo(target)
            return not (after.min <= before.min and before.max <= after.max)
    except TypeError:  # a dtype of quantized or packed values
        pass
    return True
