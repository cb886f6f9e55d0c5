"""`crc32@dcpx-test-plugin/1`: the bytes as they are and, after them, their CRC-32."""

from __future__ import annotations

import zlib
from typing import IO, cast

import dcpx
from dcpx.streams import TransformReader, TransformWriter, read_exactly, write_all

_SIZE = 4
_STEP = 1 << 16


class Crc32(dcpx.StreamTransformExtension):
    @staticmethod
    def registry_name() -> str:
        return "crc32@dcpx-test-plugin"

    @staticmethod
    def from_descriptor(version: str) -> Crc32:
        if version != "1":
            raise ValueError(f"crc32 of version {version!r} is unknown")
        return Crc32()

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Writer(output))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Reader(input))


class _Writer(TransformWriter):
    _sum = 0

    def transform(self, data: memoryview) -> None:
        self._sum = zlib.crc32(data, self._sum)
        write_all(self.output, data)

    def finish(self) -> None:
        write_all(self.output, self._sum.to_bytes(_SIZE, "little"))


class _Reader(TransformReader):
    """Holds the last bytes back: they are the sum once nothing follows them."""

    _sum = 0
    _held = b""
    _position = 0

    def fill(self, buffer: memoryview) -> int:
        wanted = min(len(buffer), _STEP) + _SIZE - len(self._held)
        data = self._held + read_exactly(self.input, wanted)
        content, self._held = data[:-_SIZE], data[-_SIZE:]
        if content:
            self._sum = zlib.crc32(content, self._sum)
            buffer[: len(content)] = content
            self._position += len(content)
        elif len(self._held) < _SIZE or int.from_bytes(self._held, "little") != self._sum:
            raise self.truncated("the CRC-32 is missing or another", self._position)
        return len(content)
