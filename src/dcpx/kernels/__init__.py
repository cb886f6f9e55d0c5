"""Native hot loops (C++20) and their NumPy oracle.

The functions here take any object with the buffer protocol, check lengths, release the GIL and allocate nothing.
"""

from ._native import merge_planes, split_planes

__all__ = ["merge_planes", "split_planes"]
