"""What of torch a pickle may name without calling it, by name alone: dtypes, and the classes of storages and tensors.

It is the same for every torch from 2.7 to 2.15, whichever is installed, if one is. What that torch doesn't know yet
it says itself when it loads the tensor.
"""

from __future__ import annotations

from ..codecs import dtypes

__all__ = [
    "ITEM_SIZES",
    "OTHER_NAMES",
    "STORAGES",
    "TENSOR_BASES",
    "TENSOR_CLASSES",
    "dtype_named",
    "is_complex",
    "is_constant",
]

ITEM_SIZES = {
    **dtypes.ITEM_SIZES,
    "bcomplex32": 4,  # from torch 2.14 on
    "float4_e2m1fn_x2": 1,  # from torch 2.8 on
    "qint8": 1,
    "qint32": 4,
    "quint8": 1,
    # Elements of less than a byte are stored as whole bytes, of which each holds one, or as many as its name says.
    "quint4x2": 1,
    "quint2x4": 1,
    "bits1x8": 1,
    "bits2x4": 1,
    "bits4x2": 1,
    "bits8": 1,
    "bits16": 2,
    **{f"{sign}int{bits}": 1 for sign in ("", "u") for bits in range(1, 8)},
}
"""Bytes of an element of each of torch's dtypes."""

OTHER_NAMES = {
    "bit": "uint1",
    "cdouble": "complex128",
    "cfloat": "complex64",
    "chalf": "complex32",
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "short": "int16",
}
"""Names under which torch has a dtype once more."""

_SCHEMES = {
    "per_channel_affine",
    "per_channel_affine_float_qparams",
    "per_channel_symmetric",
    "per_tensor_affine",
    "per_tensor_symmetric",
}
"""How a tensor is quantized."""

STORAGES: dict[str, str | None] = {
    "torch.storage.UntypedStorage": None,
    "torch.BFloat16Storage": "bfloat16",
    "torch.BoolStorage": "bool",
    "torch.ByteStorage": "uint8",
    "torch.CharStorage": "int8",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.ComplexFloatStorage": "complex64",
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.IntStorage": "int32",
    "torch.LongStorage": "int64",
    "torch.QInt32Storage": "qint32",
    "torch.QInt8Storage": "qint8",
    "torch.QUInt8Storage": "quint8",
    "torch.ShortStorage": "int16",
}
"""The classes of storages, and the dtype of their elements; None for one that counts bytes."""

TENSOR_CLASSES = {"torch.Tensor", "torch.nn.parameter.Parameter"}
"""torch's own classes of tensors."""

TENSOR_BASES = {"torch.Tensor", "torch.storage.TypedStorage", "torch.storage.UntypedStorage"}
"""What the classes of tensors and storages, whoever made them, are derived from."""


def dtype_named(name: str) -> str | None:
    """The dtype that a full name, such as "torch.half", stands for; None for any other name."""
    module, _, short = name.rpartition(".")
    short = OTHER_NAMES.get(short, short)
    return short if module == "torch" and short in ITEM_SIZES else None


def is_complex(dtype: str) -> bool:
    """Whether the elements of a dtype are complex numbers."""
    return "complex" in dtype


def is_constant(name: str) -> bool:
    """Whether a full name is that of a class of storages or tensors, or of a constant that can't be called."""
    if name in STORAGES or name in TENSOR_CLASSES or dtype_named(name) is not None:
        return True
    return name.startswith("torch.") and name[len("torch.") :] in _SCHEMES
