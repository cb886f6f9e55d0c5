"""What steps of a training are compared by: the norm of each, and the share of elements that the next one changed.

Neither is known yet; a report leaves out what is None.
"""

from __future__ import annotations

import os

__all__ = ["changed_share", "total_norm"]


def total_norm(path: str | os.PathLike[str]) -> float | None:
    """The norm of all floating point elements of a checkpoint, or None where nobody can say."""
    return None


def changed_share(before: str | os.PathLike[str], after: str | os.PathLike[str]) -> float | None:
    """The share of the elements of both checkpoints that differ, or None where nobody can say."""
    return None
