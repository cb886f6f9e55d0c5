"""What can be told of a `torch.save` container from its bytes, without unpickling anything.

The container is a zip archive: one stored entry after another, each behind a local file header. A tensor's elements
are the entry `<archive>/data/0`, and its pickle, which comes before, names the storage's type.
"""

from __future__ import annotations

import re

from ..codecs.dtypes import ITEM_SIZES

__all__ = ["payload_begins", "storage_dtype"]

_LOCAL_HEADER = b"PK\x03\x04"
_LOCAL_HEADER_SIZE = 30
_STORAGE = re.compile(rb"ctorch\n(?:(\w+)Storage|(\w+))\n")
_DTYPES = {
    b"BFloat16": "bfloat16",
    b"Half": "float16",
    b"Float": "float32",
    b"Double": "float64",
    b"Int": "int32",
    b"Long": "int64",
    b"Short": "int16",
    b"ComplexFloat": "complex64",
    b"ComplexDouble": "complex128",
}


def payload_begins(before: bytes | bytearray) -> bool:
    """Whether a tensor's elements begin right after `before`, the container's first bytes."""
    start = before.rfind(_LOCAL_HEADER)
    if start < 0 or len(before) - start < _LOCAL_HEADER_SIZE:
        return False
    name_size = int.from_bytes(before[start + 26 : start + 28], "little")
    extra_size = int.from_bytes(before[start + 28 : start + 30], "little")
    name = before[start + _LOCAL_HEADER_SIZE :][:name_size]
    return name.endswith(b"/data/0") and start + _LOCAL_HEADER_SIZE + name_size + extra_size == len(before)


def storage_dtype(before: bytes | bytearray) -> str | None:
    """The element type of the storage that follows `before`, as far as the container's pickle names one."""
    for storage, dtype in _STORAGE.findall(before):
        # Newer dtypes have no storage of their own: the pickle names the dtype itself.
        name = _DTYPES.get(storage) if storage else dtype.decode()
        if name in ITEM_SIZES:
            return name
    return None
