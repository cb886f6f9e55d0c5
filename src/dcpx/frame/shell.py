"""What torch.load needs of a stream beyond Python's rules."""

from __future__ import annotations

import io
from typing import IO, cast

from .reader import FrameReader

__all__ = ["frame_of", "shell"]


class _Shell(io.RawIOBase):
    """A frame's stream as torch.load can take it.

    When `readinto` raises, torch's C++ reader leaves the error pending and looks `read` up. An attribute of the class
    isn't found then, and the user would see an AttributeError; one of the instance is, and raises the error again. The
    reader itself can't hold its own methods: that would be a reference cycle around decoded chunks.
    """

    def __init__(self, frame: FrameReader) -> None:
        super().__init__()
        self.frame = frame
        for name in ("read", "readall", "readinto", "readable", "seekable", "seek", "tell"):
            setattr(self, name, getattr(frame, name))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.frame.close()

    def __del__(self) -> None:
        super().close()  # but not the frame: only an explicit close cascades


def shell(frame: FrameReader) -> IO[bytes]:
    """`frame` as a stream for torch.load."""
    return cast(IO[bytes], _Shell(frame))


def frame_of(stream: object) -> FrameReader | None:
    """The frame that a stream reads, if it is one of a frame."""
    found = getattr(stream, "frame", stream)
    return found if isinstance(found, FrameReader) else None
