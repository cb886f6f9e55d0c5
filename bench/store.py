"""Where the checkpoint benchmark stores: a file system as slow as a network's, and the page cache put aside."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch.distributed.checkpoint.filesystem import FileSystem

BURST = 0.001
"""Seconds of traffic that pass at full speed: less would be rounded up by what a sleep costs."""


class ThrottledFileSystem(FileSystem):
    """Local files behind a link of `rate` bytes/s, which all streams share; assign it to a writer's or reader's `fs`.

    Its streams are seekable and buffered as those of local files are, but have no file number: nobody gets past the
    link. `carried` counts the bytes that went over it.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.carried = 0

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Generator[io.IOBase, None, None]:
        if mode not in ("rb", "wb"):
            raise ValueError(f"a stream is for 'rb' or 'wb', not {mode!r}")
        raw = _ThrottledFile(io.FileIO(Path(path), mode), self)
        with io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw) as stream:
            yield stream

    def carry(self, size: int, start: float) -> None:
        """Return when `size` bytes that set off at the time `start` have arrived."""
        with self._lock:
            self.carried += size
            self._free_at = max(self._free_at, start - BURST) + size / self._rate
            wait = self._free_at - time.perf_counter()
        if wait > 0:
            time.sleep(wait)


class _ThrottledFile(io.RawIOBase):
    def __init__(self, file: io.FileIO, link: ThrottledFileSystem) -> None:
        super().__init__()
        self._file = file
        self._link = link

    def readable(self) -> bool:
        return self._file.readable()

    def writable(self) -> bool:
        return self._file.writable()

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any, /) -> int:
        start = time.perf_counter()
        size = self._file.readinto(buffer)
        self._link.carry(size, start)
        return size

    def write(self, data: Any, /) -> int:
        start = time.perf_counter()
        size = self._file.write(data)
        self._link.carry(size, start)
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def stored_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in _files(folder))


def sync(folder: Path) -> None:
    """fsync every file below the folder."""
    for file in _files(folder):
        _on_descriptor(file, os.fsync)


def drop_page_cache(folder: Path) -> None:
    """Forget the pages of every file below the folder; what isn't on disk yet is written first, or it would stay."""
    sync(folder)
    for file in _files(folder):
        _on_descriptor(file, lambda descriptor: os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _on_descriptor(file: Path, work: Any) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        work(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def slow_link(endpoint: str, rate: float) -> Generator[str, None, None]:
    """An address on this machine that leads to `endpoint` over a link of `rate` bytes/s that all connections share."""
    to = urlsplit(endpoint)
    link = ThrottledFileSystem(rate)
    ends: list[socket.socket] = []

    def carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(64 << 10):
                link.carry(len(data), time.perf_counter())
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((to.hostname, to.port or 80))
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    for end in ends:
        end.close()
