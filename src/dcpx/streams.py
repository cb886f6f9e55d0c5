"""Honest raw streams: what every transforming stream of dcpx is built on, and yours may be.

`readable`, `writable` and `seekable` tell the truth, short writes below are completed or raised, an end is written
only by an explicit `close` that follows no error, and a stream that failed once keeps failing. A subclass of
TransformWriter says what becomes of what is written (`transform`) and what is still due at the end (`finish`); one of
TransformReader fills a buffer (`fill`). docs/extensions.md has a whole example.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING

from .errors import TruncatedError, Where

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "SeekableReader",
    "TransformReader",
    "TransformWriter",
    "as_bytes",
    "read_exactly",
    "stream_name",
    "write_all",
]

_READ_ALL_STEP = 1 << 20


def as_bytes(data: Buffer) -> memoryview:
    """A flat view of any buffer's bytes, in C order; copies only where they aren't contiguous."""
    view = memoryview(data)
    if view.nbytes == 0:
        return memoryview(b"")
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def write_all(output: IO[bytes], data: Buffer) -> None:
    """Write all of `data` to `output`, again and again while it takes only a part.

    Raises OSError where `output` takes nothing or doesn't say how much it took.
    """
    rest = as_bytes(data)
    while rest:
        taken = output.write(rest)
        if taken is None or not 0 < taken <= len(rest):
            raise OSError(
                f"{type(output).__name__}.write returned {taken!r} for {len(rest)} bytes: "
                "it must return how many it took"
            )
        rest = rest[taken:]


def read_exactly(input: IO[bytes], size: int) -> bytes:
    """Read up to `size` bytes, in several reads where `input` returns fewer; shorter only at its end."""
    data = input.read(size)
    if data is None:
        raise OSError(f"{type(input).__name__}.read would block: dcpx needs a blocking stream")
    if len(data) == size or not data:
        return data
    parts = [data]
    missing = size - len(data)
    while missing:
        data = input.read(missing)
        if not data:
            break
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def stream_name(stream: object) -> str | None:
    """The name of the file beneath a stream, where one can be found; DCP's slices hide it one level down."""
    for _ in range(8):
        name = getattr(stream, "name", None) or getattr(stream, "path", None)
        if isinstance(name, (str, os.PathLike)):
            return os.fspath(name)
        stream = getattr(stream, "base_stream", None)
    return None


class TransformWriter(io.RawIOBase):
    """A writable stream over `output`; subclasses override `transform` and, where an end is written, `finish`.

    The first error of a write sticks: every later call raises it again and no end is ever written, so what lies in
    `output` can be recognised as incomplete.
    """

    failure: BaseException | None = None
    """The first error of a write. torch.save may report another one in its place."""

    def __init__(self, output: IO[bytes]) -> None:
        super().__init__()
        self.output = output

    def transform(self, data: memoryview) -> None:
        """Take all of `data`, a flat view of bytes that may change once this returns, and write what is to be written
        with `write_all(self.output, ...)`."""
        raise io.UnsupportedOperation("write")

    def finish(self) -> None:
        """Write what is still due. Called once, by an explicit `close` after no error."""

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        self._check()
        view = as_bytes(data)
        try:
            self.transform(view)
        except BaseException as error:
            self.failure = error
            raise
        return view.nbytes

    def flush(self) -> None:
        if not self.closed and self.failure is None:
            self.output.flush()

    def close(self) -> None:
        if self.closed:
            return
        try:
            self._check()
            self.finish()
        except BaseException as error:
            self.abandon(error)
            raise
        super().close()
        self.output.close()

    def abandon(self, error: BaseException | None = None) -> None:
        """Close without an end, all the way down as far as the streams are dcpx's own."""
        if self.closed:
            return
        self.failure = self.failure or error or ValueError("the stream was abandoned")
        super().close()
        if isinstance(self.output, TransformWriter):
            self.output.abandon(self.failure)

    def _check(self) -> None:
        if self.closed:
            raise ValueError("write to closed stream")
        if self.failure is not None:
            raise self.failure

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.close()
        else:
            self.abandon(error)

    def __del__(self) -> None:
        # The garbage collector is no explicit close: it must not make a failed item look whole.
        self.abandon()


class TransformReader(io.RawIOBase):
    """A readable stream over `input`; subclasses override `fill`, and `seekable` and `seek` where they can."""

    failure: BaseException | None = None
    """The last error of a read. torch.load may report another one in its place."""

    def __init__(self, input: IO[bytes]) -> None:
        super().__init__()
        self.input = input

    def fill(self, buffer: memoryview) -> int:
        """Put the next bytes into `buffer`, which isn't empty, and return how many; 0 at the verified end only.

        Raises ValueError or EOFError for damage, such as what `truncated` makes.
        """
        raise io.UnsupportedOperation("read")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` as far as the stream goes; a short count means that its end was reached and is verified."""
        if self.closed:
            raise ValueError("read from closed stream")
        if self.failure is not None and not self.seekable():
            raise self.failure  # where the stream stands is unknown: what follows can't be trusted
        view = memoryview(buffer).cast("B")
        done = 0
        try:
            while done < len(view):
                count = self.fill(view[done:])
                if count == 0:
                    break
                done += count
        except BaseException as error:
            self.failure = error
            raise
        return done

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        parts = bytearray()
        # In steps, so that a size from a damaged file can't allocate more than the stream holds.
        while len(parts) < size:
            piece = bytearray(min(size - len(parts), max(_READ_ALL_STEP, len(parts))))
            count = self.readinto(piece)
            if not parts and count == size:
                return bytes(piece)
            parts += memoryview(piece)[:count]
            if count < len(piece):
                break
        return bytes(parts)

    def _remaining(self) -> int:
        """The bytes left, as far as they are known; what is read at once doesn't exceed a step of its own."""
        return _READ_ALL_STEP

    def readall(self) -> bytes:
        parts = io.BytesIO()
        piece = bytearray(min(_READ_ALL_STEP, self._remaining() + 1))
        while count := self.readinto(piece):
            parts.write(memoryview(piece)[:count])
            if count < len(piece):
                break
        return parts.getvalue()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.input.close()

    def __del__(self) -> None:
        # Whoever opened the input may still be using it: only an explicit close cascades.
        super().close()

    def truncated(self, cause: str, offset: int) -> TruncatedError:
        """The error of an input that ends too early, at `offset` bytes of the stored item."""
        return TruncatedError(cause, Where(stream_name(self.input), None, offset))


class SeekableReader(io.RawIOBase):
    """A readable stream of `size` bytes that can seek; subclasses say in `readinto` what lies at `position`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to `offset` from the start, the position or the end. ValueError for what lies before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"can't seek to {base + offset}, before the start")
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        return self.position
