"""The golden files of spec/vectors/: whatever dcpx becomes, it reads each of them as their index says."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import IO, Any

import pytest

import dcpx
from dcpx import CorruptError, DcpxError, TruncatedError, UnsupportedError, kernels
from dcpx.frame import open_frame
from dcpx.frame.map import FrameMap, read_final
from dcpx.frame.reader import read_header

DIRECTORY = Path(__file__).resolve().parents[2] / "spec" / "vectors"
INDEX: dict[str, dict[str, Any]] = (
    json.loads((DIRECTORY / "index.json").read_text("utf-8")) if (DIRECTORY / "index.json").exists() else {}
)
FRAMES = {name: entry for name, entry in INDEX.items() if entry.get("descriptor") == "stream.pack@dcpx/1"}
GOOD = sorted(name for name, entry in FRAMES.items() if "error" not in entry)
BAD = sorted(name for name, entry in FRAMES.items() if "error" in entry)
STREAMS = sorted(name for name, entry in INDEX.items() if entry.get("descriptor") == "stream.zstd/1")
ITEMS = sorted(set(INDEX) - set(FRAMES) - set(STREAMS))
ERRORS = {kind.__name__: kind for kind in (CorruptError, TruncatedError, UnsupportedError)}


class Pipe(io.RawIOBase):
    """Reads onward only, at most 1,000 bytes at a time."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._data.read(1000 if size is None or size < 0 else min(size, 1000))


BOTH = pytest.mark.parametrize("seekable", [True, False], ids=["seekable", "streamed"])


def source(name: str, seekable: bool) -> IO[bytes]:
    data = (DIRECTORY / name).read_bytes()
    return io.BytesIO(data) if seekable else Pipe(data)  # type: ignore[return-value]


def assert_content(raw: bytes, entry: dict[str, Any]) -> None:
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (entry["length"], entry["sha256"])


def test_the_index_lists_what_lies_there():
    assert len(GOOD) >= 10
    assert len(BAD) >= 20
    assert STREAMS
    assert ITEMS
    assert {path.name for path in DIRECTORY.iterdir() if path.is_file()} == {
        *(*INDEX, "index.json", "checkpoints.json", "checkpoints.tar.gz")
    }


@BOTH
@pytest.mark.parametrize("name", GOOD)
def test_good_frames(name: str, seekable: bool):
    entry, reader = INDEX[name], open_frame(source(name, seekable))
    assert reader.seekable() == seekable
    assert_content(reader.read(), entry)
    header, fields = reader.header, entry["header"]
    assert list(header.codecs) == fields.get("codecs", [0, 1, 2])
    key, hint = fields.get("key"), fields.get("hint")
    if key is None:
        assert header.key is None
    else:
        assert header.key is not None
        offsets = None if key["offsets"] is None else tuple(key["offsets"])
        assert (header.key.fqn, header.key.offsets) == (key["fqn"], offsets)
    if hint is None:
        assert header.hint is None
    else:
        assert header.hint is not None
        found = (header.hint.dtype, list(header.hint.shape), header.hint.payload_offset)
        assert found == (hint["dtype"], hint["shape"], hint["payload_offset"])
    assert (header.checkpoint.hex() if header.checkpoint else None) == fields.get("checkpoint")


@pytest.mark.parametrize("name", GOOD)
def test_good_frames_from_any_offset(name: str):
    reader = open_frame(source(name, True))
    raw = reader.read()
    for start in range(0, len(raw) + 1, max(len(raw) // 7, 1)):
        assert reader.seek(start) == start
        assert reader.read(1234) == raw[start : start + 1234]


@BOTH
@pytest.mark.parametrize("name", BAD)
def test_bad_frames(name: str, seekable: bool):
    # Truncation is a kind of corruption, and which of the two it looks like may depend on the end a reader starts from.
    expected = ERRORS[INDEX[name]["error"]]
    with pytest.raises(CorruptError if issubclass(expected, CorruptError) else expected) as caught:
        open_frame(source(name, seekable)).read()
    assert isinstance(caught.value, DcpxError)
    assert caught.value.cause


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_the_kernels_take_what_python_takes(name: str):
    data = (DIRECTORY / name).read_bytes()
    try:
        header = read_header(io.BytesIO(data))
        frame = FrameMap(header, read_final(lambda offset, size: data[offset : offset + size], header, len(data)))
    except DcpxError:
        assert name in BAD
        return
    for number, (_, size, _) in enumerate(frame.index):
        begin, length = frame.record(number)
        record, out, expected = data[begin : begin + length], bytearray(size), bytearray(size)
        try:
            frame.decode(number, memoryview(record), memoryview(expected))
            native = record[1] in (0, 3)
        except DcpxError:
            native = False
        assert kernels.decode_chunks([(record, out, number, *frame.seal(number))]) == ([] if native else [0])
        assert not native or out == expected


@BOTH
@pytest.mark.parametrize("name", STREAMS)
def test_zstandard_streams(name: str, seekable: bool):
    entry = INDEX[name]
    with dcpx.ZStandard().transform_from(source(name, seekable)) as reader:
        if "error" not in entry:
            assert_content(reader.read(), entry)
            return
        with pytest.raises(ERRORS[entry["error"]]) as caught:
            reader.read()
    assert type(caught.value) is ERRORS[entry["error"]]


@BOTH
@pytest.mark.parametrize("name", ITEMS)
def test_items(name: str, seekable: bool):
    entry, stream = INDEX[name], source(name, seekable)

    def read() -> bytes:
        opened = stream
        for extension in reversed(dcpx.ExtensionRegistry().from_descriptor_list(entry["descriptors"])):
            opened = extension.transform_from(opened)  # type: ignore[attr-defined]
        return b"".join(iter(lambda: opened.read(1000), b""))

    if "error" not in entry:
        assert_content(read(), entry)
        return
    with pytest.raises((ERRORS[entry["error"]], dcpx.ExtensionError)):
        read()
