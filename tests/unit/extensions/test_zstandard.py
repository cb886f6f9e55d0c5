"""ZStandard over every package that can bring it: what is a frame, what isn't, and torch's own extension."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest
import zstandard

from dcpx import CorruptError, TruncatedError, UnsupportedError, ZStandard, zstd
from tests.support.sinks import Kept

SMALL = b"the quick brown fox jumps over the lazy dog" + bytes(range(40))
LARGE = np.random.default_rng(0).integers(0, 16, (1 << 20) + 7, np.uint8).tobytes()  # several blocks
SKIPPABLE = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"extra"


def available() -> list[str]:
    found = []
    for name in zstd.BACKENDS:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        found.append(name)
    return found


@pytest.fixture(params=available())
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leaves only this package to be found."""
    monkeypatch.setattr(zstd, "BACKENDS", (request.param,))
    found = zstd.find_backend()
    assert found is not None
    assert found.name == request.param
    return found.name


def pack(content: bytes, extension: ZStandard | None = None) -> bytes:
    output = io.BytesIO()
    output.close = lambda: None  # type: ignore[method-assign]
    stream = (extension or ZStandard()).transform_to(output)
    stream.write(content)
    stream.close()
    return output.getvalue()


def unpack(stored: bytes) -> bytes:
    return ZStandard().transform_from(io.BytesIO(stored)).read(-1)


def read_pieces(stream: IO[bytes], size: int) -> bytes:
    return b"".join(iter(lambda: stream.read(size), b""))


def frame(content: bytes, **options: bool) -> bytes:
    """A frame of another writer's."""
    return zstandard.ZstdCompressor(**options).compress(content)


def test_every_backend_of_the_test_extra_is_here() -> None:
    assert {"zstandard", "backports.zstd", "pyzstd"} <= set(available())


def test_first_one_found_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "BACKENDS", ("dcpx_no_such_module", "pyzstd", "zstandard"))
    found = zstd.find_backend()
    assert found is not None
    assert found.name == "pyzstd"


def test_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "BACKENDS", ("dcpx_no_such_module",))
    assert not ZStandard.is_available()
    for make in (ZStandard, lambda: ZStandard.from_descriptor("1")):
        with pytest.raises(ValueError, match="pip install zstandard"):
            make()


# Content


@pytest.mark.parametrize("content", [b"", b"a", SMALL, bytes(5_000_000), LARGE], ids=len)
def test_content_of_any_backend_is_read_by_any_other(
    backend: str, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    stored = pack(content)
    for reader in available():
        monkeypatch.setattr(zstd, "BACKENDS", (reader,))
        assert unpack(stored) == content


@pytest.mark.parametrize("level", [-131072, -7, 1, 15])
@pytest.mark.parametrize("threads", [0, 2])
def test_options(backend: str, level: int, threads: int) -> None:
    extension = ZStandard(level, threads)
    assert (extension.level, extension.threads) == (level, threads)
    assert unpack(pack(LARGE[:100_000], extension)) == LARGE[:100_000]


def test_level_reaches_the_compressor(backend: str) -> None:
    assert len(pack(LARGE, ZStandard(-50))) > len(pack(LARGE, ZStandard(3)))


@pytest.mark.parametrize("options", [{"level": 23}, {"level": -131073}, {"threads": -1}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ZStandard(**options)


# What is a stream of frames


FRAMES = {
    "two frames": (frame(b"abc") + frame(b"def"), b"abcdef"),
    "empty frame between": (frame(b"abc") + frame(b"") + frame(b"def"), b"abcdef"),
    "skippable first": (SKIPPABLE + frame(b"abc"), b"abc"),
    "skippable between": (frame(b"abc") + SKIPPABLE + SKIPPABLE + frame(b"def"), b"abcdef"),
    "skippable last": (frame(b"abc") + SKIPPABLE, b"abc"),
    "empty skippable": (SKIPPABLE[:4] + bytes(4) + frame(b"abc"), b"abc"),
    "highest skippable": (b"\x5f" + SKIPPABLE[1:] + frame(b"abc"), b"abc"),
    "with and without checksum": (frame(b"abc", write_checksum=True) + frame(b"def"), b"abcdef"),
    "no content size": (frame(b"abc", write_content_size=False), b"abc"),
    "large, then small": (frame(LARGE) + frame(SMALL, write_checksum=True), LARGE + SMALL),
    "small, then large": (frame(SMALL) + SKIPPABLE + frame(LARGE), SMALL + LARGE),
    "zeros": (frame(bytes(1_000_000), write_checksum=True), bytes(1_000_000)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_read_in_every_way(backend: str, name: str) -> None:
    stored, content = FRAMES[name]
    assert unpack(stored) == content
    assert read_pieces(ZStandard().transform_from(io.BytesIO(stored)), 1 + len(content) // 7) == content


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\0", b"trailing garbage", frame(b"abc")[:3], SKIPPABLE[:6]])
@pytest.mark.parametrize("checksum", [True, False])
def test_bytes_after_the_last_frame(backend: str, tail: bytes, checksum: bool) -> None:
    with pytest.raises(CorruptError):
        unpack(frame(SMALL, write_checksum=checksum) + tail)


def test_foreign_bytes(backend: str) -> None:
    with pytest.raises(CorruptError, match="no Zstandard frame"):
        unpack(b"PK\3\4 is no frame")


# Damage


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("size", [-1, 10])
def test_truncated_at_every_byte(backend: str, checksum: bool, size: int) -> None:
    stored = frame(SMALL, write_checksum=checksum)
    for length in range(len(stored)):
        stream = ZStandard().transform_from(io.BytesIO(stored[:length]))
        with pytest.raises(TruncatedError):
            read_pieces(stream, size)


def test_truncated_after_a_whole_block(backend: str) -> None:
    for length in (1 << 10, 1 << 17, len(frame(LARGE)) - 1):
        with pytest.raises(TruncatedError):
            unpack(frame(LARGE)[:length])


@pytest.mark.parametrize("missing", [1, 2, 3, 4])
def test_missing_checksum(backend: str, missing: int) -> None:
    with pytest.raises(TruncatedError):
        unpack(pack(SMALL)[:-missing])


def test_every_bit_flip_is_noticed_or_harmless(backend: str) -> None:
    stored = pack(SMALL)
    noticed = 0
    for bit in range(len(stored) * 8):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            read = unpack(bytes(damaged))
        except CorruptError:
            noticed += 1
        else:
            assert read == SMALL, f"bit {bit} reads as other content"
    assert noticed > len(stored) * 8 * 0.9


def test_damage_keeps_raising(backend: str) -> None:
    damaged = bytearray(pack(LARGE))
    damaged[-20] ^= 1
    stream = ZStandard().transform_from(io.BytesIO(damaged))
    for _ in range(2):
        with pytest.raises(CorruptError):
            read_pieces(stream, 1 << 16)


def test_error_says_where(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "__0_0.distcp"
    path.write_bytes(pack(SMALL)[:20])
    with path.open("rb") as file, pytest.raises(TruncatedError) as caught:
        ZStandard().transform_from(file).read(-1)
    assert (caught.value.where.file, caught.value.where.offset) == (str(path), 20)


# Names


@pytest.mark.parametrize("version", ["1", "1.0", "1.7"])
def test_known_versions(version: str) -> None:
    assert isinstance(ZStandard.from_descriptor(version), ZStandard)


@pytest.mark.parametrize("version", ["", "2", "2.0", "0", "10", "11", "1.", "1.x", "1/1", "01", " 1", "1.0.0"])
def test_unknown_versions(version: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        ZStandard.from_descriptor(version)
    assert isinstance(caught.value, ValueError)
    assert repr(version) in str(caught.value)


def test_descriptor_is_torchs() -> None:
    assert ZStandard().get_descriptor() == ZStandard(19, 2).get_descriptor() == "stream.zstd/1"


# torch's own extension


def torchs(monkeypatch: pytest.MonkeyPatch, package: str) -> object:
    module = pytest.importorskip("torch.distributed.checkpoint._extension")
    if package == "pyzstd":
        monkeypatch.setattr(module, "zstandard", None)
    return module.ZStandard()


# torch's reader over pyzstd loses what follows the first 256 KiB of a well compressed frame, of its own frames too.
@pytest.mark.parametrize(
    ("package", "content"),
    [("zstandard", b"a"), ("zstandard", SMALL), ("zstandard", LARGE), ("pyzstd", b"a"), ("pyzstd", SMALL)],
)
def test_torch_reads_ours(backend: str, monkeypatch: pytest.MonkeyPatch, package: str, content: bytes) -> None:
    stream = torchs(monkeypatch, package).transform_from(io.BytesIO(pack(content)))  # type: ignore[attr-defined]
    assert read_pieces(stream, 1 << 16) == content


@pytest.mark.parametrize("package", ["zstandard", "pyzstd"])
@pytest.mark.parametrize("content", [b"", b"a", SMALL, LARGE], ids=len)
def test_ours_reads_torchs(backend: str, monkeypatch: pytest.MonkeyPatch, package: str, content: bytes) -> None:
    output = Kept()
    stream = torchs(monkeypatch, package).transform_to(cast(IO[bytes], output))  # type: ignore[attr-defined]
    stream.write(content)
    stream.close()
    assert unpack(output.getvalue()) == content
