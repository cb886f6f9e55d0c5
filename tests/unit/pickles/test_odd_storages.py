"""Views whose storage ends in a part of an element: torch counts whole elements, and stores all bytes."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader

import dcpx
from dcpx import CorruptError
from dcpx.loading.objects import checked_bytes
from dcpx.pickles.archive import PICKLE, open_archive
from dcpx.pickles.containers import check_container
from dcpx.pickles.torch_pickle import foresee

ODD = torch.arange(7, dtype=torch.float32)[:6].view(torch.complex64)
"""Three elements of eight bytes, in a storage of 28 bytes."""


def container(value: object) -> io.BytesIO:
    output = io.BytesIO()
    torch.save(value, output)
    return output


@pytest.mark.parametrize("pack", [None, dcpx.ZStandard(), dcpx.Pack()], ids=["none", "zstd", "pack"])
def test_saved_and_loaded(pack: dcpx.StreamTransformExtension | None, tmp_path: Path):
    dcpx.save({"tensor": ODD, "object": [ODD, "text"]}, tmp_path, pack=pack)
    found = {"tensor": torch.zeros_like(ODD), "object": [torch.zeros_like(ODD), ""]}
    dcpx.load(found, tmp_path)
    assert torch.equal(found["tensor"], ODD)
    assert torch.equal(found["object"][0], ODD)
    assert dcpx.verify(tmp_path).ok


def test_what_is_written_is_compact(tmp_path: Path):
    """So that every torch's own reader takes it."""
    dcpx.save({"tensor": ODD}, tmp_path, pack=None)
    (info,) = FileSystemReader(tmp_path).read_metadata().storage_data.values()
    stored = (tmp_path / info.relative_path).read_bytes()[info.offset : info.offset + info.length]
    assert open_archive(io.BytesIO(stored)).size("data/0") == ODD.nbytes


def test_stored_by_older_torch(tmp_path: Path):
    """Whose writer takes such a tensor for compact."""
    item = container(ODD).getvalue()
    assert open_archive(io.BytesIO(item)).size("data/0") == 28
    dcp.save({"tensor": ODD}, checkpoint_id=tmp_path)
    (file,) = tmp_path.glob("*.distcp")
    file.write_bytes(item)
    metadata = FileSystemReader(tmp_path).read_metadata()
    (info,) = metadata.storage_data.values()
    info.length = len(item)
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    found = {"tensor": torch.zeros_like(ODD)}
    dcpx.load(found, tmp_path)
    assert torch.equal(found["tensor"], ODD)
    assert dcpx.verify(tmp_path).ok


def test_in_an_object():
    found = torch.load(io.BytesIO(checked_bytes(container({"a": (ODD, {"b"})}).getvalue())), weights_only=False)
    assert torch.equal(found["a"][0], ODD)


def test_only_a_part_of_an_element():
    """A storage with a whole element more, or with one less, is another's."""
    data = container(torch.arange(6, dtype=torch.float32).view(torch.complex64)).getvalue()
    for count in (b"K\2t", b"K\4t"):
        forged = data.replace(b"K\3t", count)
        assert len(forged) == len(data)
        assert forged != data
        with pytest.raises(CorruptError):
            check_container(io.BytesIO(forged))


def test_what_the_pickle_uses():
    archive = open_archive(container(ODD))
    foresee(archive.read(PICKLE, 1 << 20), archive)
    assert archive.used == {"data/0": 24}
    archive = open_archive(container(ODD.clone()))
    foresee(archive.read(PICKLE, 1 << 20), archive)
    assert archive.used == {}
