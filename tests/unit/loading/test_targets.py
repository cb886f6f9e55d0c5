"""What a load fills: every kind of tensor as stock DCP fills it, or an error that says why not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

import dcpx
from dcpx import LoadError
from tests.support.planners import Part, PartsPlanner, read
from tests.support.tensors import bits, freed, weights

CHUNKS = dcpx.Pack(chunk_size=4096)


class Quantized(torch.Tensor):
    """Integers and one scale, which every `copy_` sets anew."""

    numbers: torch.Tensor
    scale: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor, scale: torch.Tensor) -> Quantized:
        made: Quantized = torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=torch.float32)  # type: ignore[attr-defined]
        return made

    def __init__(self, numbers: torch.Tensor, scale: torch.Tensor) -> None:
        self.numbers, self.scale = numbers, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if function._schema.name == "aten::copy_":
            into, values = arguments
            into.copied_by = threading.get_ident()
            into.scale.copy_(values.abs().max() / 127)
            into.numbers.copy_((values / into.scale).round())
            return into
        first = arguments[0]
        return cls(function(first.numbers, *arguments[1:], **(options or {})), first.scale)

    def values(self) -> torch.Tensor:
        return self.numbers * self.scale


def quantized(*shape: int) -> Quantized:
    return Quantized(torch.zeros(shape, dtype=torch.int8), torch.tensor(1.0))


class Copies(torch.Tensor):
    """A tensor whose slices are copies, but for the whole."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        found = super().__torch_function__(function, types, arguments, options or {})
        return found.clone() if function is torch.Tensor.__getitem__ else found


def uneven(rows: int) -> torch.Tensor:
    """Rows of very different size, so that parts of it have other scales."""
    return weights(torch.float32, (rows, 1024)) * torch.linspace(10, 0.1, rows)[:, None]


# --- tensors that are more than memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [7, 200, 600, 1500])
@pytest.mark.parametrize("budget", [1, 1 << 28])
def test_a_copy_that_sees_all_elements(rows: int, budget: int, tmp_path: Path):
    saved = uneven(rows)
    dcpx.save({"w": saved}, tmp_path / "c", sync=False)
    expected = quantized(rows, 1024)
    expected.copy_(saved)
    target = quantized(rows, 1024)
    dcpx.load({"w": target}, tmp_path / "c", threads=3, budget=budget)
    assert bits(target.values()) == bits(expected.values())


def test_a_part_of_what_is_stored_is_copied_at_once(tmp_path: Path):
    saved = uneven(600)
    dcpx.save({"w": saved}, tmp_path / "c", sync=False)
    expected, target = quantized(400, 1000), quantized(400, 1000)
    expected.copy_(saved[150:550, 7:1007])

    class Planner(PartsPlanner):
        def commit_tensor(self, request: Any, tensor: torch.Tensor) -> None:
            pass

    read(tmp_path / "c", Planner([Part("w", (150, 7), target)]), threads=3)
    assert bits(target.values()) == bits(expected.values())


@pytest.mark.parametrize("pack", [CHUNKS, None], ids=["packed", "as torch.save writes it"])
def test_slices_that_are_no_views(pack: Any, tmp_path: Path):
    saved = weights(torch.float32, (3000, 100))
    dcpx.save({"w": saved, "small": saved[:3]}, tmp_path / "c", pack=pack, sync=False)
    target = torch.zeros(3000, 100).as_subclass(Copies)
    small = torch.zeros(3, 100).as_subclass(Copies)
    dcpx.load({"w": target, "small": small}, tmp_path / "c", threads=2)
    assert bits(target.as_subclass(torch.Tensor)) == bits(saved)
    assert bits(small.as_subclass(torch.Tensor)) == bits(saved[:3])


def test_their_code_runs_in_the_callers_thread(tmp_path: Path):
    saved = {str(number): uneven(5) for number in range(20)}
    dcpx.save(saved, tmp_path / "c", sync=False)
    found = []

    class Watched(Quantized):
        @classmethod
        def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
            found.append(threading.get_ident())
            return super().__torch_dispatch__(function, types, arguments, options)

    targets = {name: Watched(torch.zeros(5, 1024, dtype=torch.int8), torch.tensor(1.0)) for name in saved}
    dcpx.load(dict(targets), tmp_path / "c", threads=3)
    assert set(found) == {threading.get_ident()}


# --- memory that isn't there, or there more than once -----------------------------------------------------------------


FREED: dict[str, Callable[[], torch.Tensor]] = {
    "all": lambda: freed(torch.zeros(600, 100)),
    "a part": lambda: freed(torch.zeros(600, 100), 600 * 100 * 4 - 1),
    "a view": lambda: freed(torch.zeros(700, 100)[100:], 650 * 100 * 4),
    "turned": lambda: freed(torch.zeros(100, 600).t(), 100),
    "of another dtype": lambda: freed(torch.zeros(600, 100, dtype=torch.float64), 600 * 100 * 4),
    "a parameter": lambda: freed(torch.nn.Parameter(torch.zeros(600, 100)).data),
    "within a subclass": lambda: Quantized(freed(torch.zeros(600, 100, dtype=torch.int8)), torch.tensor(1.0)),
}


@pytest.mark.parametrize("kind", FREED)
@pytest.mark.parametrize("pack", [CHUNKS, dcpx.Pack(), None], ids=["chunks", "packed", "as torch.save writes it"])
def test_a_target_whose_memory_was_freed(kind: str, pack: Any, tmp_path: Path):
    dcpx.save({"w": torch.ones(600, 100)}, tmp_path / "c", pack=pack, sync=False)
    with pytest.raises(LoadError, match="memory was freed") as caught:
        dcpx.load({"w": FREED[kind]()}, tmp_path / "c")
    assert caught.value.where.item == "w"
    assert "FSDP1" in caught.value.remedy


@pytest.mark.parametrize("size", [50, 100_000])
def test_a_target_without_memory(size: int, tmp_path: Path):
    dcpx.save({"w": torch.ones(size)}, tmp_path / "c", sync=False)
    with pytest.raises(LoadError, match="no memory"):
        read(tmp_path / "c", PartsPlanner([Part("w", (0,), torch.zeros(size, device="meta"))]))


@pytest.mark.parametrize("size", [50, 100_000])
@pytest.mark.parametrize("stock", [False, True])
def test_an_expanded_target_is_named(size: int, stock: bool, tmp_path: Path):
    if stock:
        dcp.save({"w": torch.ones(size)}, checkpoint_id=tmp_path / "c")
    else:
        dcpx.save({"w": torch.ones(size)}, tmp_path / "c", pack=CHUNKS, sync=False)
    with pytest.raises(LoadError, match="can't be filled") as caught:
        dcpx.load({"w": torch.zeros(1).expand(size)}, tmp_path / "c")
    assert caught.value.where.item == "w"


# --- what autograd is told --------------------------------------------------------------------------------------------

VERSIONED: dict[str, Callable[[], torch.Tensor]] = {
    "small": lambda: torch.zeros(4, 6),
    "large": lambda: torch.zeros(400, 600),
    "turned": lambda: torch.zeros(6, 4).t(),
    "of another dtype": lambda: torch.zeros(4, 6, dtype=torch.float64),
    "a parameter": lambda: torch.nn.Parameter(torch.zeros(4, 6)),
}


@pytest.mark.parametrize("kind", VERSIONED)
@pytest.mark.parametrize("pack", [CHUNKS, None], ids=["packed", "as torch.save writes it"])
def test_a_load_counts_as_a_change(kind: str, pack: Any, tmp_path: Path):
    target = VERSIONED[kind]()
    dcpx.save({"w": torch.ones(target.shape)}, tmp_path / "c", pack=pack, sync=False)
    version = target._version
    input = torch.ones(target.shape, requires_grad=True)
    loss = (input * target).sum()
    dcpx.load({"w": target}, tmp_path / "c")
    assert target._version > version
    assert bits(target.detach().float()) == bits(torch.ones(target.shape))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_failed_load_counts_as_a_change(tmp_path: Path):
    saved = {name: torch.ones(200_000) for name in "ab"}
    dcpx.save(saved, tmp_path / "c", pack=dcpx.Pack("raw"), sync=False)
    (file,) = (tmp_path / "c").glob("*.distcp")
    data = bytearray(file.read_bytes())
    data[-300_000] ^= 1
    file.write_bytes(data)
    targets = {name: torch.zeros(200_000) for name in "ab"}
    with pytest.raises(dcpx.CorruptError):
        dcpx.load(dict(targets), tmp_path / "c", threads=1)
    assert all(target._version > 0 for target in targets.values() if target.any())
    assert any(target.any() for target in targets.values())


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("pack", [CHUNKS, None], ids=["packed", "as torch.save writes it"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_of_inference_mode(within: bool, pack: Any, dtype: torch.dtype, tmp_path: Path):
    saved = weights(torch.float32, (100, 300))
    dcpx.save({"w": saved, "small": saved[:2]}, tmp_path / "c", pack=pack, sync=False)
    with torch.inference_mode():
        targets = {"w": torch.zeros(100, 300, dtype=dtype), "small": torch.zeros(2, 300, dtype=dtype)}
    with torch.inference_mode(within):
        dcpx.load(dict(targets), tmp_path / "c", threads=2)
    assert bits(targets["w"]) == bits(saved.to(dtype))
    assert bits(targets["small"]) == bits(saved[:2].to(dtype))


class OfAClass(torch.Tensor):
    """Nothing but another class: its elements are its own."""


def test_a_target_of_a_class_whose_memory_was_freed(tmp_path: Path) -> None:
    dcpx.save({"x": torch.ones(5000)}, tmp_path / "c")
    target = torch.zeros(5000).as_subclass(OfAClass)
    target.untyped_storage().resize_(0)
    with pytest.raises(LoadError, match="freed"):
        dcpx.load({"x": target}, tmp_path / "c")
