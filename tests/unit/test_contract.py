"""The shipped contract suite, for dcpx's own extensions; and that the suite notices what breaks the contract."""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable
from subprocess import CalledProcessError
from typing import IO, Any, ClassVar, cast

import pytest

from dcpx import Chain, Pack, ZStandard
from dcpx.testing import StreamTransformContract
from tests.support.extensions import Passing

# How the suite complains: by an assertion, or by letting through what the extension raised.
COMPLAINTS = (AssertionError, OSError, ValueError, EOFError, AttributeError, pickle.PicklingError, CalledProcessError)


class TestZStandard(StreamTransformContract):
    def extension(self) -> ZStandard:
        return ZStandard()


class TestZStandardThreads(StreamTransformContract):
    def extension(self) -> ZStandard:
        return ZStandard(level=-5, threads=2)


class TestPack(StreamTransformContract):
    def extension(self) -> Pack:
        return Pack()


class TestPackSmallChunks(StreamTransformContract):
    def extension(self) -> Pack:
        return Pack("zstd", chunk_size=4096)


class TestChain(StreamTransformContract):
    def extension(self) -> Chain:
        return Chain(Pack(), ZStandard())


class TestChainOtherWay(StreamTransformContract):
    def extension(self) -> Chain:
        return Chain(ZStandard(), Pack("raw"))


class TestEmptyChain(StreamTransformContract):
    """Nothing between the caller's stream and the file: it hides no fault of the file's, and adds none."""

    detects_truncation = False

    def extension(self) -> Chain:
        return Chain()

    # The file's own streams are the ones that take parts, read and write at will.
    test_part_of_a_write_is_no_loss = None  # type: ignore[assignment]
    test_part_of_a_read_is_no_end = None  # type: ignore[assignment]
    test_streams_say_what_they_can = None  # type: ignore[assignment]
    test_close_cascades = None  # type: ignore[assignment]


# Extensions that are wrong in one way each, and the test of the suite that says so.


class Faulty(Passing):
    """Zlib-like, and right but for its `fault`."""

    descriptor = "faulty@tests/1"
    fault: ClassVar[str] = ""

    def get_descriptor(self) -> str:
        return "other@tests/1" if self.fault == "misnamed" else self.descriptor

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Writer(output, self.fault))

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], _Reader(input, self.fault))


class _Writer(io.RawIOBase):
    def __init__(self, output: IO[bytes], fault: str) -> None:
        super().__init__()
        self._output, self._fault, self._parts = output, fault, bytearray()

    def writable(self) -> bool:
        return self._fault != "not writable"

    def write(self, data: Any, /) -> int:
        self._parts += memoryview(data).cast("B")
        return len(data) if self._fault == "counts elements" else memoryview(data).nbytes

    def close(self) -> None:
        if self.closed and self._fault != "closes twice":
            return
        rest = memoryview(zlib.compress(self._parts))
        while rest:
            taken = self._output.write(rest)
            rest = rest[len(rest) if self._fault == "ignores short writes" else taken :]
        super().close()
        if self._fault != "leaves open":
            self._output.close()


class _Reader(io.RawIOBase):
    def __init__(self, input: IO[bytes], fault: str) -> None:
        super().__init__()
        self._input, self._fault, self._content = input, fault, io.BytesIO()
        stored = input.read(1 << 30) if fault == "believes short reads" else _read_all(input)
        decompressor = zlib.decompressobj()
        content = decompressor.decompress(stored)
        if not decompressor.eof and fault != "reads short":
            raise EOFError("cut off")
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._fault == "says it can seek"

    def readinto(self, buffer: Any, /) -> int:
        return self._content.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._input.close()

    def __del__(self) -> None:
        super().close()


def _read_all(input: IO[bytes]) -> bytes:
    return b"".join(iter(lambda: input.read(1 << 20), b""))


class Unpicklable(Faulty):
    def __init__(self) -> None:
        self.cache = lambda: None


class NeedsTorch(Faulty):
    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        import torch  # noqa: F401

        return super().transform_to(output)


class OneAtATime(Faulty):
    """Keeps the item in the instance, which all writer threads share."""

    def transform_to(self, output: IO[bytes]) -> IO[bytes]:
        if output is not getattr(self, "_busy", output):
            raise ValueError("two items at once")
        self._busy = output
        return super().transform_to(output)


def with_fault(name: str) -> type[Faulty]:
    return type("Faulty", (Faulty,), {"fault": name, "from_descriptor": staticmethod(lambda version: Faulty())})


FAULTS: dict[str, Callable[[StreamTransformContract], object]] = {
    "misnamed": lambda suite: suite.test_descriptor_leads_back_to_the_class(),
    "counts elements": lambda suite: suite.test_content_survives(4096, "numpy"),
    "ignores short writes": lambda suite: suite.test_part_of_a_write_is_no_loss(),
    "believes short reads": lambda suite: suite.test_part_of_a_read_is_no_end(),
    "leaves open": lambda suite: suite.test_close_cascades(),
    "closes twice": lambda suite: suite.test_close_cascades(),
    "not writable": lambda suite: suite.test_streams_say_what_they_can(),
    "says it can seek": lambda suite: suite.test_streams_say_what_they_can(),
    "reads short": lambda suite: suite.test_truncation("read"),
}


def suite_for(cls: type[Faulty]) -> StreamTransformContract:
    suite = StreamTransformContract()
    suite.extension = cls  # type: ignore[method-assign]
    return suite


class TestFaultless(StreamTransformContract):
    def extension(self) -> Faulty:
        return Faulty()


@pytest.mark.parametrize("name", FAULTS)
def test_suite_notices(name: str) -> None:
    with pytest.raises(COMPLAINTS):
        FAULTS[name](suite_for(with_fault(name)))


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (Unpicklable, "test_instance_is_picklable"),
        (NeedsTorch, "test_torch_is_not_needed"),
        (OneAtATime, "test_instance_serves_several_threads"),
    ],
)
def test_suite_notices_instances(cls: type[Faulty], check: str) -> None:
    with pytest.raises(COMPLAINTS):
        getattr(suite_for(cls), check)()
