"""`stream.pack@dcpx/1`: each item as a dcpx frame, cut into checked chunks that are coded one by one."""

from __future__ import annotations

from typing import IO, cast

from ..codecs import CODECS, Lanes
from ..codecs.planes import Planes
from ..codecs.raw import Raw
from ..codecs.zstd import Zstd
from ..errors import UnsupportedError
from ..extension import Item, StreamTransformExtension
from ..frame import (
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    MIN_CHUNK_SIZE,
    Coding,
    FrameWriter,
    Header,
    ItemKey,
    Limits,
    TensorHint,
    open_frame,
)
from ..frame.container import storage_dtype
from ..frame.dtypes import ITEM_SIZES

__all__ = ["Pack"]

_CODECS = {"raw": Raw.id, "zstd": Zstd.id, "planes": Planes.id}


class Pack(StreamTransformExtension):
    """Stores items smaller, with checksums, and readable from any offset.

    `codec` is "auto" (by dtype: byte planes for elements of several bytes, else Zstandard), "planes", "zstd" or
    "raw" (checksums only); whatever doesn't get smaller is stored as it is. `chunk_size` is in raw bytes, a multiple
    of 4096. `limits` holds when reading. Chunks are coded on a pool of as many threads as there are cores, at most 16
    of them in memory at once.
    """

    def __init__(
        self, codec: str = "auto", *, chunk_size: int = DEFAULT_CHUNK_SIZE, limits: Limits | None = None
    ) -> None:
        if codec != "auto" and codec not in _CODECS:
            raise ValueError(f"codec must be one of auto, {', '.join(_CODECS)}, not {codec!r}")
        if not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE or chunk_size % MIN_CHUNK_SIZE:
            raise ValueError(
                f"chunk_size must be a multiple of {MIN_CHUNK_SIZE} up to {MAX_CHUNK_SIZE}, not {chunk_size}"
            )
        self.codec = codec
        self.chunk_size = chunk_size
        self.limits = limits

    @staticmethod
    def registry_name() -> str:
        return "stream.pack@dcpx"

    @staticmethod
    def from_descriptor(version: str) -> Pack:
        if version != "1":
            raise UnsupportedError(
                f"version {version!r} of extension {Pack.registry_name()!r} is not known here, only '1'"
            )
        return Pack()

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return self._writer(output, None)

    def transform_item_to(self, output: IO[bytes], item: Item) -> IO[bytes]:
        return self._writer(output, item)

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], open_frame(input, self.limits))

    def _writer(self, output: IO[bytes], item: Item | None) -> IO[bytes]:
        header = Header(
            chunk_size=self.chunk_size,
            codecs=self._codec_ids(),
            key=None if item is None else ItemKey(item.fqn, item.offsets),
            hint=None if item is None else _hint(item),
            checkpoint=None if item is None else item.checkpoint,
        )
        dtype = None if item is None else item.dtype
        return cast(
            IO[bytes],
            FrameWriter(
                output, header, self._coding(None), lambda before, data: self._coding(dtype or storage_dtype(before))
            ),
        )

    def _codec_ids(self) -> tuple[int, ...]:
        """Every codec that chunks may use: the one asked for, raw where it doesn't pay, zstd beside planes."""
        if self.codec in ("raw", "zstd"):
            return tuple(sorted({Raw.id, _CODECS[self.codec]}))
        return (Raw.id, Zstd.id, Planes.id)

    def _coding(self, dtype: str | None) -> Coding:
        width = min(ITEM_SIZES.get(dtype or "", 1), 8)
        if dtype in ("complex32", "complex64"):
            width //= 2
        if self.codec in ("raw", "zstd"):
            return Coding(CODECS[_CODECS[self.codec]])
        return Coding(CODECS[Planes.id], Lanes(width)) if width > 1 else Coding(CODECS[Zstd.id])


def _hint(item: Item) -> TensorHint | None:
    if item.dtype not in ITEM_SIZES or item.shape is None or not item.contiguous:
        return None
    return TensorHint(item.dtype, item.shape, 0)
