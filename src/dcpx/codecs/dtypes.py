"""Codes and sizes of the tensor dtypes a hint can name; the table is part of the format (`spec/format.md`)."""

from __future__ import annotations

from .contract import Lanes

__all__ = ["CODES", "ITEM_SIZES", "NAMES", "lanes_of"]

# name: (code, bytes of an element). Codes are never reused; a dtype that isn't here is stored without a hint.
_TABLE = {
    "uint8": (1, 1),
    "int8": (2, 1),
    "bool": (3, 1),
    "uint16": (4, 2),
    "int16": (5, 2),
    "uint32": (6, 4),
    "int32": (7, 4),
    "uint64": (8, 8),
    "int64": (9, 8),
    "bfloat16": (16, 2),
    "float16": (17, 2),
    "float32": (18, 4),
    "float64": (19, 8),
    "float8_e4m3fn": (24, 1),
    "float8_e5m2": (25, 1),
    "float8_e4m3fnuz": (26, 1),
    "float8_e5m2fnuz": (27, 1),
    "float8_e8m0fnu": (28, 1),
    "complex32": (32, 4),
    "complex64": (33, 8),
    "complex128": (34, 16),
}

CODES = {name: code for name, (code, _) in _TABLE.items()}
NAMES = {code: name for name, (code, _) in _TABLE.items()}
ITEM_SIZES = {name: size for name, (_, size) in _TABLE.items()}


def lanes_of(dtype: str) -> Lanes:
    """How elements of `dtype` are coded: a complex one as two floats."""
    complex_ = dtype.startswith("complex")
    width = ITEM_SIZES[dtype] // 2 if complex_ else ITEM_SIZES[dtype]
    return Lanes(width, width > 1 and (complex_ or "float" in dtype))
