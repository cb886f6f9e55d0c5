"""How large `torch.save` makes a tensor's file, which is how a tensor without an extension is stored."""

from __future__ import annotations

import math

from ..codecs.container import is_typed, pickled
from ..codecs.dtypes import ITEM_SIZES

__all__ = ["torch_file_size"]

_LOCAL, _CENTRAL, _ENDS = 30, 46, 56 + 20 + 22
"""Bytes that a zip archive has before each entry and in its directory, besides the entry's name, and at its end."""

_PADDING, _ALIGNMENT = 4, 64
"""Bytes of an entry's padding, at least, which lets its content begin at a multiple of the alignment."""

_CHECKS = 16
"""Bytes behind an entry's content, if there is any: its CRC and its size."""

_MEMOS = 10
"""Values that a pickle numbers, in two bytes each, besides those of shape and dtype."""

_NAMED = "archive/"


def torch_file_size(dtype: str, shape: tuple[int, ...]) -> int:
    """The bytes of the archive for a C-contiguous tensor, as torch writes it from 2.7 on; `dtype` is torch's name, one
    of those in `dtypes.CODES`."""
    entries = (
        ("data.pkl", _pickle_size(dtype, shape)),
        (".format_version", 1),
        (".storage_alignment", 2),
        ("byteorder", 6),
        ("data/0", math.prod(shape) * ITEM_SIZES[dtype]),
        ("version", 2),
        (".data/serialization_id", 40),
    )
    size = directory = 0
    for name, content in entries:
        named = len(_NAMED) + len(name)
        size += _LOCAL + named + _PADDING
        size += -size % _ALIGNMENT + content + (_CHECKS if content else 0)
        directory += _CENTRAL + named
    return size + directory + _ENDS


def _pickle_size(dtype: str, shape: tuple[int, ...]) -> int:
    """dcpx's own pickle says the same without numbering values, and with a mark before each tuple, which torch leaves
    out before short ones."""
    tuples = 2 if shape else 0
    memos = _MEMOS + tuples + (not is_typed(dtype))
    return len(pickled(dtype, shape)) + 2 * memos - (tuples if len(shape) <= 3 else 0)
