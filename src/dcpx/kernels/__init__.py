"""Native hot loops (C++20) and their NumPy oracle.

The functions here take any object with the buffer protocol, check lengths and release the GIL. A chunk has at most
16 MiB. The environment variable DCPX_FLOAT_PATH names the instructions to use, where not the CPU's best.
"""

import os

from ._native import (
    FrameForm,
    FrameMaker,
    Payload,
    Xxh3_128,
    copy_part,
    decode_chunks,
    encode_chunk,
    float_decode,
    float_encode,
    merge_planes,
    pack_frames,
    read_chunks,
    repeats,
    sample,
    sniff_lane,
    split_planes,
    take_chunk,
    unpack_frames,
    use_instructions,
    xxh3,
    xxh3_128,
)

__all__ = [
    "FrameForm",
    "FrameMaker",
    "Payload",
    "Xxh3_128",
    "copy_part",
    "decode_chunks",
    "encode_chunk",
    "float_decode",
    "float_encode",
    "merge_planes",
    "pack_frames",
    "read_chunks",
    "repeats",
    "sample",
    "sniff_lane",
    "split_planes",
    "take_chunk",
    "unpack_frames",
    "use_instructions",
    "xxh3",
    "xxh3_128",
]


def _use_named_instructions(name: str) -> None:
    try:
        known = use_instructions(name)
    except ValueError:
        raise ValueError(f"DCPX_FLOAT_PATH must be portable, avx2, avx512 or best, not {name!r}") from None
    if not known:
        raise ValueError(f"DCPX_FLOAT_PATH is {name!r}, but this CPU lacks these instructions: unset it")


if _named := os.environ.get("DCPX_FLOAT_PATH"):
    _use_named_instructions(_named)
