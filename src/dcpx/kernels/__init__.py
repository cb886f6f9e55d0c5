"""Native hot loops (C++20) and their NumPy oracle.

The functions here take any object with the buffer protocol, check lengths and release the GIL. A chunk has at most
16 MiB.
"""

from ._native import (
    Xxh3_128,
    copy_part,
    decode_chunks,
    encode_chunk,
    float_decode,
    float_encode,
    merge_planes,
    read_chunks,
    repeats,
    runs,
    sniff_lane,
    split_planes,
    use_instructions,
    xxh3,
    xxh3_128,
)

__all__ = [
    "Xxh3_128",
    "copy_part",
    "decode_chunks",
    "encode_chunk",
    "float_decode",
    "float_encode",
    "merge_planes",
    "read_chunks",
    "repeats",
    "runs",
    "sniff_lane",
    "split_planes",
    "use_instructions",
    "xxh3",
    "xxh3_128",
]
