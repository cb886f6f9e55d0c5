"""Tensors without elements in memory: refused when they are saved, by every way of saving, and nothing is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import _pytree

import dcpx
from dcpx import SaveError, StreamTransformExtension
from tests.support.tensors import freed

Saving = Callable[[torch.Tensor], None]

PACKS: dict[str, StreamTransformExtension | None] = {
    "pack": dcpx.Pack(),
    "raw": dcpx.Pack("raw"),
    "zstandard": dcpx.ZStandard(),
    "chain": dcpx.Chain(dcpx.Pack()),
    "nothing": None,
}

SIZES = [1, 256, 100_000]


def freed_view(size: int) -> torch.Tensor:
    """Every second element, behind the end of what is left."""
    return freed(torch.full((2 * size + 1,), 7.0)[1::2], 4 * size)


class Wrapper(torch.Tensor):
    """A subclass that keeps its elements in another tensor."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapper:
        wrapper: Wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)  # type: ignore[attr-defined]
        wrapper.inner = inner
        return wrapper

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = _pytree.tree_map_only(Wrapper, lambda one: one.inner, (args, kwargs or {}))
        return function(*args, **kwargs)


PLAIN: dict[str, Callable[[int], torch.Tensor]] = {
    "freed": lambda size: freed(torch.full((size,), 7.0)),
    "shrunk": lambda size: freed(torch.full((size,), 7.0), 4 * size - 1),
    "freed_view": freed_view,
    "freed_parameter": lambda size: torch.nn.Parameter(freed(torch.full((size,), 7.0))),
}
FREED = PLAIN | {"wrapped": lambda size: Wrapper(freed(torch.full((size,), 7.0)))}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("kind", FREED)
def test_freed_memory_is_refused(kind: str, pack: str, tmp_path: Path):
    for size in SIZES:
        with pytest.raises(SaveError, match="freed or shrunk by its owner") as caught:
            dcpx.save({"good": torch.ones(5), "bad": FREED[kind](size)}, tmp_path / "c", pack=PACKS[pack])
        assert caught.value.where.item == "bad"
        assert "get_state_dict" in caught.value.remedy
        assert not list((tmp_path / "c").iterdir())


@pytest.mark.parametrize("kind", PLAIN)
def test_freed_memory_within_an_object_is_refused(kind: str, tmp_path: Path):
    with pytest.raises(SaveError, match="freed or shrunk by its owner") as caught:
        dcpx.save({"a": torch.ones(2), "b": (PLAIN[kind](1000), 1)}, tmp_path)
    assert caught.value.where.item == "b"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pack", PACKS)
def test_meta_tensors_are_refused(pack: str, tmp_path: Path):
    for size in SIZES:
        with pytest.raises(SaveError, match="'meta'") as caught:
            dcpx.save({"bad": torch.empty(size, device="meta")}, tmp_path / "c", pack=PACKS[pack])
        assert caught.value.where.item == "bad"


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("make", ["to_sparse", "to_sparse_csr", "to_sparse_csc", "to_mkldnn"])
@pytest.mark.filterwarnings("ignore:Sparse CS")
def test_what_dcp_cannot_load_is_refused(make: str, pack: str, tmp_path: Path):
    tensor = getattr(torch.eye(8), make)()
    with pytest.raises(SaveError) as caught:
        dcpx.save({"good": torch.ones(2), "bad": tensor}, tmp_path / "c", pack=PACKS[pack])
    assert caught.value.where.item == "bad"


@pytest.mark.filterwarnings("ignore:Sparse CS")
def test_the_remedy_for_a_sparse_tensor(tmp_path: Path):
    dcpx.save({"sparse": (torch.eye(4).to_sparse_csr(),)}, tmp_path / "c")
    state: dict[str, Any] = {"sparse": None}
    dcpx.load(state, tmp_path / "c")
    assert torch.equal(state["sparse"][0].to_dense(), torch.eye(4))


@pytest.mark.parametrize("pack", PACKS)
def test_what_still_has_its_elements_is_saved(pack: str, tmp_path: Path):
    base = torch.arange(100.0)
    view = base[:10]
    base.untyped_storage().resize_(40)
    expanded = torch.arange(3.0)[:, None].expand(3, 1000)
    empty = torch.ones(0, 3)
    empty.untyped_storage().resize_(0)
    dcpx.save({"view": view, "expanded": expanded, "empty": empty}, tmp_path / "c", pack=PACKS[pack])
    state = {"view": torch.zeros(10), "expanded": torch.zeros(3, 1000), "empty": torch.zeros(0, 3)}
    dcpx.load(state, tmp_path / "c")
    assert torch.equal(state["view"], torch.arange(10.0))
    assert torch.equal(state["expanded"], expanded)


def within(transform: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[[Saving, int], None]:
    def save(saving: Saving, elements: int) -> None:
        def function(x: torch.Tensor) -> torch.Tensor:
            saving(x * 2)
            return x.sum()

        transform(function)(torch.ones(2, elements))

    return save


NOWHERE: dict[str, Callable[[Saving, int], None]] = {
    "zeros": lambda saving, elements: saving(torch._efficientzerotensor(elements)),
    "functionalize": within(torch.func.functionalize),
    "vmap": within(torch.func.vmap),
    "grad": within(torch.func.grad),
}


@pytest.mark.parametrize("elements", [3, 5000])
@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("kind", NOWHERE)
def test_tensors_that_lie_nowhere(kind: str, pack: str, elements: int, tmp_path: Path) -> None:
    """Their address was believed, and whatever lay there was saved."""

    def saving(tensor: torch.Tensor) -> None:
        dcpx.save({"x": tensor}, tmp_path / "c", pack=PACKS[pack])

    with pytest.raises(SaveError) as caught:
        NOWHERE[kind](saving, elements)
    assert caught.value.where.item == "x"
    assert not list(tmp_path.glob("c/.metadata"))
