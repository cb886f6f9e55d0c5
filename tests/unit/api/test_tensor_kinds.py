"""Every kind of tensor: either it is loaded as it was saved, and verify says so, or the save refuses it by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.api import CheckpointException

import dcpx
from dcpx import SaveError
from tests.support.versions import rank_local


class Plain(torch.Tensor):
    """A class that nobody told torch of."""


class Wrapper(torch.Tensor):
    """One that holds its elements, negated, in a tensor inside it, and can't be sliced."""

    @staticmethod
    def __new__(cls, negated: torch.Tensor) -> Wrapper:
        return torch.Tensor._make_wrapper_subclass(cls, negated.shape, dtype=negated.dtype)  # type: ignore[attr-defined]

    def __init__(self, negated: torch.Tensor) -> None:
        self.negated = negated

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["negated"], None

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Wrapper({self.negated})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name == "copy_":
            target, source = args[:2]
            if isinstance(target, Wrapper):
                target.negated.copy_(source.negated if isinstance(source, Wrapper) else -source)
            else:
                target.copy_(-source.negated)
            return target
        if name in ("clone", "detach", "_to_copy"):
            return Wrapper(function(args[0].negated, *args[1:], **(kwargs or {})))
        if name == "is_pinned":
            return False
        raise NotImplementedError(name)


def odd(dtype: torch.dtype) -> torch.Tensor:
    return (torch.arange(64) % 2).to(torch.uint8).view(dtype)


def quantized(dtype: torch.dtype) -> torch.Tensor:
    return torch.quantize_per_tensor(torch.arange(8.0), 0.5, 1, dtype)


def with_attribute() -> torch.Tensor:
    tensor = torch.ones(3)
    tensor.note = "x"  # type: ignore[attr-defined]
    return tensor


def of_local_class() -> torch.Tensor:
    class Local(torch.Tensor):
        pass

    return torch.ones(3).as_subclass(Local)


MATRIX = torch.eye(4) + torch.diag(torch.ones(3), 1)
KINDS: dict[str, Callable[[], torch.Tensor]] = {
    **{
        str(found): lambda dtype=found: (quantized if "q" in str(dtype) else odd)(dtype)  # type: ignore[misc]
        for found in vars(torch).values()
        if isinstance(found, torch.dtype)
    },
    "csr": MATRIX.to_sparse_csr,
    "csc": MATRIX.to_sparse_csc,
    "bsr": lambda: MATRIX.to_sparse_bsr((2, 2)),
    "bsc": lambda: MATRIX.to_sparse_bsc((2, 2)),
    "coo": MATRIX.to_sparse_coo,
    "not coalesced": lambda: torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.ones(2), (4, 4)),
    "hybrid": lambda: torch.ones(4, 3, 2).to_sparse(1),
    "mkldnn": MATRIX.to_mkldnn,
    "by channel": lambda: torch.quantize_per_channel(MATRIX, torch.ones(4) / 8, torch.zeros(4), 0, torch.qint8),
    "4 bits": lambda: torch.quantize_per_channel(MATRIX, torch.ones(4) / 8, torch.zeros(4), 0, torch.quint4x2),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "meta": lambda: torch.empty(4, device="meta"),
    "conj": lambda: torch.tensor([1 + 2j, 3 - 1j]).conj(),
    "neg": lambda: torch.tensor([1 + 2j, 3 - 1j]).conj().imag,
    "no dimensions": lambda: torch.tensor(3.0),
    "65 dimensions": lambda: torch.ones((1,) * 65),
    "empty": lambda: torch.ones(0, 3),
    "parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "buffer": lambda: torch.nn.Buffer(torch.ones(3)),
    "with an attribute": with_attribute,
    "of a class": lambda: torch.ones(3).as_subclass(Plain),
    "of a local class": of_local_class,
    "wrapper": lambda: Wrapper(torch.arange(6.0)),
}
SPARSE = {"csr", "csc", "bsr", "bsc", "coo", "not coalesced", "hybrid"}


def made(kind: str) -> torch.Tensor:
    try:
        return KINDS[kind]()
    except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
        pytest.skip(f"torch makes no such tensor: {error!r:.100}")


def values(tensor: torch.Tensor) -> Any:
    if isinstance(tensor, Wrapper):
        tensor = -tensor.negated
    if tensor.is_quantized:
        return (tensor.dequantize().tolist(), str(tensor.qscheme()))
    plain = tensor.detach().as_subclass(torch.Tensor).resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).tolist()


def blank(kind: str) -> torch.Tensor:
    target = made(kind)
    if isinstance(target, Wrapper):
        target.negated.zero_()
    elif target.numel():
        with torch.no_grad():
            base = target.resolve_conj().resolve_neg() if target.is_conj() or target.is_neg() else target
            base.untyped_storage().fill_(0)
            target = base
    return target


@pytest.mark.parametrize("pack", [dcpx.Pack(), None, dcpx.ZStandard()], ids=["pack", "none", "zstd"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_or_is_refused_by_name(kind: str, pack: Any, tmp_path: Path):
    tensor = made(kind)
    refused: SaveError | None = None
    try:
        dcpx.save({"layer": {"odd": tensor}, "x": torch.ones(2)}, tmp_path, pack=pack, sync=False)
    except SaveError as error:
        refused = error
    if refused is not None:
        assert refused.where.item == "layer.odd"
        assert not list(tmp_path.glob("*"))
        with pytest.raises(CheckpointException):  # stock can't save it either
            dcp.save({"x": tensor}, storage_writer=FileSystemWriter(tmp_path / "stock"))
        return
    assert kind not in SPARSE
    target, x = blank(kind), torch.zeros(2)
    assert target.numel() == 0 or values(target) != values(tensor)
    dcpx.load({"layer": {"odd": target}, "x": x}, tmp_path)
    assert values(target) == values(tensor)
    assert x.tolist() == [1, 1]


@pytest.mark.parametrize("use_collectives", [True, pytest.param(False, marks=rank_local)])
def test_what_dcp_cannot_plan_is_named(use_collectives: bool, tmp_path: Path):
    state = {"a": torch.ones(2), "b": {"c": torch.zeros(4, dtype=torch.uint8).view(torch.int4)}}
    with pytest.raises(SaveError, match=r"int4.*item 'b\.c'"):
        dcpx.save(state, tmp_path, use_collectives=use_collectives)
