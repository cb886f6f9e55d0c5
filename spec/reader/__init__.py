"""A plain reader of whole checkpoints, written from the pages beside it: what they say, in Python, and nothing else.

It imports neither dcpx nor torch: NumPy, zstandard and xxhash are all that it needs. It is slow, and holds every item
as a whole; who writes a reader in another language may begin here. Read `checkpoint.py` first.

    python -m reader CHECKPOINT        in the folder spec/: every tensor's dtype, shape and XXH3-128
"""

from .checkpoint import Checkpoint, Value, pointers
from .kinds import CorruptError, LimitError, ReadError, TruncatedError, UnsupportedError

__all__ = [
    "Checkpoint",
    "CorruptError",
    "LimitError",
    "ReadError",
    "TruncatedError",
    "UnsupportedError",
    "Value",
    "pointers",
]
