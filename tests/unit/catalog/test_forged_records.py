"""Metadata that nobody writes: plain records and DCP's classes must not part there, nor cost more than they weigh."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, TensorStorageMetadata

import dcpx
from dcpx import CorruptError, LimitError, NotFoundError
from dcpx.catalog.metadata import load_metadata
from dcpx.catalog.plain import PLAIN
from dcpx.catalog.records import Classes
from dcpx.dcp.metadata import DCP

EVERY = pytest.mark.parametrize("classes", [PLAIN, DCP], ids=["plain", "dcp"])


def saved(path: Path) -> Metadata:
    """The metadata of a checkpoint of one tensor."""
    dcpx.save({"w": torch.ones(4)}, path)
    metadata: Metadata = pickle.loads((path / ".metadata").read_bytes())
    return metadata


@EVERY
def test_without_places(classes: Classes[Any], tmp_path: Path):
    metadata = saved(tmp_path)
    del metadata.__dict__["storage_data"]
    data = pickle.dumps(metadata)
    with pytest.raises(CorruptError, match="which items there are"):
        load_metadata(data, classes)
    (tmp_path / ".metadata").write_bytes(data)
    assert dcpx.verify(tmp_path).verdict == "damaged"
    (tmp_path / "__0.metadata").write_bytes(data)  # whose files nobody knows
    dcpx.save({"w": torch.zeros(4)}, tmp_path, overwrite=True)
    dcpx.save({"w": torch.ones(4)}, tmp_path, overwrite=True)


class Twice:
    """A layout that is named by a layout."""

    def __reduce__(self) -> Any:
        return torch.serialization._get_layout, (torch.strided,)


@EVERY
def test_a_layout_of_a_layout(classes: Classes[Any], tmp_path: Path):
    metadata = saved(tmp_path)
    metadata.state_dict_metadata["w"].properties.layout = Twice()
    with pytest.raises(dcpx.UnsupportedError, match="layout"):
        load_metadata(pickle.dumps(metadata), classes)


@EVERY
def test_one_record_under_many_names(classes: Classes[Any], tmp_path: Path):
    metadata = saved(tmp_path)
    properties = metadata.state_dict_metadata["w"].properties
    chunks = [ChunkStorageMetadata(torch.Size([number]), torch.Size([1])) for number in range(400)]
    one = TensorStorageMetadata(properties, torch.Size([400]), chunks)
    metadata.state_dict_metadata.update((f"n{number}", one) for number in range(400))
    with pytest.raises(LimitError, match="again and again"):
        load_metadata(pickle.dumps(metadata), classes)


@EVERY
def test_metadata_within_metadata(classes: Classes[Any], tmp_path: Path):
    """Each would be given a copy of all its fields, however many there are."""
    metadata = saved(tmp_path)
    fields = vars(metadata) | {f"field_{number}": None for number in range(2000)}
    copies = [Metadata({}) for _ in range(2000)]
    for copy in copies:
        copy.__dict__ = fields
    metadata.planner_data = copies
    data = pickle.dumps(metadata)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match="metadata within metadata"):
            load_metadata(data, classes)
        assert tracemalloc.get_traced_memory()[1] < 64 * len(data)
    finally:
        tracemalloc.stop()


@EVERY
@pytest.mark.parametrize("rest", [[], [0]], ids=["many", "none"])
def test_a_tensor_of_all_dimensions(rest: list[int], classes: Classes[Any], tmp_path: Path):
    metadata = saved(tmp_path)
    size = torch.Size([1 << 62] * (254 - len(rest)) + rest)
    metadata.state_dict_metadata["x"] = TensorStorageMetadata(metadata.state_dict_metadata["w"].properties, size, [])
    if rest:
        load_metadata(pickle.dumps(metadata), classes)
    else:
        with pytest.raises(CorruptError, match="too large"):
            load_metadata(pickle.dumps(metadata), classes)


def test_beneath_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFoundError):
        dcpx.verify(tmp_path / "file" / "sub")
    with pytest.raises(NotFoundError):
        dcpx.load({"w": torch.ones(4)}, tmp_path / "file" / "sub")


@pytest.mark.parametrize("path", [b"bytes", "a\0b"])
def test_no_path(path: Any):
    for use in (lambda: dcpx.verify(path), lambda: dcpx.load({}, path), lambda: dcpx.save({}, path)):
        with pytest.raises(ValueError, match="no path"):
            use()
