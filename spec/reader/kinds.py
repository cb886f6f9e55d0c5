"""The kinds of errors (section 1 of format.md), and torch's dtypes (section 3 there)."""

from __future__ import annotations

import re

__all__ = ["CODES", "DTYPES", "NUMPY", "CorruptError", "LimitError", "ReadError", "TruncatedError", "UnsupportedError"]


class ReadError(Exception):
    """Base of the four kinds."""


class CorruptError(ReadError):
    """The bytes contradict a checksum, each other, or the specification."""


class TruncatedError(CorruptError):
    """... and what is wrong is that they end too early."""


class UnsupportedError(ReadError):
    """They may be right, but say something that this reader doesn't know."""


class LimitError(ReadError):
    """They are more than this reader, or its caller, is willing to take."""


_TABLE = """
1 uint8 1           17 float16 2            - float4_e2m1fn_x2 1
2 int8 1            18 float32 4            - qint8 1      - quint8 1    - qint32 4    - quint4x2 1    - quint2x4 1
3 bool 1            19 float64 8            - bits1x8 1    - bits2x4 1   - bits4x2 1   - bits8 1       - bits16 2
4 uint16 2          24 float8_e4m3fn 1      - int1 1       - uint1 1
5 int16 2           25 float8_e5m2 1        - int2 1       - uint2 1
6 uint32 4          26 float8_e4m3fnuz 1    - int3 1       - uint3 1
7 int32 4           27 float8_e5m2fnuz 1    - int4 1       - uint4 1
8 uint64 8          28 float8_e8m0fnu 1     - int5 1       - uint5 1
9 int64 8           32 complex32 4          - int6 1       - uint6 1
16 bfloat16 2       33 complex64 8          - int7 1       - uint7 1
                    34 complex128 16
"""
"""Code, torch's name, and bytes of an element."""

_ENTRIES = re.findall(r"(\d+|-) (\w+) (\d+)", _TABLE)
DTYPES = {name: int(size) for _, name, size in _ENTRIES}
"""Bytes of an element by torch's name of the dtype."""
CODES = {name: int(code) for code, name, _ in _ENTRIES if code != "-"}
"""Codes of the dtypes that a hint or a container of dcpx's can name."""
NUMPY = {name for name in CODES if not name.startswith(("bfloat", "float8", "complex32"))}
"""The dtypes that NumPy has, under the same name."""
