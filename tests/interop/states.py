"""State dicts with everything that a format can get wrong, and what it takes to compare them bit for bit."""

from __future__ import annotations

import math
from typing import Any

import torch

State = dict[str, Any]

_OBJECTS: dict[str, Any] = {
    "step": 1234567890123456789,
    "lr": -0.0,
    "name": "résumé \N{SNOWMAN}",
    "flags": {"nested": [True, None, "x"], "empty": {}},
    "blob": bytes(range(256)),
}


def make_state() -> State:
    """Tensors of all kinds of dtype, shape and content, and objects."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    # Every 16-bit pattern: all NaN payloads, both zeros, subnormals and infinities.
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    odd = [0x7FC00001, 0x7F800001, 0xFFC12345, 0xFF800000, 0x80000000, 0x00000001, 0x7F7FFFFF]
    odd_floats = torch.tensor(odd, dtype=torch.int64).to(torch.int32).view(torch.float32)
    tensors = {
        "weight.bf16": (noise(1100, 500) * 0.02).to(torch.bfloat16),  # more than a chunk
        "weight.f32": noise(257, 129) * 0.02,
        "weight.f64": noise(33, 5).double(),
        "patterns.bf16": patterns.view(torch.bfloat16),
        "patterns.f16": patterns.view(torch.float16),
        "odd.f32": odd_floats,
        "odd.c64": odd_floats[:6].view(torch.complex64),
        "fp8.e4m3": patterns[:256].view(torch.float8_e4m3fn),
        "fp8.e5m2": patterns[:256].view(torch.float8_e5m2),
        "c128": torch.complex(noise(7).double(), noise(7).double()),
        "mask": noise(1000) > 0,
        "ids.i64": torch.arange(-5, 5000),
        "ids.u8": torch.arange(256, dtype=torch.uint8),
        "ids.u16": patterns.view(torch.uint16),
        "ids.u64": torch.arange(9).view(torch.uint64),
        "ids.i8": torch.arange(-128, 128, dtype=torch.int8),
        "scalar": torch.tensor(math.pi, dtype=torch.float64),
        "scalar.bf16": torch.tensor(-0.0, dtype=torch.bfloat16),
        "empty": torch.empty(0),
        "empty.dim": torch.empty(3, 0, 5, dtype=torch.int32),
        "zeros": torch.zeros(300_000),
        "transposed": noise(300, 200).t(),
        "sliced": noise(100, 100)[10:60:2, 5:],
        "expanded": noise(1, 40).expand(30, 40),
        "channels_last": noise(2, 3, 16, 16).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(noise(64, 64)),
    }
    return {"model": tensors, **_OBJECTS}


def blank_of(state: State) -> State:
    """The same keys and shapes, and nothing of the content."""
    blanks = {}
    for name, tensor in state["model"].items():
        blank = torch.empty(tensor.shape, dtype=tensor.dtype)
        blank.untyped_storage().fill_(0x5A)
        blanks[name] = torch.nn.Parameter(blank) if isinstance(tensor, torch.nn.Parameter) else blank
    return {"model": blanks, **dict.fromkeys(_OBJECTS), "flags": {"nested": None, "empty": {}}}


def raw(tensor: torch.Tensor) -> bytes:
    """The elements' bytes, in row-major order."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def assert_same(loaded: State, saved: State) -> None:
    """Equal keys, dtypes, shapes, every bit of every tensor, and every object."""
    assert loaded.keys() == saved.keys()
    for name, tensor in saved["model"].items():
        other = loaded["model"][name]
        assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape), name
        assert raw(other) == raw(tensor), name
    for name in _OBJECTS:
        assert type(loaded[name]) is type(saved[name]), name
        assert repr(loaded[name]) == repr(saved[name]), name  # -0.0 == 0.0, but their words differ
