"""verify: what is whole is said to be, every damage is named with its place, and what is left can be loaded."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint._extension import ZStandard as TorchZStandard

import dcpx
from dcpx import Limits, NotFoundError
from dcpx.progress import Progress
from dcpx.store.contract import ObjectReader
from dcpx.store.local import LocalStore
from tests.support.files import flip, manifest_file, seal, stored
from tests.support.leaks import nothing_left
from tests.support.tensors import bits, blank, weights
from tests.support.versions import rank_local

TENSORS: dict[str, torch.Tensor] = {
    **{f"small {number}": torch.full((50,), float(number)) for number in range(100)},
    "middle": weights(torch.float32, (300, 200), 1),
    "large": weights(torch.bfloat16, (1700, 2001), 2),
    "conjugated": weights(torch.complex64, (50, 60), 4).conj(),
    "empty": torch.zeros(0, 3),
}
STATE: dict[str, Any] = TENSORS | {"object": ("a", 1)}
WRITERS: dict[str, Callable[[Path], Any]] = {
    "pack": lambda path: dcpx.Writer(path, sync_files=False),
    "zstd": lambda path: dcpx.Writer(path, pack=dcpx.ZStandard(), sync_files=False),
    "chain": lambda path: dcpx.Writer(path, pack=dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()), sync_files=False),
    "plain": lambda path: dcpx.Writer(path, pack=None, sync_files=False),
    "stock": lambda path: FileSystemWriter(path, sync_files=False),
    "stock, zstd": lambda path: FileSystemWriter(path, _extensions=[TorchZStandard()], sync_files=False),
    "stock, pack": lambda path: FileSystemWriter(path, _extensions=[dcpx.Pack()], sync_files=False),
}
every_writer = pytest.mark.parametrize("writer", WRITERS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("saved")
    for name, make in WRITERS.items():
        dcp.save(STATE, storage_writer=make(root / name))
    return root


@pytest.fixture
def checkpoint(saved: Path, writer: str, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved / writer, tmp_path / "copy"))


def verify(path: Path, **options: Any) -> dcpx.Report:
    with nothing_left():
        return dcpx.verify(path, **options)


@every_writer
@pytest.mark.parametrize("options", [{}, {"threads": 0}, {"threads": 1, "budget": 1}, {"threads": 3}], ids=str)
def test_a_whole_checkpoint(writer: str, options: dict[str, Any], saved: Path):
    told: list[Progress] = []
    report = verify(saved / writer, progress=told.append, **options)
    assert (report.ok, report.problems, report.lost, report.unchecked) == (True, [], [], [])
    assert report.sealed is not writer.startswith("stock")
    assert set(report.whole) == set(STATE)
    assert report.nbytes == sum(file.stat().st_size for file in (saved / writer).glob("*.distcp"))
    assert report.files == len(list((saved / writer).glob("*.distcp")))
    assert told[-1] == Progress(report.nbytes, report.nbytes, len(STATE), len(STATE))
    assert "is whole" in str(report)
    assert ("unverified" in str(report)) is not report.sealed


@every_writer
@pytest.mark.parametrize("name", ["small 0", "small 70", "middle", "large", "conjugated", "object"])
def test_damage_is_named(name: str, writer: str, checkpoint: Path):
    info = stored(checkpoint)[name]
    # In the middle: a stock container's first and last bytes are covered by no CRC32.
    at = info.offset + info.length // 2
    flip(checkpoint / info.relative_path, at)
    report = verify(checkpoint)
    assert (report.ok, report.lost) == (False, [name])
    assert set(report.whole) == set(STATE) - {name}
    (problem,) = report.problems
    assert (problem.file, problem.item) == (info.relative_path, name)
    assert problem.begin is not None
    assert problem.end is not None
    assert info.offset <= problem.begin <= at < problem.end <= info.offset + info.length
    if "pack" in writer and name == "large":
        assert problem.chunk is not None
        assert problem.end - problem.begin < info.length / 5
    assert name in str(problem)
    assert "is damaged" in str(report)
    loaded = {item: blank(TENSORS[item]) for item in report.whole if item in TENSORS}
    dcpx.load(loaded, checkpoint)
    assert all(bits(loaded[item]) == bits(TENSORS[item]) for item in loaded)


@pytest.mark.parametrize("writer", ["pack"])
def test_all_damage_is_found(writer: str, checkpoint: Path):
    infos = stored(checkpoint)
    damaged = [f"small {number}" for number in range(0, 100, 7)] + ["large", "object"]
    for name in damaged:
        flip(checkpoint / infos[name].relative_path, infos[name].offset + random.Random(name).randrange(1, 100))
    flip(checkpoint / infos["large"].relative_path, infos["large"].offset + infos["large"].length - 100_000)
    report = verify(checkpoint)
    assert set(report.lost) == set(damaged)
    assert {problem.item for problem in report.problems} == set(damaged)


@every_writer
@pytest.mark.parametrize("damage", ["missing", "cut", "goes on", "empty"])
def test_a_file_of_another_size(damage: str, writer: str, checkpoint: Path):
    infos = stored(checkpoint)
    file = infos["object"].relative_path
    here = {name for name, info in infos.items() if info.relative_path == file}
    size = (checkpoint / file).stat().st_size
    match damage:
        case "missing":
            (checkpoint / file).unlink()
        case "goes on":
            (checkpoint / file).open("ab").write(b"more")
        case "cut":
            os.truncate(checkpoint / file, size - 1)
        case "empty":
            os.truncate(checkpoint / file, 0)
    report = verify(checkpoint)
    if damage == "goes on":
        assert (report.ok, report.lost) == (writer.startswith("stock"), [])
        return
    assert not report.ok
    assert {problem.file for problem in report.problems} == {file}
    if damage == "cut":
        last = max(here, key=lambda name: infos[name].offset + infos[name].length)
        assert report.lost == [last]
    else:
        assert set(report.lost) == here
    if damage == "missing":
        (problem,) = report.problems
        assert isinstance(problem.error, dcpx.MissingFileError)
        assert isinstance(problem.error, FileNotFoundError)
        assert report.verdict == "damaged"


@pytest.mark.parametrize("writer", ["pack", "plain"])
def test_the_manifest(writer: str, checkpoint: Path):
    manifest = manifest_file(checkpoint)
    flip(manifest, 100)
    report = verify(checkpoint)
    assert (report.ok, report.sealed, report.lost) == (False, False, [])
    assert [problem.file for problem in report.problems] == [manifest.name]
    manifest.unlink()
    report = verify(checkpoint)
    assert (report.ok, report.sealed, report.lost) == (False, False, [])
    assert "missing" in str(report)


@pytest.mark.parametrize("writer", ["pack", "stock"])
def test_the_metadata(writer: str, checkpoint: Path):
    flip(checkpoint / ".metadata", 5)
    report = verify(checkpoint)
    assert (report.ok, report.sealed, report.whole) == (False, False, [])
    assert [problem.file for problem in report.problems] == [".metadata"]


@pytest.mark.parametrize("writer", ["pack"])
def test_a_file_whose_hash_alone_is_wrong(writer: str, checkpoint: Path):
    manifest = manifest_file(checkpoint)
    members = json.loads(manifest.read_bytes())
    del members["checksum"]
    members["files"][0]["xxh3_128"] = "0" * 32
    manifest.write_bytes(seal(members))
    report = verify(checkpoint)
    assert (report.ok, report.sealed, report.lost) == (False, True, [])
    (problem,) = report.problems
    assert (problem.file, problem.item, problem.begin) == (members["files"][0]["name"], None, None)
    assert "hash" in str(problem)


@pytest.mark.parametrize("writer", ["pack", "zstd", "chain", "plain"])
@pytest.mark.parametrize("name", ["large", "object"])
def test_a_seal_of_the_other_kind(name: str, writer: str, checkpoint: Path):
    """Nothing of the item would be held against it: it is refused, whatever its value."""
    manifest = manifest_file(checkpoint)
    members = json.loads(manifest.read_bytes())
    del members["checksum"]
    (item,) = (item for item in members["items"] if item["fqn"] == name)
    if writer == "pack":
        item["stored"] = item.pop("header") * 2
    else:
        item["header"] = item.pop("stored")[:16]
    manifest.write_bytes(seal(members))
    report = verify(checkpoint)
    assert (report.ok, report.verdict) == (False, "damaged")
    (problem,) = report.problems
    assert problem.error.where.item == name
    with pytest.raises(dcpx.CorruptError, match="another form"):
        dcpx.load({"small 0": blank(TENSORS["small 0"])}, checkpoint)


def test_a_chain_of_pack_alone_is_sealed_as_a_chain(tmp_path: Path):
    dcpx.save(STATE, tmp_path / "c", pack=dcpx.Chain(dcpx.Pack()), sync=False)
    assert verify(tmp_path / "c").ok
    members = json.loads(manifest_file(tmp_path / "c").read_bytes())
    assert all("stored" in item for item in members["items"])


def test_a_small_thing_that_unfolds(tmp_path: Path):
    dcpx.save({"zeros": bytearray(100 << 20), "x": torch.ones(3)}, tmp_path / "c", sync=False)
    report = verify(tmp_path / "c", limits=Limits(object_size=50 << 20))
    assert (report.verdict, report.lost, report.refused, report.whole) == ("unknown", [], ["zeros"], ["x"])
    dcpx.save({"zeros": bytearray(100 << 20)}, tmp_path / "z", pack=dcpx.ZStandard(), sync=False)
    report = verify(tmp_path / "z", limits=Limits(object_size=50 << 20))
    assert (report.verdict, report.lost, report.refused) == ("unknown", [], ["zeros"])
    assert isinstance(report.refusals[0].error, dcpx.LimitError)


def test_archives_without_checksums(tmp_path: Path):
    """torch can be told to leave out what it doesn't look at anyway."""
    torch.serialization.set_crc32_options(False)
    try:
        dcp.save({"x": torch.ones(300)}, storage_writer=FileSystemWriter(tmp_path / "c"))
    finally:
        torch.serialization.set_crc32_options(True)
    report = verify(tmp_path / "c")
    assert (report.ok, report.sealed, report.whole, report.unchecked) == (True, False, ["x"], ["x"])
    assert "without a checksum: 'x'" in str(report)


def test_leftovers_are_named(tmp_path: Path):
    dcpx.save(STATE, tmp_path, sync=False)
    dead = f"{uuid4()}__0_0.distcp"
    (tmp_path / dead).write_bytes(b"of a save that never ended")
    report = verify(tmp_path)
    assert (report.ok, report.leftovers) == (True, [dead])
    assert dead in str(report)


@rank_local
def test_ranks_by_themselves(tmp_path: Path):
    dcp.save(STATE, storage_writer=dcpx.Writer(tmp_path / "c"), use_collectives=False)
    report = verify(tmp_path / "c")
    assert (report.ok, report.sealed, set(report.whole)) == (True, True, set(STATE))


def test_no_checkpoint(tmp_path: Path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotFoundError):
            dcpx.verify(path)
    with pytest.raises(ValueError, match="nonsense"):
        dcpx.verify("nonsense://bucket/checkpoint")
    with pytest.raises(ValueError, match="threads"):
        dcpx.verify(tmp_path, threads=-1)


def test_each_byte_is_read_once(saved: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved / "pack"
    read = 0
    before = LocalStore.open

    def opened(store: LocalStore, name: str) -> ObjectReader:
        reader = before(store, name)
        into = reader.read_into

        def counting(offset: int, buffer: memoryview) -> int:
            nonlocal read
            done = into(offset, buffer)
            read += done
            return done

        monkeypatch.setattr(reader, "read_into", counting)
        return reader

    monkeypatch.setattr(LocalStore, "open", opened)
    report = dcpx.verify(path)
    assert report.ok
    assert report.nbytes <= read < 1.1 * report.nbytes
