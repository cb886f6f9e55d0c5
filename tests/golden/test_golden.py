"""What any version of torch and dcpx wrote is read by all that came later."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.metadata import TensorProperties

import dcpx
from tests.golden import values

ARCHIVES = sorted(path.stem for path in Path(__file__).parent.glob("*.zip"))
every_checkpoint = pytest.mark.parametrize("kind", ["stock", "dcpx"])
every_archive = pytest.mark.parametrize("archive", ARCHIVES)


@pytest.fixture
def checkpoint(archive: str, kind: str, tmp_path: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name(f"{archive}.zip")) as packed:
        packed.extractall(tmp_path)
    return tmp_path / kind


def assert_same(found: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
    assert found.contiguous().flatten().view(torch.uint8).equal(expected.contiguous().flatten().view(torch.uint8)), name


def test_there_are_archives_of_every_torch():
    torches = {name.rpartition("-")[2] for name in ARCHIVES}
    assert torches >= {"2.7.1", "2.9.1", "2.13.0", "2.14.1", "2.15.0"}


@every_archive
@every_checkpoint
def test_loads(checkpoint: Path):
    state = values.blank()
    dcpx.load(state, checkpoint)
    for name, expected in (values.sharded() | values.tensors()).items():
        assert_same(state[name], expected, name)
    assert {name: state[name] for name in values.objects()} == values.objects()


@every_archive
@every_checkpoint
def test_verifies(checkpoint: Path):
    report = dcpx.verify(checkpoint)
    assert report.ok, report
    chunks, parts = 2 * len(values.sharded()), 2  # parts of `nested`: nothing is stored of an empty dictionary
    assert len(report.whole) == chunks + len(values.tensors()) + len(values.objects()) - 1 + parts
    assert report.sealed == (checkpoint.name == "dcpx")


@every_archive
@every_checkpoint
def test_chunks(checkpoint: Path):
    metadata = dcpx.Reader(checkpoint).read_metadata()
    first, second = (metadata.state_dict_metadata[name].chunks for name in values.sharded())
    assert [tuple(chunk.sizes) for chunk in first] == [(4, 6), (3, 6)]
    assert [tuple(chunk.sizes) for chunk in second] == [(5, 4), (5, 3)]


@every_archive
@every_checkpoint
def test_strides(checkpoint: Path, archive: str):
    """As torch 2.15 writes them, on a torch that knows of them."""
    metadata = dcpx.Reader(checkpoint).read_metadata()
    properties = vars(metadata.state_dict_metadata["transposed"].properties)
    assert ("strides" in properties) == ("strides" in TensorProperties.__dataclass_fields__)
    if "strides" in properties:
        written = tuple(map(int, archive.rpartition("-")[2].split("."))) >= (2, 15)
        assert properties["strides"] == ((1, 6) if written else None)
