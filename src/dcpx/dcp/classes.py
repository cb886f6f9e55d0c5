"""The classes that a tensor is made of."""

from __future__ import annotations

import torch

__all__ = ["classes_of"]


def classes_of(tensor: torch.Tensor) -> set[type]:
    """The classes of a tensor, and of those that it says it is made of."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    inner = (getattr(tensor, name) for name in flatten()[0]) if flatten is not None else ()
    return {type(tensor), *(cls for part in inner if isinstance(part, torch.Tensor) for cls in classes_of(part))}
