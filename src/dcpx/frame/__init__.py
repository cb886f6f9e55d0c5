"""The Pack frame: what one stored item looks like, written and read as streams. `spec/format.md` is its promise."""

from __future__ import annotations

from typing import IO

from .layout import MAGIC, BaseReference, Header, ItemKey, TensorHint
from .limits import DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, Limits
from .reader import FrameReader, IndexedFrameReader, check_codecs, is_seekable, read_header
from .shell import frame_of, shell
from .streamed import StreamedFrameReader
from .writer import OWN_CHUNK, Coding, FrameWriter

__all__ = [
    "DEFAULT_CHUNK_SIZE",
    "MAGIC",
    "MAX_CHUNK_SIZE",
    "MIN_CHUNK_SIZE",
    "OWN_CHUNK",
    "BaseReference",
    "Coding",
    "FrameReader",
    "FrameWriter",
    "Header",
    "ItemKey",
    "Limits",
    "TensorHint",
    "check_codecs",
    "frame_of",
    "open_frame",
    "shell",
]


def open_frame(input: IO[bytes], limits: Limits | None = None) -> FrameReader:
    """A reader of the frame that begins at the input's position and ends at its end; seekable where `input` is.

    Raises CorruptError (a ValueError) for what is no whole frame, UnsupportedError for one from a later version and
    LimitError for one beyond `limits`.
    """
    limits = limits or Limits()
    if not is_seekable(input):
        return StreamedFrameReader(input, read_header(input), limits)
    start = input.tell()
    return IndexedFrameReader(input, read_header(input), limits, start)
