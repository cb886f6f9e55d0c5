"""What is known of torch by name alone is what torch itself says, whichever version is installed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx import UnsupportedError
from dcpx.dcp.private import without_crc32
from dcpx.loading.objects import checked_bytes
from dcpx.pickles import constants
from dcpx.pickles.constants import ITEM_SIZES, STORAGES, dtype_named, is_complex, is_constant
from dcpx.pickles.containers import check_container

DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
SCHEMES = [name for name, value in vars(torch).items() if isinstance(value, torch.qscheme)]


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(name: str):
    found = dtype_named(f"torch.{name}")
    assert found is not None
    assert f"torch.{found}" == str(DTYPES[name])
    assert ITEM_SIZES[found] == DTYPES[name].itemsize
    assert is_complex(found) == DTYPES[name].is_complex


def test_every_constant_of_torch():
    known = {name for name in dir(torch) if is_constant(f"torch.{name}")}
    storages = {name.removeprefix("torch.") for name in STORAGES}
    assert known == {*DTYPES, *SCHEMES, "Tensor", *storages} & {*dir(torch)}
    assert not any(map(is_constant, ("float32", "torch.", "torch.nn.float32", "numpy.float32", "torch.load")))


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_every_storage():
    for name, dtype in STORAGES.items():
        module, _, cls = name.rpartition(".")
        found = getattr(sys.modules[module], cls)
        assert dtype is None if found is torch.UntypedStorage else f"torch.{dtype}" == str(found.dtype)


def test_the_bases_of_tensors():
    bases = (torch.Tensor, torch.storage.TypedStorage, torch.storage.UntypedStorage)
    assert {f"{cls.__module__}.{cls.__qualname__}" for cls in bases} == constants.TENSOR_BASES
    assert {f"{cls.__module__}.{cls.__qualname__}" for cls in (torch.Tensor, torch.nn.Parameter)} == (
        constants.TENSOR_CLASSES
    )


FLOAT8 = torch.arange(4.0).to(torch.float8_e5m2)
NEWER = b"float9_e5m2"


def test_a_dtype_that_nobody_here_knows():
    """Unsupported, not damaged."""
    for value, check in ((FLOAT8, lambda data: check_container(io.BytesIO(data))), ([FLOAT8], checked_bytes)):
        data = container(value)
        assert data.count(b"float8_e5m2") == 1
        with pytest.raises(UnsupportedError, match=r"a dtype that isn't known, torch\.float9_e5m2"):
            check(data.replace(b"float8_e5m2", NEWER))


def test_a_dtype_that_this_torch_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is sound, and only found when it is loaded."""
    monkeypatch.setitem(constants.ITEM_SIZES, NEWER.decode(), 1)
    data = container([FLOAT8]).replace(b"float8_e5m2", NEWER)
    with pytest.raises(UnsupportedError, match=r"can't be made here.*float9_e5m2"):
        checked_bytes(data)
    with without_crc32:
        dcp.save({"x": FLOAT8}, checkpoint_id=tmp_path)
    (file,) = tmp_path.glob("*.distcp")
    stored = file.read_bytes()
    assert stored.count(b"float8_e5m2") == 1
    file.write_bytes(stored.replace(b"float8_e5m2", NEWER))
    with pytest.raises(UnsupportedError, match="torch doesn't load the tensor") as caught:
        dcpx.load({"x": torch.zeros_like(FLOAT8)}, tmp_path)
    assert "versions of torch" in caught.value.remedy


def container(value: object) -> bytes:
    output = io.BytesIO()
    with without_crc32:  # so that what is changed below is sound
        torch.save(value, output)
    return output.getvalue()
