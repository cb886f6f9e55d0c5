"""`rot13@dcpx-test-plugin/1`: letters moved by 13 places; what upstream's own tests of extensions use."""

from __future__ import annotations

import io
from typing import IO, Any, cast

import dcpx

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TABLE = bytes.maketrans(_LETTERS, b"NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm")


class Rot13(dcpx.StreamTransformExtension):
    @staticmethod
    def registry_name() -> str:
        return "rot13@dcpx-test-plugin"

    @staticmethod
    def from_descriptor(version: str) -> Rot13:
        if version != "1":
            raise ValueError(f"rot13 of version {version!r} is unknown")
        return Rot13()

    def get_descriptor(self) -> str:
        return f"{self.registry_name()}/1"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Writer(output))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Reader(input))


class _Writer(io.RawIOBase):
    def __init__(self, output: IO[bytes]) -> None:
        super().__init__()
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        rest = moved = memoryview(bytes(data).translate(_TABLE))
        while rest:
            rest = rest[self._output.write(rest) :]
        return len(moved)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._output.close()


class _Reader(io.RawIOBase):
    """Can't seek, as a transform over a pipe can't."""

    def __init__(self, input: IO[bytes]) -> None:
        super().__init__()
        self._input = input

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._input.read(len(view)).translate(_TABLE)
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._input.close()

    def __del__(self) -> None:
        """The input belongs to whoever opened it: only an explicit close cascades."""
        super().close()
