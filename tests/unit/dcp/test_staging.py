"""A tensor's elements as bytes: in place where they can be, else block by block, from a device as from the host."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dcpx
from dcpx.dcp import staging
from dcpx.dcp.staging import BLOCK, ahead, blocks, bytes_of, host_buffer, is_plain
from dcpx.loading import targets
from tests.support.tensors import DTYPES, LAYOUTS, bits, blank, random_tensor, weights

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning", "ignore:Sparse CSR:UserWarning")

SMALL_BLOCK = 4096
every_dtype = pytest.mark.parametrize("name", DTYPES)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "BLOCK", SMALL_BLOCK)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything takes the way of tensors that the host can't reach; says how often the device was waited for."""
    waits: list[str] = []
    for module in (staging, targets):
        monkeypatch.setattr(module, "on_device", lambda tensor: True)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: waits.append("synchronize"))
    return waits


def joined(tensor: torch.Tensor) -> bytes:
    parts = []
    for block in blocks(tensor):
        block.wait()
        parts.append(bytes(block.data))
    return b"".join(parts)


# Blocks


@every_layout
@every_dtype
def test_blocks_are_the_elements_in_order(name: str, layout: str, small_blocks: None):
    for shape in ((5,), (3000,), (70, 81), (3, 40, 50), (2, 3, 4, 5, 6, 7)):
        values = random_tensor(DTYPES[name], shape)
        tensor = LAYOUTS[layout](values)
        assert bits(tensor) == bits(values)
        assert joined(tensor) == bits(values), shape


VIEWS: dict[str, torch.Tensor] = {
    "0-dim": torch.tensor(1.5),
    "0-dim within": torch.arange(10.0)[3],
    "no elements": torch.zeros(3, 0, 5),
    "no elements, strided": torch.zeros(4, 6)[:0, ::2],
    "expanded": torch.arange(30.0).expand(400, 30),
    "expanded from one": torch.tensor(2.5, dtype=torch.bfloat16).expand(70, 70),
    "overlapping": torch.arange(100.0).as_strided((40, 30), (1, 2)),
    "channels last": torch.randn(2, 3, 40, 50).to(memory_format=torch.channels_last),
    "channels last 3d": torch.randn(2, 3, 4, 10, 20).to(memory_format=torch.channels_last_3d),
    "flipped twice": torch.randn(40, 50).flip(0),
    "a diagonal": torch.randn(90, 90).diagonal(),
    "the last rows": torch.randn(90, 90)[40:],
    "a column": torch.randn(2000, 3)[:, 1],
    "unsqueezed": torch.randn(40, 50).t()[None, :, None],
}


@pytest.mark.parametrize("view", VIEWS)
def test_blocks_of_a_view(view: str, small_blocks: None):
    assert joined(VIEWS[view]) == bits(VIEWS[view])


def test_what_is_contiguous_is_one_block_in_place():
    for tensor in (
        torch.randn(5, 6),
        torch.randn(BLOCK // 4 + 99),
        torch.randn(90, 90)[40:],
        torch.nn.Parameter(torch.ones(3)),
    ):
        (block,) = blocks(tensor)
        assert not block.copied
        assert torch.frombuffer(block.data, dtype=torch.uint8).data_ptr() == tensor.data_ptr()


def test_blocks_have_a_bounded_size():
    tensor = random_tensor(torch.bfloat16, (3000, 4001)).t()
    found = list(blocks(tensor))
    assert [len(block.data) for block in found[:-1]] == [BLOCK] * (len(found) - 1)
    assert all(block.copied for block in found)
    assert b"".join(block.data for block in found) == bits(tensor)


@every_layout
def test_blocks_from_a_device(layout: str, device: list[str], small_blocks: None):
    for name in ("bfloat16", "float32", "complex128", "bool", "float8_e4m3fn"):
        values = random_tensor(DTYPES[name], (70, 81))
        tensor = LAYOUTS[layout](values)
        found = list(blocks(tensor))
        assert len(found) == -(-values.nbytes // SMALL_BLOCK)
        assert all(block.copied for block in found)
        assert joined(tensor) == bits(values)


def test_blocks_from_a_device_are_those_of_the_moment(device: list[str]):
    tensor = torch.arange(1000.0)
    (block,) = blocks(tensor)
    block.wait()
    expected = bits(tensor)
    tensor.zero_()
    assert bytes(block.data) == expected


@settings(max_examples=150, deadline=None)
@given(
    shape=st.lists(st.integers(0, 9), max_size=5),
    name=st.sampled_from(sorted(DTYPES)),
    block=st.integers(16, 300),
    order=st.randoms(use_true_random=False),
)
def test_blocks_of_any_permutation(shape: list[int], name: str, block: int, order: Any):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "BLOCK", block)
        tensor = random_tensor(DTYPES[name], shape)
        axes = list(range(len(shape)))
        order.shuffle(axes)
        tensor = tensor.permute(axes)[..., :: order.choice([1, 2])] if axes else tensor
        assert joined(tensor) == bits(tensor)


# Plain tensors, their bytes, and what runs ahead


class Marked(torch.Tensor):
    """A subclass, which torch.save stores as one."""


def test_only_plain_tensors_are_plain():
    assert all(is_plain(torch.zeros(3, dtype=dtype)) for dtype in DTYPES.values())
    assert is_plain(torch.zeros(()))
    assert is_plain(torch.zeros(5, 5).t())
    assert is_plain(torch.ones([1] * 64))
    assert is_plain(torch.nn.Parameter(torch.zeros(3)).detach())
    for other in (
        torch.ones([1] * 65),
        torch.zeros(3, dtype=torch.complex64).conj(),
        torch._neg_view(torch.zeros(3)),
        torch.zeros(3, device="meta"),
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.zeros(3).as_subclass(Marked),
    ):
        assert not is_plain(other)


@every_dtype
def test_bytes_of_a_tensor_are_its_memory(name: str):
    tensor = random_tensor(DTYPES[name], (5, 7))
    memory = bytes_of(tensor)
    assert bytes(memory) == bits(tensor)
    memory[:] = bytes(len(memory))
    assert bits(tensor) == bytes(tensor.nbytes)
    del tensor
    assert not any(memory), "the bytes keep the storage alive"
    assert len(bytes_of(torch.zeros(3, 0))) == 0
    assert len(bytes_of(torch.tensor(1.0))) == 4


@pytest.mark.parametrize("pinned", [False, True])
def test_host_buffers(pinned: bool):
    buffer = host_buffer(1000, pinned)
    assert (buffer.shape, buffer.dtype, buffer.device.type) == ((1000,), torch.uint8, "cpu")


@given(st.lists(st.integers(), max_size=20), st.integers(0, 25))
def test_ahead_gives_the_same(values: list[int], count: int):
    assert list(ahead(values, count)) == values


def test_ahead_takes_so_many_more():
    taken = []
    for given_, value in enumerate(ahead((taken.append(number) or number for number in range(10)), 3)):
        assert value == given_
        assert len(taken) == min(given_ + 4, 10)


# Whole saves and loads


@cache
def state() -> dict[str, torch.Tensor]:
    """Tensors of every dtype and layout, some of more than a block; several share a storage."""
    shared = weights(torch.float32, (700, 300), 5)
    tensors = {
        f"{name} {layout}": LAYOUTS[layout](random_tensor(dtype, (37, 53), number))
        for number, (name, dtype) in enumerate(DTYPES.items())
        for layout in ("contiguous", "transposed", "strided")
    }
    views = {f"view: {name}": view for name, view in VIEWS.items()}
    return (
        tensors
        | views
        | {
            "shared": shared,
            "shared rows": shared[100:200],
            "shared columns": shared[:, 7:90],
            "shared turned": shared.t(),
            "conjugated": random_tensor(torch.complex64, (50, 60)).conj(),
            "negated": torch._neg_view(weights(torch.float32, (3000,))),
            "large": weights(torch.bfloat16, (2100, 2100), 6),
            "large turned": weights(torch.bfloat16, (2100, 2100), 7).t(),
            "large zeros": torch.zeros(1500, 2000).t(),
        }
    )


def assert_loads(path: Path, layout: str, **options: Any) -> None:
    """Every tensor loads into a target of this layout."""
    loaded = {}
    for name, tensor in state().items():
        target = blank(tensor)
        loaded[name] = LAYOUTS[layout](target) if tensor.dim() and tensor.numel() else target
    dcpx.load(loaded, path, **options)
    for name, tensor in state().items():
        assert bits(loaded[name]) == bits(tensor), name


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("staging") / "c"
    dcpx.save(state(), path, sync=False)
    return path


@every_layout
def test_loads_into_any_layout(layout: str, saved: Path):
    assert_loads(saved, layout)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "narrowed"])
def test_loads_to_a_device(layout: str, saved: Path, device: list[str]):
    assert_loads(saved, layout)
    assert device == ["synchronize"], "once a load, whatever else the device does"


@pytest.mark.parametrize("chunk_size", [4096, 1 << 20])
@pytest.mark.parametrize("threads", [1, 3])
def test_saves_from_a_device(threads: int, chunk_size: int, tmp_path: Path, device: list[str], small_blocks: None):
    dcpx.save(
        state(), tmp_path / "c", pack=dcpx.Pack(chunk_size=chunk_size), threads=threads, budget=1 << 20, sync=False
    )
    assert_loads(tmp_path / "c", "contiguous", threads=threads, budget=1 << 20)


def test_both_ways_store_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: list[str]):
    def stored(path: Path) -> list[int]:
        dcpx.save(state(), path, pack=dcpx.Pack("raw"), sync=False)
        return [file.stat().st_size for file in sorted(path.glob("*.distcp"))]

    from_device = stored(tmp_path / "device")
    monkeypatch.undo()
    assert stored(tmp_path / "host") == from_device


def test_aliased_targets(tmp_path: Path):
    tied = weights(torch.float32, (300, 200))
    dcpx.save({"a": tied, "b": tied, "rows": tied[:100]}, tmp_path / "c")
    target = blank(tied)
    dcpx.load({"a": target, "b": target, "rows": target[:100]}, tmp_path / "c")
    assert bits(target) == bits(tied)


@pytest.mark.parametrize("other", [torch.float64, torch.bfloat16, torch.int32])
@every_layout
def test_targets_of_another_dtype(other: torch.dtype, layout: str, tmp_path: Path):
    values = {
        "small": torch.arange(600.0).view(20, 30),
        "large": torch.arange(700_000).remainder(251).float().view(700, 1000),
    }
    dcpx.save(values, tmp_path / "c", sync=False)
    loaded = {name: LAYOUTS[layout](torch.zeros(value.shape, dtype=other)) for name, value in values.items()}
    dcpx.load(loaded, tmp_path / "c")
    for name, value in values.items():
        assert bits(loaded[name]) == bits(value.to(other)), name


def test_single_elements_of_odd_strides(tmp_path: Path):
    room = torch.arange(40_000.0).view(200, 200)
    values = {"of a row": room[0, ::3][5:6], "of a matrix": room[::2, ::3][4:5, 6:7], "0-dim": room[7, 9]}
    assert all(tensor.is_contiguous() for tensor in values.values())
    assert all(joined(tensor) == bits(tensor) for tensor in values.values())
    dcpx.save(values, tmp_path / "c")
    targets = {name: torch.zeros(100, 100)[::3, ::3][1:2, 1:2].view(value.shape) for name, value in values.items()}
    dcpx.load(targets, tmp_path / "c")
    for name, value in values.items():
        assert bits(targets[name]) == bits(value), name


PART = weights(torch.float32, (1000, 500))
VIEWS_OF_MORE = {
    "a parameter": torch.nn.Parameter(PART[:10]),
    "conjugated": torch.view_as_complex(PART.view(1000, 250, 2))[:10].conj(),
    "negated": torch._neg_view(PART[:10]),
    "of 65 dimensions": PART[:10].view([1] * 63 + [10, 500]),
}


@pytest.mark.parametrize("name", VIEWS_OF_MORE)
def test_a_view_is_stored_without_what_it_does_not_show(name: str, tmp_path: Path):
    view = VIEWS_OF_MORE[name]
    dcpx.save({"x": view}, tmp_path / "c")
    assert sum(file.stat().st_size for file in (tmp_path / "c").glob("*.distcp")) < view.nbytes + 2000
    target = blank(view)
    dcpx.load({"x": target}, tmp_path / "c")
    assert bits(target) == bits(view)


def test_a_parameter_is_stored_as_its_tensor(tmp_path: Path):
    values = weights(torch.float32, (30, 40))
    dcpx.save({"x": torch.nn.Parameter(values)}, tmp_path / "c")
    dcpx.save({"x": values}, tmp_path / "plain")
    loaded = torch.nn.Parameter(blank(values))
    dcpx.load({"x": loaded}, tmp_path / "c")
    assert bits(loaded) == bits(values)
    assert loaded.requires_grad
    sizes = [sum(file.stat().st_size for file in path.glob("*.distcp")) for path in tmp_path.iterdir()]
    assert sizes[0] == sizes[1], "stored in the same way"
