"""What a reader may demand of a checkpoint: checksums, encryption, limits, and that there is one."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx import CorruptError, LimitError, Limits, NotFoundError, TrustError
from tests.support.saves import loaded, state


def test_checksums_required(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    dcpx.save(state(1), tmp_path / "dcpx")
    dcp.save(state(1), storage_writer=FileSystemWriter(tmp_path / "stock"))
    with caplog.at_level(logging.WARNING, logger="dcpx"):
        dcpx.load({"x": torch.zeros(300)}, tmp_path / "dcpx", require="checksums")
        assert "unverified" not in caplog.text
        dcpx.load({"x": torch.zeros(300)}, tmp_path / "stock")
        assert "unverified" in caplog.text
    with pytest.raises(TrustError, match="no manifest") as caught:
        dcpx.load({"x": torch.zeros(300)}, tmp_path / "stock", require="checksums")
    assert str(caught.value.where.file).endswith(".metadata")
    # Whoever takes the manifest away gains nothing, with or without `partial`.
    next((tmp_path / "dcpx").glob("*.manifest.json")).unlink()
    for partial in (False, True):
        with pytest.raises((TrustError, CorruptError)):
            dcpx.load({"x": torch.zeros(300)}, tmp_path / "dcpx", require="checksums", partial=partial)


class Sealed(dcpx.ZStandard):
    """Stands for an extension that encrypts."""

    @property
    def encrypts(self) -> bool:
        return True

    @staticmethod
    def registry_name() -> str:
        return "sealed@tests"

    @staticmethod
    def from_descriptor(version: str) -> Sealed:
        return Sealed()

    def get_descriptor(self) -> str:
        return "sealed@tests/1"


def test_encryption_required(tmp_path: Path):
    registry = dcpx.ExtensionRegistry()
    registry.register(Sealed)
    packs = {"sealed": Sealed(), "chain": dcpx.Chain(dcpx.Pack(), Sealed()), "pack": dcpx.Pack(), "plain": None}
    for name, pack in packs.items():
        dcpx.save(state(1), tmp_path / name, pack=pack)
        reader = dcpx.Reader(tmp_path / name, registry=registry, require="encrypted")
        target = {"x": torch.zeros(300)}
        if name in ("sealed", "chain"):
            dcp.load(target, storage_reader=reader)
            assert torch.equal(target["x"], state(1)["x"])
        else:
            with pytest.raises(BaseException, match="not encrypted"):
                dcp.load(target, storage_reader=reader)
            assert not target["x"].any(), "it was loaded all the same"


def test_what_cannot_be_required(tmp_path: Path):
    with pytest.raises(ValueError, match="require"):
        dcpx.Reader(tmp_path, require="everything")  # type: ignore[arg-type]
    for name in ("total", "object_size", "object_ratio", "metadata_size", "files"):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: -1})


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        (Limits(), True),
        (Limits(total=300 * 4 + 40 * 8 + 4096), True),
        (Limits(total=300 * 4 + 40 * 8 - 1), False),
        (Limits(object_size=100), False),
        (Limits(files=0), False),
        (Limits(files=1), True),
        (Limits(metadata_size=100), False),
    ],
    ids=str,
)
def test_limits(limits: Limits, fits: bool, tmp_path: Path):
    dcpx.save(state(1), tmp_path)
    if fits:
        assert loaded(tmp_path, limits=limits) == 1
    else:
        with pytest.raises(LimitError):
            loaded(tmp_path, limits=limits)


def test_the_total_of_objects(tmp_path: Path):
    """As they are once they are unfolded."""
    objects = {str(number): bytes(1 << 20) for number in range(10)}
    dcpx.save(objects, tmp_path)
    dcpx.load(dict.fromkeys(objects), tmp_path, limits=Limits(total=11 << 20))
    with pytest.raises(LimitError, match="in all"):
        dcpx.load(dict.fromkeys(objects), tmp_path, limits=Limits(total=5 << 20))


def test_no_checkpoint_is_a_kind_of_its_own(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught:
        loaded(tmp_path)
    assert isinstance(caught.value, NotFoundError)
    assert os.path.basename(str(caught.value.where.file)) == ".metadata"
