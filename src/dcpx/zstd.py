"""Zstandard (RFC 8878) from whichever package brings it, behind one small interface.

`zstandard` is preferred; `pyzstd`, `backports.zstd` and Python 3.14's `compression.zstd` have another interface in
common and serve as well. `import dcpx` imports none of them.
"""

from __future__ import annotations

import functools
import importlib
import threading
from types import ModuleType
from typing import IO, Any, Protocol

__all__ = ["BACKENDS", "Backend", "Compressor", "find_backend", "load_backend"]

BACKENDS = ("zstandard", "compression.zstd", "backports.zstd", "pyzstd")
"""Modules, by preference."""

_MAX_WINDOW = 1 << 24
"""Bytes a one-shot frame may ask the decoder to remember; dcpx's own chunks are no longer."""


class Compressor(Protocol):
    """One frame in the making: feed it with `compress`, end it with `flush`."""

    def compress(self, data: memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Backend(Protocol):
    """What dcpx needs of a Zstandard package."""

    name: str

    def compressor(self, level: int, threads: int) -> Compressor:
        """A streaming compressor that writes a content checksum; `threads` 0 compresses in the caller's thread."""

    def open_reader(self, source: IO[bytes]) -> IO[bytes]:
        """A stream of the decompressed content of all concatenated frames of `source`."""

    def compress(self, data: memoryview, level: int) -> bytes:
        """One frame with the content's size and no checksum; may be called from several threads at once."""

    def decompress_into(self, data: memoryview, out: memoryview) -> int:
        """Decompress `data`, one frame and nothing after it, into `out`; the count of bytes, at most len(out).

        Raises `error` for anything else.
        """

    error: type[Exception]


def find_backend() -> Backend | None:
    """The preferred backend that can be imported, or None."""
    for name in BACKENDS:
        try:
            return load_backend(name)
        except ImportError:
            continue
    return None


@functools.cache
def load_backend(name: str) -> Backend:
    """The backend of the module `name`; ImportError where it is missing."""
    module = importlib.import_module(name)
    return _Zstandard(module) if name == "zstandard" else _StdlibLike(module, name)


class _Zstandard:
    """python-zstandard."""

    name = "zstandard"

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._local = threading.local()
        self.error: type[Exception] = module.ZstdError

    def compressor(self, level: int, threads: int) -> Compressor:
        made: Compressor = self._module.ZstdCompressor(level=level, threads=threads, write_checksum=True).compressobj()
        return made

    def open_reader(self, source: IO[bytes]) -> IO[bytes]:
        decompressor = self._module.ZstdDecompressor()
        stream: IO[bytes] = decompressor.stream_reader(source, read_across_frames=True, closefd=False)
        return stream

    def compress(self, data: memoryview, level: int) -> bytes:
        # Contexts are costly to make and not thread-safe: one for each thread and level.
        contexts: dict[int, Any] = self._local.__dict__.setdefault("contexts", {})
        if level not in contexts:
            contexts[level] = self._module.ZstdCompressor(level=level)
        frame: bytes = contexts[level].compress(data)
        return frame

    def decompress_into(self, data: memoryview, out: memoryview) -> int:
        # The decompressor would allocate whatever the frame claims: the claim must be what the caller expects.
        claimed = self._module.frame_content_size(data)
        if claimed not in (-1, len(out)):
            raise self.error(f"the frame claims {claimed} bytes, not {len(out)}")
        decompressor = self._module.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        content = decompressor.decompress(data, max_output_size=len(out), allow_extra_data=False)
        out[: len(content)] = content
        return len(content)


class _StdlibLike:
    """pyzstd, backports.zstd and compression.zstd: alike but for the names of parameters."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self.name = name
        self._module = module
        self.error: type[Exception] = module.ZstdError
        if hasattr(module, "CompressionParameter"):
            names, self._options = module.CompressionParameter, "options"
            self._level, self._checksum, self._workers = names.compression_level, names.checksum_flag, names.nb_workers
            self._decoder_options = {module.DecompressionParameter.window_log_max: _MAX_WINDOW.bit_length() - 1}
        else:
            names, self._options = module.CParameter, "level_or_option"
            self._level, self._checksum, self._workers = names.compressionLevel, names.checksumFlag, names.nbWorkers
            self._decoder_options = {module.DParameter.windowLogMax: _MAX_WINDOW.bit_length() - 1}
        self._decoder_argument = "options" if self._options == "options" else "option"

    def compressor(self, level: int, threads: int) -> Compressor:
        options = {self._level: level, self._checksum: 1, self._workers: max(threads, 0)}
        made: Compressor = self._module.ZstdCompressor(**{self._options: options})
        return made

    def open_reader(self, source: IO[bytes]) -> IO[bytes]:
        stream: IO[bytes] = self._module.ZstdFile(source, "rb")
        return stream

    def compress(self, data: memoryview, level: int) -> bytes:
        frame: bytes = self._module.compress(data, level)
        return frame

    def decompress_into(self, data: memoryview, out: memoryview) -> int:
        decompressor = self._module.ZstdDecompressor(**{self._decoder_argument: self._decoder_options})
        done, source = 0, bytes(data)
        while done < len(out) and not decompressor.eof:
            piece = decompressor.decompress(source, len(out) - done)
            out[done : done + len(piece)] = piece
            done += len(piece)
            if not piece and decompressor.needs_input:
                break
            source = b""
        if not decompressor.eof or decompressor.unused_data:
            raise self.error("the frame doesn't end where its data does")
        return done
