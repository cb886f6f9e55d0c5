"""Tensors of every kind that torch makes, as recipes: each is made once to be saved and once to be filled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from torch.utils._pytree import tree_map

from tests.support.tensors import LAYOUTS, random_tensor, weights

__all__ = ["Recipe", "Tagged", "Wrapped", "dense", "elements", "emptied", "is_freed", "tensors"]


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a tensor is made; the same each time. `plain` says that nothing stands between it and its elements: it must
    save and load. `parts` are recipes whose tensors it is a view of."""

    name: str
    make: Callable[..., torch.Tensor] = field(repr=False)
    plain: bool = True
    parts: Sequence[Recipe] = ()

    def __call__(self, made: dict[int, torch.Tensor]) -> torch.Tensor:
        """The tensor, and always the same one for the same `made`, which remembers those of one state."""
        if id(self) not in made:
            made[id(self)] = self.make(*(part(made) for part in self.parts))
        return made[id(self)]


# --- elements ---------------------------------------------------------------------------------------------------------

EVERY_DTYPE = sorted({value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str)
QUANTIZED = {torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4}
"""Their elements mean nothing without a quantizer, which only a quantized tensor has."""

NUMBERS = [dtype for dtype in EVERY_DTYPE if dtype.is_floating_point or dtype.is_complex or dtype == torch.bool]
NUMBERS += [getattr(torch, f"{sign}int{size}") for sign in ("", "u") for size in (8, 16, 32, 64)]
ODD = [dtype for dtype in EVERY_DTYPE if dtype not in NUMBERS and dtype not in QUANTIZED]
"""bits8, int4, uint1, ...: torch has hardly an operator for them."""


def elements(tensor: torch.Tensor) -> bytes:
    """The bytes of a strided tensor's elements in C order, of any dtype."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.dtype.is_complex:
        tensor = tensor.view({4: torch.int32, 8: torch.int64}[tensor.itemsize]) if tensor.itemsize < 16 else tensor
    if tensor.itemsize == 16:
        tensor = torch.view_as_real(tensor)
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.itemsize]
    return tensor.view(whole).contiguous().flatten().numpy().tobytes()


def is_freed(tensor: torch.Tensor) -> bool:
    """Whether a strided tensor's elements lie in memory that is no more."""
    return tensor.layout is torch.strided and tensor.numel() > 0 == tensor.untyped_storage().size()


def emptied(tensor: torch.Tensor) -> torch.Tensor:
    """A target for `tensor`, with other contents than it: mostly the tensor itself."""
    with torch.no_grad():
        if tensor.is_meta:
            return tensor
        if tensor.is_mkldnn:
            return torch.zeros(tensor.shape, dtype=tensor.dtype).to_mkldnn()
        if isinstance(tensor, Wrapped):
            emptied(tensor.inner)
        elif tensor.layout is torch.sparse_coo:
            return torch.zeros_like(tensor)
        elif tensor.layout in _COMPRESSED or tensor.layout is torch.jagged:
            emptied(tensor.values())
        elif tensor.is_nested:  # it has no strides
            for part in tensor.unbind():
                emptied(part)
        elif isinstance(tensor, torch.nn.UninitializedParameter):
            return tensor
        elif not is_freed(tensor) and 0 in tensor.stride():
            return torch.zeros(tensor.shape, dtype=tensor.dtype)  # nothing can be copied to what lies in one place
        else:
            tensor.untyped_storage().fill_(1 if tensor.dtype == torch.bool else 0x5A)
    return tensor


_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def _filled(dtype: torch.dtype, shape: tuple[int, ...], content: str, seed: int) -> torch.Tensor:
    if content == "weights" and dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        return weights(dtype, shape, seed)
    if content == "zeros":
        return random_tensor(torch.uint8, (*shape, dtype.itemsize), 0).zero_().view(dtype).view(shape)
    return random_tensor(dtype, shape, seed)


shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple) | st.sampled_from(
    [(), (1,), (0,), (3, 0, 2), (1, 1), (70, 70), (1,) * 9, (300_000,), (2, 3, 4, 5), (1025,)]
)


@st.composite
def dense(draw: st.DrawFn, dtypes: Sequence[torch.dtype] = tuple(NUMBERS), some: bool = False) -> Recipe:
    """Elements in memory of their own, whatever the order; at least one, and a dimension, with `some`."""
    dtype, shape, seed = draw(st.sampled_from(dtypes)), draw(shapes), draw(st.integers(0, 99))
    if some and 0 in (*shape, len(shape)):
        shape = (3, 4)
    content = draw(st.sampled_from(["random", "weights", "zeros"]))
    arrangement = draw(st.sampled_from(sorted(ARRANGEMENTS)))
    if dtype in ODD or str(dtype) == "torch.float4_e2m1fn_x2" or not shape or 0 in shape:
        arrangement = "contiguous"  # torch copies none of these, or there is nothing to arrange

    def make() -> torch.Tensor:
        return ARRANGEMENTS[arrangement](_filled(dtype, shape, content, seed))

    return Recipe(f"{content} {dtype} {shape} {arrangement} {seed}", make, dtype not in ODD)


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _in_large_storage(tensor: torch.Tensor) -> torch.Tensor:
    """A few elements of a storage that isn't a multiple of their size."""
    room = torch.zeros(tensor.nbytes + 5 * tensor.itemsize + 1, dtype=torch.uint8)
    begin = 2 * tensor.itemsize
    return room[begin : begin + tensor.nbytes].view(tensor.dtype).view(tensor.shape).copy_(tensor)


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone().share_memory_()


ARRANGEMENTS = {**LAYOUTS, "channels last": _channels_last, "in a large storage": _in_large_storage, "shared": _shared}


# --- views and subclasses ---------------------------------------------------------------------------------------------


class Tagged(torch.Tensor):
    """A subclass that sees every function of torch."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(function, types, args, kwargs or {})


class Wrapped(torch.Tensor):
    """A subclass without elements of its own, around another tensor, as quantized weights and optimizer states are."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Wrapped:
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, strides=inner.stride())
        made.inner = inner
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @classmethod
    def __tensor_unflatten__(cls, parts: dict[str, Any], meta: None, size: Any, stride: Any) -> Wrapped:
        return cls(parts["inner"])

    def __repr__(self, **unused: Any) -> str:
        return f"Wrapped({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def within(value: Any) -> Any:
            return value.inner if isinstance(value, Wrapped) else value

        found = function(*tree_map(within, args), **tree_map(within, kwargs or {}))
        if function is torch.ops.aten.copy_.default:
            return args[0]
        return tree_map(lambda value: Wrapped(value) if isinstance(value, torch.Tensor) else value, found)


def _with_attribute(tensor: torch.Tensor) -> torch.Tensor:
    tensor.sharded_by = "rows"  # type: ignore[attr-defined]
    return tensor


def _inference(tensor: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return tensor.clone()


CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "parameter": lambda tensor: torch.nn.Parameter(tensor, requires_grad=False),
    "buffer": lambda tensor: torch.nn.Buffer(tensor),
    "made in inference mode": _inference,
    "first half": lambda tensor: tensor[: len(tensor) // 2],
    "last of each": lambda tensor: tensor[..., -1:],
    "a single one": lambda tensor: tensor.flatten()[-1],
    "expanded": lambda tensor: tensor[:1].expand(3, *tensor.shape[1:]),
    "attribute": _with_attribute,
    "of a subclass": lambda tensor: tensor.as_subclass(Tagged),
    "wrapped": Wrapped,
    "parameter of a subclass": lambda tensor: torch.nn.Parameter(tensor.as_subclass(Tagged), requires_grad=False),
}
"""Of a dense tensor. The first six are nothing but elements, and must load."""

_PLAIN_CHANGES = list(CHANGES)[:6]


@st.composite
def changed(draw: st.DrawFn) -> Recipe:
    change, base = draw(st.sampled_from(list(CHANGES))), draw(dense(some=True))
    return Recipe(f"{change} of {base.name}", CHANGES[change], change in _PLAIN_CHANGES, (base,))


@st.composite
def trained(draw: st.DrawFn) -> Recipe:
    """Floats that take part in a graph: leaves with a gradient, and what was computed of them."""
    base = draw(dense([torch.float32, torch.float64, torch.bfloat16], some=True))
    computed = draw(st.booleans())

    def make(tensor: torch.Tensor) -> torch.Tensor:
        leaf = torch.nn.Parameter(tensor.nan_to_num())
        leaf.grad = torch.ones_like(leaf)
        return leaf * 2 if computed else leaf

    # What was computed can't be overwritten where a graph needs it; a load does as `copy_` does.
    return Recipe(f"{'computed of ' * computed}parameter {base.name}", make, not computed, (base,))


@st.composite
def lazy_views(draw: st.DrawFn) -> Recipe:
    """Views whose elements aren't those in memory: conjugated, negated."""
    base = draw(dense([torch.complex64, torch.complex128], some=True))
    if draw(st.booleans()):
        return Recipe(f"conj of {base.name}", torch.conj, False, (base,))
    return Recipe(f"imag of conj of {base.name}", lambda tensor: tensor.conj().imag, False, (base,))


@st.composite
def odd_storages(draw: st.DrawFn) -> Recipe:
    """Storages that lie about their tensors."""
    name = draw(st.sampled_from(["freed", "complex in an odd storage", "from a file's bytes", "uninitialized"]))

    def make() -> torch.Tensor:
        if name == "freed":
            tensor = torch.arange(1000.0)
            tensor.untyped_storage().resize_(0)
            return tensor
        if name == "complex in an odd storage":
            return torch.arange(7.0)[:6].view(torch.complex64)
        if name == "uninitialized":
            return torch.nn.UninitializedParameter()
        return torch.frombuffer(bytearray(b"xyz" + bytes(range(97))), dtype=torch.float32, offset=4, count=24)

    return Recipe(name, make, name not in ("freed", "uninitialized"))


# --- other layouts ----------------------------------------------------------------------------------------------------


@st.composite
def sparse(draw: st.DrawFn) -> Recipe:
    """COO, coalesced or not, with dense dimensions or not; CSR, CSC, BSR and BSC."""
    kind = draw(st.sampled_from(["coo", "uncoalesced", "hybrid", "csr", "csc", "bsr", "bsc"]))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.complex64]))
    seed, empty = draw(st.integers(0, 9)), draw(st.booleans())

    def make() -> torch.Tensor:
        matrix = torch.randint(-1, 2, (4, 6), generator=torch.Generator().manual_seed(seed)).to(dtype)
        if empty:
            matrix = matrix.zero_()
        if kind == "uncoalesced":
            return torch.sparse_coo_tensor(torch.tensor([[0, 0, 1]]), torch.ones(3, dtype=dtype), (4,))
        if kind == "hybrid":
            return matrix.to_sparse(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says of these layouts that they are in beta
            return matrix.to_sparse() if kind == "coo" else getattr(matrix, f"to_sparse_{kind}")(*_BLOCK[kind])

    return Recipe(f"sparse {kind} {dtype} {seed}{' empty' * empty}", make, False)


_BLOCK: dict[str, tuple[tuple[int, int], ...]] = {"csr": (), "csc": (), "bsr": ((2, 3),), "bsc": ((2, 3),)}


@st.composite
def quantized(draw: st.DrawFn) -> Recipe:
    """With one scale, or with one for each channel."""
    dtype = draw(st.sampled_from([torch.qint8, torch.quint8, torch.qint32]))
    by_channel, seed = draw(st.booleans()), draw(st.integers(0, 9))

    def make() -> torch.Tensor:
        values = weights(torch.float32, (3, 5), seed)
        if by_channel:
            scales, zeros = torch.tensor([0.1, 0.2, 0.3]), torch.zeros(3, dtype=torch.long)
            return torch.quantize_per_channel(values, scales, zeros, 0, dtype)
        return torch.quantize_per_tensor(values, 0.01 * (seed + 1), seed, dtype)

    return Recipe(f"quantized {dtype}{' by channel' * by_channel} {seed}", make, False)


def _jagged() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged)


ODDITIES: dict[str, Callable[[], torch.Tensor]] = {
    "meta": lambda: torch.ones(3, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "jagged": _jagged,
    "mkldnn": lambda: torch.arange(4.0).to_mkldnn(),
    "seventy dimensions": lambda: torch.arange(2.0).view((1,) * 64 + (2,)),
}

odd_dtypes = dense(ODD)
odd_tensors = st.sampled_from(sorted(ODDITIES)).map(lambda name: Recipe(name, ODDITIES[name], False))

tensors = st.one_of(
    dense(),
    dense(),
    changed(),
    trained(),
    lazy_views(),
    odd_storages(),
    sparse(),
    quantized(),
    odd_dtypes,
    odd_tensors,
)
"""One of any kind, half of them of the ordinary ones."""
