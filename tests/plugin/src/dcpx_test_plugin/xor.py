"""`xor@dcpx-test-plugin/<key>`: every byte combined with the key in the version; seeks where its input can."""

from __future__ import annotations

import io
import os
from typing import IO, Any, cast

import dcpx


class Xor(dcpx.StreamTransformExtension):
    def __init__(self, key: int = 0x5A) -> None:
        self.key = key
        self.table = bytes(byte ^ key for byte in range(256))

    @staticmethod
    def registry_name() -> str:
        return "xor@dcpx-test-plugin"

    @staticmethod
    def from_descriptor(version: str) -> Xor:
        return Xor(int(version, 16))

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/{self.key:02x}"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Writer(output, self.table))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Reader(input, self.table))


class _Writer(io.RawIOBase):
    def __init__(self, output: IO[bytes], table: bytes) -> None:
        super().__init__()
        self._output = output
        self._table = table

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        rest = mixed = memoryview(bytes(data).translate(self._table))
        while rest:
            rest = rest[self._output.write(rest) :]
        return len(mixed)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._output.close()


class _Reader(io.RawIOBase):
    def __init__(self, input: IO[bytes], table: bytes) -> None:
        super().__init__()
        self._input = input
        self._table = table
        self._start = input.tell() if input.seekable() else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._input.seekable()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET:
            offset += self._start
        return self._input.seek(offset, whence) - self._start

    def tell(self) -> int:
        return self._input.tell() - self._start

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._input.read(len(view)).translate(self._table)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._input.close()

    def __del__(self) -> None:
        """The input belongs to whoever opened it: only an explicit close cascades."""
        super().close()
