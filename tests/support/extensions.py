"""Extensions to derive others from: each test says only in what its own differs."""

from __future__ import annotations

from typing import IO, ClassVar, cast

from dcpx import StreamTransformExtension
from dcpx.streams import TransformWriter, write_all


class Passing(StreamTransformExtension):
    """Stores what it is given as it is, by the streams that it is given; subclasses name themselves."""

    descriptor: ClassVar[str] = "passing@tests/1"

    @classmethod
    def registry_name(cls) -> str:  # type: ignore[override]
        return cls.descriptor.partition("/")[0]

    @classmethod
    def from_descriptor(cls, version: str) -> Passing:  # type: ignore[override]
        return cls()

    def get_descriptor(self) -> str:
        return self.descriptor

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return output

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return input


class PassingWriter(TransformWriter):
    """Writes what it is given."""

    def transform(self, data: memoryview) -> None:
        write_all(self.output, data)


class Tailed(Passing):
    """Ends each item with END; for writing only."""

    descriptor = "tailed@tests"

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], TailedWriter(output))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        raise NotImplementedError


class TailedWriter(PassingWriter):
    """Writes what it is given, then END."""

    def finish(self) -> None:
        write_all(self.output, b"END")
