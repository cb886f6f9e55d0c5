"""The streams beneath every extension: what they write is whole or recognisably isn't."""

from __future__ import annotations

import ctypes
import gc
import io
from typing import IO, Any, cast

import numpy as np
import pytest

from dcpx.streams import TransformReader, as_bytes, read_exactly, stream_name, write_all
from tests.support.extensions import TailedWriter
from tests.support.sinks import Sink, full_disk


def tailed(sink: Sink) -> TailedWriter:
    return TailedWriter(cast(IO[bytes], sink))


# as_bytes, write_all, read_exactly, stream_name


@pytest.mark.parametrize(
    "buffer",
    [
        b"abcd",
        bytearray(b"abcd"),
        memoryview(b"aXbXcXdX")[::2],
        np.frombuffer(b"abcd", ">i2"),
        np.frombuffer(b"abcd", "f2").reshape(2, 1, 1),
        np.frombuffer(b"acbd", "u1").reshape(2, 2).T,
        np.array(0x64636261, "<u4"),
        (ctypes.c_ubyte * 4)(*b"abcd"),
    ],
)
def test_any_buffer_is_its_bytes(buffer: Any) -> None:
    view = as_bytes(buffer)
    assert (view.format, view.ndim, bytes(view)) == ("B", 1, b"abcd")


def test_empty_buffers() -> None:
    for buffer in (b"", np.empty((0, 3)), np.empty(0, "c8")):
        assert bytes(as_bytes(buffer)) == b""


def test_short_writes_are_completed() -> None:
    sink = Sink(lambda size, turn: min(size, turn % 3 + 1))
    write_all(cast(IO[bytes], sink), bytes(range(100)))
    assert bytes(sink.data) == bytes(range(100))


@pytest.mark.parametrize("taken", [None, 0, -1, 101, 1 << 40])
@pytest.mark.parametrize("turn_of_it", [0, 1])
def test_writes_that_take_nothing_known_raise(taken: int | None, turn_of_it: int) -> None:
    sink = Sink(lambda size, turn: taken if turn == turn_of_it else 1)
    with pytest.raises(OSError, match=f"returned {taken}"):
        write_all(cast(IO[bytes], sink), bytes(100))


@pytest.mark.parametrize("most", [1, 2, 7, 100])
@pytest.mark.parametrize("size", [0, 1, 8, 9])
def test_read_exactly(most: int, size: int) -> None:
    source = io.BytesIO(b"12345678")
    short = cast(IO[bytes], type("Short", (), {"read": staticmethod(lambda n: source.read(min(n, most)))})())
    assert read_exactly(short, size) == b"12345678"[:size]


def test_non_blocking_input_raises() -> None:
    blocked = cast(IO[bytes], type("Blocked", (), {"read": staticmethod(lambda n: None)})())
    with pytest.raises(OSError, match="would block"):
        read_exactly(blocked, 1)


def test_name_is_found_below(tmp_path: Any) -> None:
    path = tmp_path / "__0_0.distcp"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        slice_of_it = type("Slice", (), {"base_stream": file})()
        assert stream_name(slice_of_it) == stream_name(file) == str(path)
    assert stream_name(io.BytesIO()) is None
    endless = type("Endless", (), {})()
    endless.base_stream = endless
    assert stream_name(endless) is None


# TransformWriter


def test_end_is_written_once_by_close() -> None:
    sink = Sink()
    stream = tailed(sink)
    assert stream.write(b"abc") == 3
    assert bytes(sink.data) == b"abc"
    stream.close()
    stream.close()
    assert bytes(sink.data) == b"abcEND"
    assert sink.closed
    with pytest.raises(ValueError):
        stream.write(b"d")


def test_counts_bytes_and_not_elements() -> None:
    sink = Sink()
    assert tailed(sink).write(np.zeros((3, 2), np.float32)) == 24


def test_truthful() -> None:
    stream = tailed(Sink())
    assert (stream.writable(), stream.readable(), stream.seekable()) == (True, False, False)
    reader = TransformReader(io.BytesIO())
    assert (reader.writable(), reader.readable(), reader.seekable()) == (False, True, False)


def test_first_error_sticks_and_no_end_follows() -> None:
    sink = Sink(full_disk(1))
    stream = tailed(sink)
    stream.write(b"a")
    with pytest.raises(OSError, match="No space left") as first:
        stream.write(b"b")
    for later in (lambda: stream.write(b"c"), stream.close):
        with pytest.raises(OSError) as again:
            later()
        assert again.value is first.value
    assert stream.closed
    assert bytes(sink.data) == b"a"


def test_error_of_the_end_itself() -> None:
    sink = Sink(full_disk(1))
    stream = tailed(sink)
    stream.write(b"a")
    with pytest.raises(OSError, match="No space left"):
        stream.close()
    assert stream.closed
    assert not sink.closed  # closing it could be what makes the item look whole
    with pytest.raises((OSError, ValueError)):
        stream.write(b"c")
    assert bytes(sink.data) == b"a"


def test_error_of_the_outputs_close_is_raised() -> None:
    class Failing(Sink):
        def close(self) -> None:
            if not self.closed:
                super().close()
                raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        tailed(Failing()).close()


def test_with_block_that_fails_writes_no_end() -> None:
    sink = Sink()

    def break_off() -> None:
        with tailed(sink) as stream:
            stream.write(b"abc")
            raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        break_off()
    assert bytes(sink.data) == b"abc"


def test_with_block_that_hides_the_error_raises_it() -> None:
    sink = Sink(full_disk(0))
    with pytest.raises(OSError, match="No space left"), tailed(sink) as stream:
        with pytest.raises(OSError):
            stream.write(b"abc")
    assert bytes(sink.data) == b""


def test_garbage_collector_writes_no_end() -> None:
    sink = Sink()
    stream = tailed(sink)
    stream.write(b"abc")
    del stream
    gc.collect()
    assert bytes(sink.data) == b"abc"
    assert not sink.closed


def test_abandon_cascades() -> None:
    sink = Sink()
    lower = tailed(sink)
    upper = TailedWriter(cast(IO[bytes], lower))
    upper.write(b"abc")
    upper.abandon()
    assert upper.closed
    assert lower.closed
    assert bytes(sink.data) == b"abc"
    upper.abandon()
    upper.close()
    assert bytes(sink.data) == b"abc"


# TransformReader


class Chunks(TransformReader):
    """Hands out its input in pieces of 3 bytes; the piece BAD raises, as a damaged one would."""

    def fill(self, buffer: memoryview) -> int:
        data = self.input.read(min(3, len(buffer)))
        if data == b"BAD":
            self.input.seek(-3, io.SEEK_CUR)
            raise self.truncated("bad piece", self.input.tell())
        buffer[: len(data)] = data
        return len(data)


def test_reader_fills_the_buffer_or_ends() -> None:
    stream = Chunks(io.BytesIO(b"0123456789"))
    assert stream.read(4) == b"0123"
    assert stream.read(0) == b""
    buffer = bytearray(5)
    assert stream.readinto(buffer) == 5
    assert bytes(buffer) == b"45678"
    assert [stream.read(5), stream.read(5), stream.read()] == [b"9", b"", b""]
    assert Chunks(io.BytesIO(b"0123456789")).read(None) == b"0123456789"


def test_reader_believes_no_size() -> None:
    # A size from a damaged file mustn't be allocated.
    assert Chunks(io.BytesIO(b"0123456789")).read(1 << 60) == b"0123456789"


@pytest.mark.parametrize("size", [-1, 6, 100])
def test_reader_raises_instead_of_reading_short(size: int) -> None:
    stream = Chunks(io.BytesIO(b"012BAD345"))
    for _ in range(2):
        with pytest.raises(EOFError, match="byte 3"):
            stream.read(size)


def test_reader_close() -> None:
    input = io.BytesIO(b"abc")
    stream = Chunks(input)
    stream.close()
    assert input.closed
    with pytest.raises(ValueError):
        stream.read(1)


def test_reader_that_is_collected_leaves_its_input_open() -> None:
    input = io.BytesIO(b"abc")
    stream = Chunks(input)
    del stream
    gc.collect()
    assert not input.closed
