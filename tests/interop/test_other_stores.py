"""torch's own way to other stores, with dcpx's extensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

import dcpx

fsspec = pytest.importorskip("fsspec")
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter  # noqa: E402

EXTENSIONS: dict[str, Callable[[], Any]] = {
    "pack": dcpx.Pack,
    "zstd": dcpx.ZStandard,
    "chain": lambda: dcpx.Chain(dcpx.Pack("raw"), dcpx.ZStandard()),
}


def state() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    floats = torch.randn(700, 900, generator=generator)
    return {
        **{str(dtype): floats.to(dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)},
        **{str(dtype): torch.arange(3000).to(dtype) for dtype in (torch.int64, torch.uint8, torch.bool)},
        "complex": floats[:10].to(torch.complex64),
        "transposed": floats.t(),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "list": ["text", 1, None],
        "step": 7,
    }


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/c" if request.param == "file" else f"memory://{tmp_path.name}/c"


@pytest.mark.parametrize("extension", EXTENSIONS.values(), ids=EXTENSIONS)
def test_save_and_load(extension: Callable[[], Any], url: str):
    saved = state()
    dcp.save(saved, storage_writer=FsspecWriter(url, _extensions=[extension()]), no_dist=True)
    found = {name: torch.zeros_like(one) if isinstance(one, torch.Tensor) else None for name, one in saved.items()}
    found["list"] = [None] * 3
    reader = FsspecReader(url)
    reader.transforms.extension_registry = dcpx.default_registry()  # type: ignore[assignment]
    dcp.load(found, storage_reader=reader, no_dist=True)
    for name, value in saved.items():
        assert torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value, name


def test_without_the_registry(url: str):
    dcp.save({"step": 7}, storage_writer=FsspecWriter(url, _extensions=[dcpx.Pack()]), no_dist=True)
    reader = FsspecReader(url, _extension_registry=dcpx.default_registry())  # which swallows it
    with pytest.raises(CheckpointException, match=r"Unknown extension name='stream\.pack@dcpx'"):
        dcp.load({"step": 0}, storage_reader=reader, no_dist=True)
