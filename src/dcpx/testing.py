"""What every stream transform must do, as a pytest suite that the author of an extension inherits from.

    from dcpx.testing import StreamTransformContract

    class TestRot13(StreamTransformContract):
        detects_truncation = False

        def extension(self):
            return Rot13()

Needs pytest; `pytest.register_assert_rewrite("dcpx.testing")` in a conftest.py, before the import, makes it show the
values that a failing test compared. The streams that the suite puts below an extension are as unhelpful as the ones
that DCP and other extensions put there: they take a part of a write, return a part of a read, and neither seek nor
say so.
"""

from __future__ import annotations

import array
import io
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, ClassVar, cast

import numpy as np
import pytest

from .descriptor import Descriptor
from .extension import Item, StreamTransformExtension
from .registry import ExtensionRegistry

__all__ = ["StreamTransformContract"]

_SIZES = (0, 1, 3, 4096, (1 << 20) + 7)
_PIECES = (1, 1000, 3, 1 << 14, 40_000, 7, 300_000)
"""Lengths of the writes and reads, over and over."""

_KINDS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "numpy": lambda data: np.frombuffer(data, np.uint16 if len(data) % 2 == 0 else np.uint8),
    "array": lambda data: array.array("H" if len(data) % 2 == 0 else "B", data),
}

_REFUSALS = (OSError, ValueError, NotImplementedError, AttributeError)
"""What a stream may raise that is asked for what it can't; io's own classes raise the first three."""

_WITHOUT_TORCH = """
import io, pickle, sys
sys.modules["torch"] = None  # from here on, importing torch raises ImportError
extension, content = pickle.load(sys.stdin.buffer)
output = io.BytesIO()
output.close = lambda: None
stream = extension.transform_to(output)
stream.write(content)
stream.close()
assert extension.transform_from(io.BytesIO(output.getvalue())).read(-1) == content
"""


class StreamTransformContract:
    """Inherit, override `extension`, and name the class Test... so that pytest collects it."""

    detects_truncation: ClassVar[bool] = True
    """Whether stored bytes that end too early raise. Where not, they must at least read as the content's beginning."""

    needs_torch: ClassVar[bool] = False
    """Whether the extension works only where torch is installed."""

    def extension(self) -> StreamTransformExtension:
        """A new instance of the extension under test."""
        raise NotImplementedError("override extension() to return what is to be tested")

    def registry(self) -> ExtensionRegistry:
        """A registry that knows the extension; override it for one that is made of others."""
        registry = ExtensionRegistry()
        registry.register(type(self.extension()))
        return registry

    # Names

    def test_descriptor_leads_back_to_the_class(self) -> None:
        """The descriptor is well-formed, stable, and a registry rebuilds from it what reads the content."""
        extension = self.extension()
        text = extension.get_descriptor()
        assert str(Descriptor.parse(text)) == text == self.extension().get_descriptor()
        assert Descriptor.parse(text).key == type(extension).registry_name()
        (rebuilt,) = self.registry().from_descriptor_list([text])
        assert type(rebuilt) is type(extension)
        assert rebuilt.get_descriptor() == text
        content = _content(4096)
        assert rebuilt.transform_from(io.BytesIO(_stored(extension, content))).read(-1) == content

    # Content

    @pytest.mark.parametrize("kind", _KINDS)
    @pytest.mark.parametrize("size", _SIZES)
    def test_content_survives(self, size: int, kind: str) -> None:
        """Whatever is written, in whichever pieces and as whichever buffer, is read back in each of three ways."""
        extension, content = self.extension(), _content(size)
        stored = _stored(extension, content, _KINDS[kind])
        assert extension.transform_from(io.BytesIO(stored)).read(-1) == content
        assert _read_pieces(extension.transform_from(io.BytesIO(stored))) == content
        assert _readinto_pieces(extension.transform_from(io.BytesIO(stored))) == content

    def test_item_knowledge_changes_nothing(self) -> None:
        """What the writer knows of an item helps, but is no condition: here it is wrong."""
        extension, content = self.extension(), _content(4096)
        item = Item("layer.weight", (0, 0), "bfloat16", (16, 16), True, bytes(16))
        output = _Output()
        with extension.transform_item_to(cast(IO[bytes], output), item) as stream:
            _write_all(stream, content)
        assert extension.transform_from(io.BytesIO(output.getvalue())).read(-1) == content

    def test_end_stays_the_end(self) -> None:
        """After the end, reading returns nothing, again and again."""
        extension = self.extension()
        stream = extension.transform_from(io.BytesIO(_stored(extension, _content(3))))
        assert stream.read(-1) == _content(3)
        assert [stream.read(1), stream.read(-1), stream.read(1)] == [b"", b"", b""]

    def test_part_of_a_write_is_no_loss(self) -> None:
        """The output may take only a part of a write and say so."""
        extension, content = self.extension(), _content(100_000)
        stored = _stored(extension, content, most=1000)
        assert extension.transform_from(io.BytesIO(stored)).read(-1) == content

    def test_part_of_a_read_is_no_end(self) -> None:
        """The input may return less than was asked for, and may be unable to seek."""
        extension, content = self.extension(), _content(100_000)
        stored = _stored(extension, content)
        assert extension.transform_from(cast(IO[bytes], _Input(stored, 1000))).read(-1) == content

    # Streams

    def test_close_cascades(self) -> None:
        """Closing a stream closes the one below it; closing it again does no harm."""
        extension, output = self.extension(), _Output()
        writer = extension.transform_to(cast(IO[bytes], output))
        writer.write(b"abc")
        closed_before = output.closed
        writer.close()
        assert writer.closed
        assert (closed_before, output.closed) == (False, True)
        stored = output.getvalue()
        writer.close()
        assert output.getvalue() == stored

        input = io.BytesIO(stored)
        reader = extension.transform_from(input)
        assert reader.read(-1) == b"abc"
        reader.close()
        assert reader.closed
        assert input.closed
        reader.close()

    def test_streams_say_what_they_can(self) -> None:
        """`readable`, `writable` and `seekable` hold, so that io.BufferedReader and torch.load may rely on them."""
        extension, content = self.extension(), _content(5000)
        writer = extension.transform_to(cast(IO[bytes], _Output()))
        assert writer.writable()
        assert not writer.readable()
        with pytest.raises(_REFUSALS):
            writer.read(1)
        writer.close()

        for input in (io.BytesIO(_stored(extension, content)), _Input(_stored(extension, content), 1 << 20)):
            reader = extension.transform_from(cast(IO[bytes], input))
            assert reader.readable()
            assert not reader.writable()
            with pytest.raises(_REFUSALS):
                reader.write(b"x")
            if reader.seekable():
                for start in (4990, 0, 1234):
                    assert reader.seek(start) == start == reader.tell()
                    assert reader.read(20) == content[start : start + 20]
                assert reader.seek(0, os.SEEK_END) == len(content)
            else:
                with pytest.raises(_REFUSALS):
                    reader.seek(0)

    def test_items_follow_one_another(self) -> None:
        """Items share a file, which stays open: each is whole as soon as its own stream is closed."""
        extension, output = self.extension(), _Output()
        contents = [_content(size) for size in (10_000, 0, 3)]
        ends = [0]
        for content in contents:
            stream = extension.transform_to(cast(IO[bytes], _Uncloseable(output)))
            _write_all(stream, content)
            stream.close()
            ends.append(len(output.getvalue()))
        assert not output.closed
        stored = output.getvalue()
        for content, start, end in zip(contents, ends, ends[1:], strict=False):
            assert extension.transform_from(io.BytesIO(stored[start:end])).read(-1) == content

    # Damage

    @pytest.mark.parametrize("way", ["read", "pieces", "stream"])
    def test_truncation(self, way: str) -> None:
        """Every strict prefix of an item raises ValueError or EOFError, or reads as a beginning of the content."""
        extension, content = self.extension(), _content(50)
        stored = _stored(extension, content)
        for length in range(len(stored)):
            prefix = stored[:length]
            try:
                input = _Input(prefix, 1 << 20) if way == "stream" else io.BytesIO(prefix)
                stream = extension.transform_from(cast(IO[bytes], input))
                read = _read_pieces(stream) if way == "pieces" else stream.read(-1)
            except (ValueError, EOFError):
                continue
            assert not self.detects_truncation, f"{length} of {len(stored)} stored bytes read as {read!r}"
            assert content.startswith(read)

    # Instances

    def test_instance_is_picklable(self) -> None:
        """`async_save` with a process pickles the writer and with it the extension, used or not."""
        extension, content = self.extension(), _content(5000)
        assert _stored(extension, content)
        copy = pickle.loads(pickle.dumps(extension))
        assert copy.get_descriptor() == extension.get_descriptor()
        assert extension.transform_from(io.BytesIO(_stored(copy, content))).read(-1) == content
        assert copy.transform_from(io.BytesIO(_stored(extension, content))).read(-1) == content

    def test_instance_serves_several_threads(self) -> None:
        """One instance writes the items of all writer threads at once."""
        extension, content = self.extension(), _content(200_000)
        together = threading.Barrier(4, timeout=60)

        def store(number: int) -> bytes:
            together.wait()
            return _stored(extension, content[number:])

        with ThreadPoolExecutor(4) as pool:
            for number, stored in enumerate(pool.map(store, range(4))):
                assert extension.transform_from(io.BytesIO(stored)).read(-1) == content[number:]

    def test_torch_is_not_needed(self) -> None:
        """Where torch can't be imported, the extension works all the same."""
        if self.needs_torch:
            pytest.skip("needs torch, as it says")
        subprocess.run(
            [sys.executable, "-c", _WITHOUT_TORCH],
            input=pickle.dumps((self.extension(), _content(5000))),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=True,
        )


def _content(size: int) -> bytes:
    """Bytes that neither repeat nor compress to nothing: the 2-byte counters' high bytes do, the rest doesn't."""
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    noise[1::2] = (np.arange(len(noise[1::2])) >> 8).astype(np.uint8)
    return noise.tobytes()


def _stored(
    extension: StreamTransformExtension,
    content: bytes,
    kind: Callable[[bytes], Any] = bytes,
    most: int | None = None,
) -> bytes:
    output = _Output(most)
    stream = extension.transform_to(cast(IO[bytes], output))
    _write_all(stream, content, kind)
    stream.close()
    return output.getvalue()


def _write_all(stream: IO[bytes], content: bytes, kind: Callable[[bytes], Any] = bytes) -> None:
    # torch.save ignores what a write returns, so each must take everything.
    for piece in _cut(content):
        assert stream.write(kind(piece)) == len(piece)


def _cut(content: bytes) -> Iterator[bytes]:
    start = turn = 0
    while start < len(content):
        size = _PIECES[turn % len(_PIECES)]
        yield content[start : start + size]
        start, turn = start + size, turn + 1


def _read_pieces(stream: IO[bytes]) -> bytes:
    parts: list[bytes] = []
    while part := stream.read(size := _PIECES[len(parts) % len(_PIECES)]):
        assert len(part) <= size
        parts.append(part)
    return b"".join(parts)


def _readinto_pieces(stream: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        buffer = bytearray(_PIECES[len(parts) % len(_PIECES)])
        count = stream.readinto(buffer)
        if not count:
            return b"".join(parts)
        parts.append(bytes(buffer[:count]))


class _Output(io.RawIOBase):
    """Keeps what was written, also after it is closed; takes at most `most` bytes a write."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._data = bytearray()
        self._most = most

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.closed:
            raise ValueError("write to closed output")
        taken = memoryview(data).cast("B")[: self._most]
        self._data += taken
        return len(taken)

    def getvalue(self) -> bytes:
        return bytes(self._data)


class _Uncloseable(io.IOBase):
    """As DCP's own stream below an item: `close` doesn't reach the file, and `writable` isn't overridden."""

    def __init__(self, output: _Output) -> None:
        self._output = output

    def write(self, data: Any, /) -> int:
        return self._output.write(data)

    def close(self) -> None:
        self.flush()


class _Input(io.RawIOBase):
    """Can't seek, and returns at most `most` bytes a read."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__()
        self._data = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._data.readinto(memoryview(buffer).cast("B")[: self._most])
