"""Chunks and items that are appended, doubled, dropped, reordered or taken from elsewhere: refused, or what was saved.

With the manifest as it was, and with one that was made to fit: then the frames alone have to notice.
"""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.support.files import data_file, reseal
from tests.support.tensors import bits, blank, weights

import dcpx
from dcpx import DcpxError
from dcpx.frame import open_frame
from dcpx.frame.layout import header_size
from dcpx.frame.map import FrameMap, read_final

CHUNK = 4096
NAMES = ("a", "b", "c")


def state(step: int) -> dict[str, Any]:
    """Items of one shape and dtype each, so that chunks fit everywhere."""
    return {name: weights(torch.float32, (60, 100), 10 * step + number) for number, name in enumerate(NAMES)} | {
        "object": bytes([step]) * 10_000
    }


PACKS: dict[str, Callable[[], dcpx.Pack]] = {
    "raw": lambda: dcpx.Pack("raw", chunk_size=CHUNK),  # all records of one size
    "auto": lambda: dcpx.Pack(chunk_size=CHUNK),
}


class Parts(NamedTuple):
    """A frame in its parts."""

    header: bytes
    records: list[bytes]
    final: bytes

    def join(self) -> bytes:
        return b"".join((self.header, *self.records, self.final))


def parts_of(frame: bytes) -> Parts:
    with open_frame(io.BytesIO(frame)) as reader:
        header = reader.header
    final = read_final(lambda offset, size: frame[offset : offset + size], header, len(frame))
    found = FrameMap(header, final)
    places = [found.record(number) for number in range(len(found.index))]
    end = sum(places[-1])
    return Parts(frame[: header_size(frame)], [frame[at : at + size] for at, size in places], frame[end:])


def frames_of(path: Path) -> dict[str, bytes]:
    data = data_file(path).read_bytes()
    stored = pickle.loads((path / ".metadata").read_bytes()).storage_data
    return {index.fqn: data[info.offset : info.offset + info.length] for index, info in stored.items()}


def put(path: Path, frames: dict[str, bytes]) -> None:
    """Store these frames as the items of these names, in the file's order."""
    metadata = pickle.loads((path / ".metadata").read_bytes())
    data = b""
    for index, info in sorted(metadata.storage_data.items(), key=lambda item: item[1].offset):
        info.offset, info.length = len(data), len(frames[index.fqn])
        data += frames[index.fqn]
    data_file(path).write_bytes(data)
    (path / ".metadata").write_bytes(pickle.dumps(metadata))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spliced")
    for pack, make in PACKS.items():
        for step in (1, 2):
            dcpx.save(state(step), root / pack / str(step), pack=make(), threads=1, sync=False)
    return root


def outcome(path: Path, name: str) -> DcpxError | None:
    """The error of loading one item; what is loaded must be what was saved."""
    expected = state(1)[name]
    loaded = {name: blank(expected) if isinstance(expected, torch.Tensor) else None}
    try:
        dcpx.load(loaded, path)
    except DcpxError as error:
        return error
    same = bits(loaded[name]) == bits(expected) if isinstance(expected, torch.Tensor) else loaded[name] == expected
    assert same, f"{name} came back wrong in silence"
    return None


def swapped(records: list[bytes], one: int, other: int) -> list[bytes]:
    found = list(records)
    found[one], found[other] = found[other], found[one]
    return found


Change = Callable[[Parts, Parts, Parts], Parts]
# Of the item, of another item of the same checkpoint, and of the same item of another checkpoint.
CHANGES: dict[str, Change] = {
    "two chunks swapped": lambda a, b, c: a._replace(records=swapped(a.records, 1, 2)),
    "first and last swapped": lambda a, b, c: a._replace(records=swapped(a.records, 0, -1)),
    "the last two swapped": lambda a, b, c: a._replace(records=swapped(a.records, -2, -3)),
    "a chunk twice": lambda a, b, c: a._replace(records=[*a.records[:2], *a.records[1:]]),
    "a chunk in the place of another": lambda a, b, c: a._replace(
        records=[*a.records[:2], a.records[1], *a.records[3:]]
    ),
    "a chunk dropped": lambda a, b, c: a._replace(records=a.records[:1] + a.records[2:]),
    "the first chunk dropped": lambda a, b, c: a._replace(records=a.records[1:]),
    "the last chunk dropped": lambda a, b, c: a._replace(records=a.records[:-1]),
    "all chunks dropped": lambda a, b, c: a._replace(records=[]),
    "a chunk appended": lambda a, b, c: a._replace(records=[*a.records, a.records[1]]),
    "a chunk of another item": lambda a, b, c: a._replace(records=[a.records[0], b.records[1], *a.records[2:]]),
    "all chunks of another item": lambda a, b, c: a._replace(records=b.records),
    "the end of another item": lambda a, b, c: a._replace(final=b.final),
    "chunks and end of another item": lambda a, b, c: a._replace(records=b.records, final=b.final),
    "the header of another item": lambda a, b, c: a._replace(header=b.header),
    "another item": lambda a, b, c: b,
    "a chunk of another checkpoint": lambda a, b, c: a._replace(records=[a.records[0], c.records[1], *a.records[2:]]),
    "all chunks of another checkpoint": lambda a, b, c: a._replace(records=c.records),
    "chunks and end of another checkpoint": lambda a, b, c: a._replace(records=c.records, final=c.final),
    "the same item of another checkpoint": lambda a, b, c: c,
    "the end twice": lambda a, b, c: a._replace(final=a.final + a.final),
    "the header twice": lambda a, b, c: a._replace(header=a.header + a.header),
    "the whole twice": lambda a, b, c: a._replace(final=a.final + a.join()),
    "bytes behind it": lambda a, b, c: a._replace(final=a.final + b"more"),
    "bytes before it": lambda a, b, c: a._replace(header=b"more" + a.header),
    "no end": lambda a, b, c: a._replace(final=b""),
    "nothing": lambda a, b, c: Parts(b"", [], b""),
}


@pytest.mark.parametrize("fits", [False, True], ids=["manifest as it was", "manifest to fit"])
@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_spliced_item(change: str, pack: str, fits: bool, saved: Path, tmp_path: Path):
    path = Path(shutil.copytree(saved / pack / "1", tmp_path / "c"))
    frames, others = frames_of(path), frames_of(saved / pack / "2")
    item, neighbour, older = (parts_of(frame) for frame in (frames["a"], frames["b"], others["a"]))
    changed = CHANGES[change](item, neighbour, older).join()
    assert changed != frames["a"]
    put(path, frames | {"a": changed})
    if fits:
        reseal(path)
    error = outcome(path, "a")
    assert error is not None, "it was taken for the item"
    if fits:
        assert error.where.item == "a"
        for name in state(1).keys() - {"a"}:
            assert outcome(path, name) is None
        failures = dcpx.load({name: blank(state(1)["a"]) for name in NAMES}, path, partial=True)
        assert failures.keys() == {"a"}


@pytest.mark.parametrize("pack", PACKS)
def test_items_reordered(pack: str, saved: Path, tmp_path: Path):
    """Which item lies where is the metadata's to say: with that unchanged, none is taken for another."""
    path = Path(shutil.copytree(saved / pack / "1", tmp_path / "c"))
    frames = frames_of(path)
    order = [name for name in frames if name != "object"]
    moved = {name: frames[other] for name, other in pairwise([*order, order[0]])}
    put(path, frames | moved)
    reseal(path)
    for name in order:
        assert outcome(path, name) is not None
    assert outcome(path, "object") is None


def test_the_data_of_another_step(saved: Path, tmp_path: Path):
    """The same layout to the byte, since raw: a file, a manifest, or a pointer that was restored from another save."""
    for names in (["*.distcp"], ["*.manifest.json"], [".metadata"], ["*.distcp", "*.manifest.json"]):
        path = Path(shutil.copytree(saved / "raw" / "1", tmp_path / "-".join(names).replace("*", "")))
        for pattern in names:
            (mine,), (other,) = path.glob(pattern), (saved / "raw" / "2").glob(pattern)
            shutil.copy(other, mine)
        for name in state(1):
            assert outcome(path, name) is not None
