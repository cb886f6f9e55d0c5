"""Elements as numbers that NumPy can work with, whatever dtype of torch's they are."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import UnsupportedError
from ..pickles.constants import ITEM_SIZES

__all__ = ["Array", "carrier_of", "is_numeric", "numbers_of"]

Array: TypeAlias = npt.NDArray[Any]

_NATIVE = {
    **{name: name for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool")},
    **{name: name for name in ("float16", "float32", "float64", "complex64", "complex128")},
}
_BYTES = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64"}

# Exponent bits, mantissa bits, bias, and which codes are no finite numbers.
_SMALL = {
    "float8_e4m3fn": (4, 3, 7, {0x7F: np.nan, 0xFF: np.nan}),
    "float8_e4m3fnuz": (4, 3, 8, {0x80: np.nan}),
    "float8_e5m2fnuz": (5, 2, 16, {0x80: np.nan}),
}


def carrier_of(dtype: str) -> np.dtype[Any]:
    """The NumPy dtype in which elements of torch's `dtype` are held, bit for bit: its own, where NumPy has it, else
    unsigned integers of the same size."""
    return np.dtype(_NATIVE.get(dtype) or _BYTES[ITEM_SIZES[dtype]])


def is_numeric(dtype: str) -> bool:
    """Whether `numbers_of` knows what elements of this dtype stand for."""
    return dtype in _NATIVE or dtype in _SMALL or dtype in ("bfloat16", "float8_e5m2", "float8_e8m0fnu", "complex32")


def numbers_of(dtype: str, held: Array) -> Array:
    """The numbers that `held`, in its carrier, stands for: as they are where NumPy has the dtype, else as float32 or
    complex64, which hold each of them exactly. UnsupportedError for a dtype that is no number, such as "bits8"."""
    if dtype in _NATIVE:
        return held
    if dtype == "bfloat16":
        wide: Array = held.astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32)
    if dtype == "float8_e5m2":
        upper: Array = held.astype(np.uint16) << np.uint16(8)
        return upper.view(np.float16).astype(np.float32)
    if dtype == "complex32":
        halves = np.ascontiguousarray(held).view(np.float16).astype(np.float32)
        return halves.view(np.complex64)
    if dtype in _SMALL or dtype == "float8_e8m0fnu":
        return _table(dtype)[held]
    raise UnsupportedError(f"elements of torch.{dtype} are no numbers that can be read without torch")


@lru_cache
def _table(dtype: str) -> npt.NDArray[np.float32]:
    """What each of the 256 codes of a float of one byte stands for; the formats are the OCP's and, for "fnuz", those of
    Noune et al., "8-bit Numerical Formats for Deep Neural Networks", 2022."""
    codes = np.arange(256)
    if dtype == "float8_e8m0fnu":
        scales = np.ldexp(np.ones(256), codes - 127)
        scales[255] = np.nan
        return scales.astype(np.float32)
    exponent_bits, mantissa_bits, bias, special = _SMALL[dtype]
    exponent = codes >> mantissa_bits & (1 << exponent_bits) - 1
    mantissa = codes & (1 << mantissa_bits) - 1
    fraction = np.where(exponent > 0, mantissa + (1 << mantissa_bits), mantissa).astype(np.float32)
    sizes: Array = np.ldexp(fraction, np.maximum(exponent, 1) - bias - mantissa_bits)
    found: npt.NDArray[np.float32] = np.where(codes & 0x80, -sizes, sizes).astype(np.float32)
    for code, value in special.items():
        found[code] = value
    return found
