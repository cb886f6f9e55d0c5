"""The kernels in NumPy: slow, obvious, and what the native ones are tested against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def split_planes(src: Bytes, width: int) -> Bytes:
    """Byte planes of `src`, shape [lanes * width], dtype uint8: all first bytes, then all second bytes, and so on."""
    return np.ascontiguousarray(src.reshape(-1, width).T).reshape(-1)


def merge_planes(src: Bytes, width: int) -> Bytes:
    """The inverse of `split_planes`."""
    return np.ascontiguousarray(src.reshape(width, -1).T).reshape(-1)
