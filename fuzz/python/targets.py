"""What is fuzzed: one function for each parser. It returns, or raises a DcpxError; anything else is a bug.

A new one takes its seeds, whatever the parser takes, and needs no other mention:

    @target(seeds)
    def name(data: bytes) -> None:
        parse(data)
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import MetadataIndex

import dcpx
from dcpx import DcpxError, LoadError, kernels
from dcpx.catalog.items import StoredItem
from dcpx.catalog.manifest import TAIL_SIZE, parse_manifest
from dcpx.dcp.metadata import load_metadata
from dcpx.frame import layout
from dcpx.frame.map import read_final
from dcpx.loading.containers import fill_from_container
from dcpx.loading.objects import checked_bytes
from dcpx.located import reading
from dcpx.pickles.archive import PICKLE, open_archive
from dcpx.pickles.constants import STORAGES
from dcpx.pickles.names import python3_name
from dcpx.pickles.objects import KNOWN, known_name
from dcpx.pickles.torch_calls import CALLS
from dcpx.pickles.trust import Trust

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/fault")]

from containers import saved, with_pickle  # noqa: E402
from hostile_containers import BAD, GOOD  # noqa: E402
from test_object_bombs import BOMBS as OBJECT_BOMBS  # noqa: E402
from test_tensor_containers import KINDS  # noqa: E402
from tests.support.metadata_files import small  # noqa: E402
from tests.unit.loading.test_objects import OBJECTS  # noqa: E402

MAX_LENGTH = 8192
"""Bytes of an input, and of a seed."""


class Target(NamedTuple):
    """A parser: `seeds` are inputs to begin with, `words` what inputs consist of."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...]


TARGETS: dict[str, Target] = {}


def target(
    seeds: Callable[[], Iterable[bytes]], words: Iterable[bytes] = ()
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Make a function a target of its name."""

    def add(run: Callable[[bytes], object]) -> Callable[[bytes], object]:
        TARGETS[run.__name__] = Target(run, seeds, tuple(words))
        return run

    return add


@contextmanager
def broken(kind: type[DcpxError]) -> Iterator[None]:
    """Such an error is none that the parser may end in."""
    try:
        yield
    except kind as error:
        raise AssertionError(str(error)) from error


# --- frames -----------------------------------------------------------------------------------------------------------


def frames() -> Iterator[bytes]:
    for path in sorted((ROOT / "spec/vectors").glob("*.frame")):
        yield path.read_bytes()


def sealed(data: bytes, seed: int = 0) -> bytes:
    """With the checksum that it needs, past which no other input would come."""
    return data + struct.pack("<Q", kernels.xxh3(data, seed))


def headers() -> Iterator[bytes]:
    for frame in frames():
        if len(frame) >= layout.PREFIX_SIZE:
            yield frame[: struct.unpack_from("<I", frame, 12)[0] - layout.CHECKSUM_SIZE]


HEADER = layout.parse_header(layout.pack_header(layout.Header(1 << 20, (0, 1, 2, 3, 4))))


@target(headers, [layout.MAGIC])
def frame_header(data: bytes) -> None:
    """A header without its checksum; what it says of its own size is put right."""
    if len(data) >= layout.PREFIX_SIZE:
        data = data[:12] + struct.pack("<I", len(data) + layout.CHECKSUM_SIZE) + data[16:]
    found = layout.parse_header(sealed(data))
    again = layout.parse_header(layout.pack_header(found))
    assert again._replace(size=found.size, checksum=found.checksum) == found


def chunk_headers() -> Iterator[bytes]:
    for codec in range(5):
        for stored, raw in ((1, 1), (70_000, 1 << 20), (0, 5), (1 << 20, 1), (1, (1 << 20) + 1)):
            yield layout.pack_chunk_header(layout.ChunkHeader(codec, 7, 3, stored, raw, b""), HEADER, 5)


@target(chunk_headers)
def chunk_header(data: bytes) -> None:
    found = layout.parse_chunk_header(data[: layout.CHUNK_HEADER_SIZE], HEADER, 3, 100)
    assert layout.pack_chunk_header(found, HEADER, 5)[:-8] == data[: layout.CHUNK_HEADER_SIZE][:-8]


def finals() -> Iterator[bytes]:
    for index in ([], [(1, 1, 2)], [(70_000, 1 << 20, 5), (1 << 20, 1 << 20, 6), (3, 9, 7)], [(5, 4, 1)], [(0, 0, 0)]):
        yield layout.pack_final(index, HEADER)[: -layout.CHECKSUM_SIZE]


@target(finals, [layout.FOOTER_MAGIC])
def final_record(data: bytes) -> None:
    """A final record without its checksum; its digest and its place are put right."""
    entries = data[32 : -layout.FOOTER_SIZE + layout.CHECKSUM_SIZE]
    index: list[layout.Entry] = list(struct.iter_unpack("<IIQ", entries[: len(entries) // 16 * 16]))
    if len(data) >= 32:
        data = data[:16] + layout.content_digest(index) + data[32:]
    final = sealed(data, HEADER.checksum)
    begins = HEADER.size + sum(stored + layout.CHUNK_HEADER_SIZE for stored, _, _ in index)
    begins = min(begins, 1 << 24)

    def read_at(offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= begins + len(final)
        before = bytes(min(max(begins - offset, 0), size))  # chunks
        return before + final[max(offset - begins, 0) : offset - begins + size]

    found = read_final(read_at, HEADER, begins + len(final))
    assert found.entries == index
    assert layout.pack_final(index, HEADER) == final


# --- the manifest -----------------------------------------------------------------------------------------------------


def manifests() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as path, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcpx.save({"a": torch.zeros(2, 3), "b": {"c": 1}}, Path(path) / "c", user={"step": 1, "loss": [0.5, None]})
        (file,) = Path(path).glob("c/*.manifest.json")
        yield file.read_bytes()[:-TAIL_SIZE]


@target(manifests, [b'"header":"', b'"stored":"', b'"offsets":[', b'"xxh3_128":"', b'"size":', b"\\ud800", b"1e9"])
def manifest(data: bytes) -> None:
    """A manifest without its checksum."""
    checksum = kernels.xxh3_128(data)[::-1].hex()
    found = parse_manifest(data + f',"checksum":"{checksum}"}}\n'.encode())
    assert parse_manifest(found.pack()) == found


# --- pickles ----------------------------------------------------------------------------------------------------------


WORDS = tuple(
    bytes([opcode]) for opcode in b"(.KJMGNRbcehijlqrstuaQX]})\x80\x81\x85\x86\x87\x88\x89\x8a\x8f\x93\x94\x95"
)
"""A pickle's opcodes."""


def metadata_files() -> Iterator[bytes]:
    for protocol in range(2, 6):
        yield pickle.dumps(small(), protocol)
    for state in ({"a": torch.zeros(2, 3), "b": {"c": 1}}, {}):
        with tempfile.TemporaryDirectory() as path, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp.save(state, storage_writer=dcp.FileSystemWriter(path), no_dist=True)
            yield (Path(path) / ".metadata").read_bytes()


@target(metadata_files, [*WORDS, *re.findall(rb"(?<=c)[a-z_.]+\n[A-Za-z_.]+\n", pickle.dumps(small(), 2))])
def metadata(data: bytes) -> None:
    found = load_metadata(data)
    assert load_metadata(pickle.dumps(found)) == found


def contained(data: bytes) -> bytes:
    """A container: the input where it looks like one, otherwise a sound one whose pickle is the input."""
    return data if data.startswith(b"PK") else with_pickle(data, bytes(16), bytes(16), bytes(32))


def with_pickles(containers: Iterable[bytes]) -> Iterator[bytes]:
    """Containers and, apart, their pickles."""
    for container in containers:
        yield container
        with suppress(DcpxError):
            yield open_archive(io.BytesIO(container)).read(PICKLE, MAX_LENGTH)


def objects_saved() -> Iterator[bytes]:
    return with_pickles([*map(saved, OBJECTS.values()), *OBJECT_BOMBS.values()])


def tensors_saved() -> Iterator[bytes]:
    small_ones = (
        torch.zeros(4),
        torch.zeros(2, 2).t(),
        torch.zeros(4).to(torch.float8_e5m2),
        KINDS["quantized by channel"],
    )
    made = [make() for make in BAD.values()]
    return with_pickles([*map(saved, small_ones), *map(saved, KINDS.values()), *GOOD.values(), *made])


@target(lambda: map(saved, KINDS.values()), [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7"])
def archive(data: bytes) -> None:
    """What is taken for an archive is read as torch's own reader reads it, which may still refuse it."""
    found = open_archive(io.BytesIO(data))
    try:
        reader = torch._C.PyTorchFileReader(io.BytesIO(data))
    except (RuntimeError, UnicodeDecodeError):  # the version isn't one
        return
    assert set(reader.get_all_records()) == found.records.keys()
    for name in found.records:
        assert reader.get_record(name) == found.read(name, len(data))


NAMES = [name.replace(".", "\n").encode() for name in (*CALLS, *STORAGES, *KNOWN)]


@target(objects_saved, [*WORDS, *NAMES])
def objects(data: bytes) -> None:
    """What is handed on names only what is allowed, and is accepted again."""
    checked = checked_bytes(contained(data))
    names = {
        python3_name(*text.split(" ", 1))
        for opcode, text, _ in pickletools.genops(open_archive(io.BytesIO(checked)).read(PICKLE, len(checked)))
        if opcode.name == "GLOBAL"
    }
    assert all(known_name(name) for name in names - {"zoneinfo.ZoneInfo"})
    with broken(DcpxError):
        checked_bytes(checked)


class Elements:
    """Reads all elements of what was loaded, in the place of a tensor that they are copied to."""

    tensor = torch.zeros(4)

    def fill_from(self, loaded: torch.Tensor) -> int:
        return loaded.clone().nbytes


@target(tensors_saved, [*WORDS, *NAMES])
def tensors(data: bytes) -> None:
    data = contained(data)
    info = _StorageInfo("file", 0, len(data))
    item = StoredItem(info, MetadataIndex("x"), None, (4,), "float32")
    with broken(LoadError), reading("file", "x"):
        fill_from_container(io.BytesIO(data), item, dcpx.default_registry(), [cast(Any, Elements())], Trust())
