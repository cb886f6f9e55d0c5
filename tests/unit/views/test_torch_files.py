"""torch_file_size: the very size of what torch.save writes, of every dtype and shape."""

from __future__ import annotations

import io

import pytest
import torch

from dcpx.codecs.dtypes import CODES
from dcpx.views.torch_files import torch_file_size

SHAPES = [(), (0,), (1,), (50,), (300,), (70_000,), (3, 0), (50, 3), (2, 3, 4), (2, 1, 3, 4), (1,) * 9]


@pytest.mark.parametrize("dtype", [name for name in CODES if hasattr(torch, name)])
def test_what_torch_writes(dtype: str):
    for shape in SHAPES:
        output = io.BytesIO()
        torch.save(torch.empty(shape, dtype=getattr(torch, dtype)), output)
        assert torch_file_size(dtype, shape) == len(output.getvalue()), shape
