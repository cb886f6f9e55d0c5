"""Whatever the process has set in torch around it, a save, a load and a verification do the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import dcpx
from dcpx import StreamTransformExtension
from tests.support.tensors import bits


class FunctionMode(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


class DispatchMode(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **(kwargs or {}))


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "default device": default_device,
    "device": lambda: torch.device("meta"),
    "default dtype": default_dtype,
    "deterministic": deterministic,
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "function mode": FunctionMode,
    "dispatch mode": DispatchMode,
}

PACKS: list[StreamTransformExtension | None] = [dcpx.Pack(), dcpx.Pack("raw"), dcpx.ZStandard(), None]


def state() -> dict[str, Any]:
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))

    return {
        "small": random(3),
        "plain": random(200, 100),
        "strided": random(600, 900).t(),
        "half": random(50, 50).bfloat16(),
        "view": random(100)[3:50:2],
        "conjugate": torch.view_as_complex(random(40, 2)).conj(),
        "negative": torch.view_as_complex(random(400, 2)).conj().imag,
        "parameter": torch.nn.Parameter(random(20, 20)),
        "zero-dimensional": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        "integers": torch.arange(1000),
        "nested": {"list": [random(2), {"x": 1}], "object": (1, None, "text")},
        "object with tensors": (torch.arange(5), random(4)),
    }


def targets() -> dict[str, Any]:
    """Some of them not in one piece, or of another dtype."""
    made: dict[str, Any] = {
        name: torch.zeros(tuple(value.shape), dtype=value.dtype) if isinstance(value, torch.Tensor) else None
        for name, value in state().items()
    }
    made["nested"] = {"list": [torch.zeros(2), {"x": None}], "object": None}
    made["half"] = torch.zeros(50, 50)
    made["plain"] = torch.zeros(100, 200).t()
    return made


def assert_same(loaded: Any, saved: Any) -> None:
    if isinstance(saved, torch.Tensor):
        assert bits(loaded.to(saved.dtype)) == bits(saved)
    elif isinstance(saved, dict):
        assert loaded.keys() == saved.keys()
        for key, value in saved.items():
            assert_same(loaded[key], value)
    elif isinstance(saved, (list, tuple)):
        assert len(loaded) == len(saved)
        for one, other in zip(loaded, saved, strict=True):
            assert_same(one, other)
    else:
        assert loaded == saved


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("pack", PACKS, ids=repr)
def test_a_setting_changes_nothing(pack: StreamTransformExtension | None, setting: str, tmp_path: Path):
    saved, loaded, plainly_loaded = state(), targets(), targets()
    with SETTINGS[setting]():
        dcpx.save(saved, tmp_path / "c", pack=pack)
        report = dcpx.verify(tmp_path / "c")
    assert not report.problems
    dcpx.load(plainly_loaded, tmp_path / "c")
    assert_same(plainly_loaded, saved)
    with SETTINGS[setting]():
        dcpx.load(loaded, tmp_path / "c")
    assert_same(loaded, saved)
