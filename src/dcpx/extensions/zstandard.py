"""`stream.zstd/1`: plain Zstandard, byte-compatible with torch's own extension in both directions.

Reading is stricter than torch's: a stream that was cut, lacks its checksum or has bytes after its last frame raises
instead of reading short. Writing adds the content checksum, which torch's reader verifies as well.
"""

from __future__ import annotations

from typing import IO, cast

from ..errors import CorruptError, TruncatedError, UnsupportedError, Where
from ..extension import StreamTransformExtension
from ..streams import TransformReader, TransformWriter, as_bytes, read_exactly, stream_name, write_all
from ..zstd import BACKENDS, Backend, find_backend

__all__ = ["ZStandard", "ZStandardWriter"]

_STEP = 1 << 20
"""Bytes handed to the compressor at once, which bounds what it returns."""


class ZStandard(StreamTransformExtension):
    """Compresses each item as one Zstandard frame with a content checksum.

    `level` is Zstandard's (3 by default, negative ones are faster), `threads` its worker threads (0: compress in the
    writer's thread). Raises ValueError where no Zstandard package is installed.
    """

    def __init__(self, level: int = 3, threads: int = 0) -> None:
        if not (isinstance(level, int) and isinstance(threads, int)):
            raise ValueError(f"level and threads must be integers, not {level!r} and {threads!r}")
        if not -131072 <= level <= 22:
            raise ValueError(f"level must lie between -131072 and 22, not {level}")
        if threads < 0:
            raise ValueError(f"threads must not be negative, as {threads} is")
        self.level = level
        self.threads = threads
        _backend()

    def __repr__(self) -> str:
        return f"ZStandard(level={self.level}, threads={self.threads})"

    @staticmethod
    def is_available() -> bool:
        """Whether a Zstandard package can be imported."""
        return find_backend() is not None

    @staticmethod
    def registry_name() -> str:
        return "stream.zstd"

    @staticmethod
    def from_descriptor(version: str) -> ZStandard:
        major, dot, minor = version.partition(".")
        if major != "1" or (dot and not (minor.isascii() and minor.isdigit())):
            raise UnsupportedError(f"version {version!r} of extension 'stream.zstd' is not known here, only '1'")
        return ZStandard()

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], ZStandardWriter(output, _backend(), self.level, self.threads))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Reader(input, _backend()))


def _backend() -> Backend:
    backend = find_backend()
    if backend is None:
        raise UnsupportedError(
            f"Zstandard is unavailable: none of {', '.join(BACKENDS)} can be imported", None, "pip install zstandard"
        )
    return backend


class ZStandardWriter(TransformWriter):
    """The compressed stream. Zstandard copies what it is given before it looks at it, so that may change meanwhile."""

    def __init__(self, output: IO[bytes], backend: Backend, level: int, threads: int) -> None:
        super().__init__(output)
        self._compressor = backend.compressor(level, threads)

    def transform(self, data: memoryview) -> None:
        for start in range(0, len(data), _STEP):
            self._emit(self._compressor.compress(data[start : start + _STEP]))

    def finish(self) -> None:
        self._emit(self._compressor.flush())

    def _emit(self, data: bytes) -> None:
        if data:
            write_all(self.output, data)


class _Reader(TransformReader):
    def __init__(self, input: IO[bytes], backend: Backend) -> None:
        super().__init__(input)
        self._frames = _FrameBoundaries(input)
        self._content = backend.open_reader(cast(IO[bytes], self._frames))
        self._errors = (backend.error, EOFError)

    def fill(self, buffer: memoryview) -> int:
        try:
            count = self._content.readinto(buffer)  # type: ignore[attr-defined]
        except self._errors as error:
            if isinstance(error, CorruptError):
                raise
            where = Where(stream_name(self.input), None, self._frames.position)
            raise CorruptError(f"damaged Zstandard data: {error}", where) from error
        if not count:
            self._frames.check_end()
        return int(count)


class _FrameBoundaries:
    """Hands a stream on and follows its frames and blocks, so that no end is believed that isn't one.

    The packages differ in what they make of a cut frame, a missing checksum or foreign bytes after a frame; the
    frame's own lengths (RFC 8878, 3.1.1) leave no doubt.
    """

    def __init__(self, input: IO[bytes]) -> None:
        self.input = input
        self._state = "magic"
        self._header = b""  # the bytes of the present header, as far as they were seen
        self._needed = 4  # how many bytes the present header has
        self._skip = 0  # payload bytes still to pass
        self._then = "magic"  # the state after them
        self._last_block = False
        self._checksum = False
        self.position = 0

    def read(self, size: int = -1) -> bytes:
        data = read_exactly(self.input, size if size > 0 else _STEP)
        if data:
            self._follow(data)
        else:
            self.check_end()
        return data

    # What io.BufferedReader and the packages' file classes ask of a source.
    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def check_end(self) -> None:
        if self._state != "magic" or self._header or self.position == 0:
            self._fail("the Zstandard stream ends inside a frame", truncated=True)

    def _follow(self, data: bytes) -> None:
        view = as_bytes(data)
        while view:
            if self._skip:
                passed = min(self._skip, len(view))
                self._skip -= passed
                self.position += passed
                view = view[passed:]
                if self._skip == 0:
                    self._arrive(self._then)
                continue
            taken = min(self._needed - len(self._header), len(view))
            self._header += bytes(view[:taken])
            self.position += taken
            view = view[taken:]
            if len(self._header) == self._needed:
                header, self._header = self._header, b""
                self._enter(header)

    def _enter(self, header: bytes) -> None:
        """Act on a whole header: set the next one's length, or what to pass before it."""
        value = int.from_bytes(header, "little")
        if self._state == "magic":
            if value == 0xFD2FB528:
                self._await("descriptor", 1)
            elif value & 0xFFFFFFF0 == 0x184D2A50:
                self._await("skippable", 4)
            else:
                self._fail("bytes that are no Zstandard frame")
        elif self._state == "skippable":
            self._await("magic", 4)
            self._pass(value, "magic")
        elif self._state == "descriptor":
            single, self._checksum = value >> 5 & 1, bool(value >> 2 & 1)
            rest = (not single) + (0, 1, 2, 4)[value & 3] + (single, 2, 4, 8)[value >> 6]
            self._await("block", 3)
            self._pass(rest, "block")
        elif self._state == "block":
            self._last_block = bool(value & 1)
            kind, size = value >> 1 & 3, value >> 3
            if kind == 3:
                self._fail("a Zstandard block of the reserved type")
            self._pass(1 if kind == 1 else size, "end of block")

    def _arrive(self, state: str) -> None:
        self._state = state
        if state == "end of block" and not self._last_block:
            self._await("block", 3)
        elif state == "end of block":
            self._await("magic", 4)
            self._pass(4 if self._checksum else 0, "magic")

    def _await(self, state: str, length: int) -> None:
        self._state, self._needed = state, length

    def _pass(self, count: int, then: str) -> None:
        self._skip, self._then = count, then
        if count:
            self._state = "payload"
        else:
            self._arrive(then)

    def _fail(self, cause: str, truncated: bool = False) -> None:
        raise (TruncatedError if truncated else CorruptError)(
            cause, Where(stream_name(self.input), None, self.position)
        )
