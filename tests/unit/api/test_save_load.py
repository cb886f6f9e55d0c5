"""`dcpx.save` and `dcpx.load`: everything DCP can store comes back bit for bit."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

import dcpx
from dcpx.codecs.dtypes import ITEM_SIZES
from dcpx.frame import FrameReader, open_frame
from tests.support.tensors import bits, random_tensor

DTYPES = sorted({one for one in vars(torch).values() if isinstance(one, torch.dtype)}, key=str)
HINTED = {name for name in ITEM_SIZES if hasattr(torch, name)}


def empty_like(value: Any) -> Any:
    """A target for `value`: same structure and shapes, other contents."""
    if isinstance(value, torch.Tensor):
        target = torch.empty(value.shape, dtype=value.dtype)
        target.untyped_storage().fill_(1)
        return target
    if isinstance(value, dict):
        return {key: empty_like(one) for key, one in value.items()}
    if isinstance(value, list):
        return [empty_like(one) for one in value]
    return None


def assert_same(loaded: Any, saved: Any, name: str = "state") -> None:
    assert type(loaded) is type(saved), name
    if isinstance(saved, torch.Tensor):
        assert (loaded.dtype, loaded.shape) == (saved.dtype, saved.shape), name
        assert bits(loaded) == bits(saved), name
    elif isinstance(saved, dict):
        assert list(loaded) == list(saved), name
        for key in saved:
            assert_same(loaded[key], saved[key], f"{name}.{key}")
    elif isinstance(saved, list):
        assert len(loaded) == len(saved), name
        for number, (one, other) in enumerate(zip(loaded, saved, strict=True)):
            assert_same(one, other, f"{name}[{number}]")
    else:
        assert loaded == saved, name


def round_trip(state: dict[str, Any], path: Path, **options: Any) -> None:
    dcpx.save(state, path, **options)
    loaded = empty_like(state)
    dcpx.load(loaded, path)
    assert_same(loaded, state)


def stock_stores(state: dict[str, Any], path: Path) -> bool:
    """Whether DCP itself brings this state back."""
    try:
        dcp.save(state, checkpoint_id=path)
        loaded = empty_like(state)
        dcp.load(loaded, checkpoint_id=path)
        assert_same(loaded, state)
    except (CheckpointException, RuntimeError, TypeError, AssertionError, NotImplementedError):
        return False
    return True


@pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning", "ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(dtype: torch.dtype, tmp_path: Path):
    try:
        state = {
            "matrix": random_tensor(dtype, (7, 33)),
            "scalar": random_tensor(dtype, (), seed=1),
            "empty": torch.empty((0, 4), dtype=dtype),
            "large": random_tensor(dtype, (5, 5001), seed=2),
        }
    except (RuntimeError, TypeError, NotImplementedError):
        pytest.skip("torch makes no such tensor")
    if not stock_stores(state, tmp_path / "stock"):
        pytest.skip("DCP itself doesn't bring it back")
    round_trip(state, tmp_path / "packed", pack=dcpx.Pack(chunk_size=4096))
    assert_hints_hold(tmp_path / "packed", state)


def test_most_dtypes_are_tested(tmp_path: Path):
    # Skips above must not hide the dtypes that checkpoints are made of.
    common = [
        "bfloat16",
        "float16",
        "float32",
        "float64",
        "int8",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
        "complex64",
        "complex128",
    ]
    for name in [*common, *(name for name in HINTED if name.startswith("float8"))]:
        state = {"a": random_tensor(getattr(torch, name), (3, 5))}
        assert stock_stores(state, tmp_path / name), name


BASE = torch.arange(600, dtype=torch.float32).reshape(20, 30) / 7
SHAPES = {
    "transposed": BASE.t(),
    "strided": BASE[::3, ::2],
    "a column": BASE[:, 4],
    "a row": BASE[4],
    "the last rows": BASE[10:],
    "expanded": BASE[0].expand(8, 30),
    "expanded from one": torch.tensor(3.5).expand(4, 4),
    "permuted": BASE.reshape(2, 10, 30).permute(2, 0, 1),
    "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "flipped": BASE.flip(0),
    "0-dim": torch.tensor(-0.0),
    "0-dim view": BASE[3, 3],
    "one element": torch.ones(1, 1, 1),
    "no elements": torch.zeros(3, 0, 5),
    "no elements, strided": BASE[:0, ::2],
    "70 dimensions": torch.ones([1] * 70),
    "overlapping": BASE.as_strided((10, 10), (3, 1)),
    "large and transposed": torch.randn(300, 200).t(),
    "conjugated": torch.view_as_complex(torch.randn(3000, 2)).conj(),
    "negated": torch._neg_view(torch.randn(5000)),
    "imaginary": torch.view_as_complex(torch.randn(50, 2)).conj().imag,
    "a parameter": torch.nn.Parameter(torch.randn(4, 4)).detach(),
    "a short storage": torch.tensor([], dtype=torch.int32).set_(torch.UntypedStorage(10), 0, (2,)).fill_(5),
    "negative zeros": torch.full((100,), -0.0, dtype=torch.bfloat16),
    "NaN payloads": torch.arange(0x7F81, 0x8000, dtype=torch.int32).to(torch.int16).view(torch.bfloat16),
    "signalling NaNs": torch.tensor([0x7FA00001, -1, 0x7FC00000, 0x7F800001], dtype=torch.int32).view(torch.float32),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape(name: str, tmp_path: Path):
    state = {"tensor": SHAPES[name]}
    assert stock_stores(state, tmp_path / "stock"), "a test of what DCP can't do says nothing of dcpx"
    round_trip(state, tmp_path / "packed")
    assert_hints_hold(tmp_path / "packed", state)


def test_all_shapes_at_once(tmp_path: Path):
    # Most of these share one storage.
    for threads in (1, 3):
        round_trip(dict(SHAPES), tmp_path / str(threads), threads=threads)
        assert_hints_hold(tmp_path / str(threads), SHAPES)


def frames(path: Path) -> dict[str, FrameReader]:
    """A reader of every stored item's frame, by name."""
    metadata = pickle.loads((path / ".metadata").read_bytes())
    found = {}
    for index, info in metadata.storage_data.items():
        data = (path / info.relative_path).read_bytes()[info.offset : info.offset + info.length]
        found[index.fqn] = open_frame(io.BytesIO(data))
    return found


def assert_hints_hold(path: Path, state: dict[str, Any]) -> None:
    """A tensor's hint says where its elements lie; one whose elements don't lie in C order has no hint."""
    readers = frames(path)
    for name, tensor in state.items():
        header, raw = readers[name].header, readers[name].read()
        assert header.key is not None
        assert header.key.fqn == name
        hint = header.hint
        if hint is not None:
            assert (hint.dtype, hint.shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)), name
            assert raw[hint.payload_offset :][: hint.nbytes] == bits(tensor), f"the hint of {name} is wrong"
        plain = tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()
        known = hint is not None or tensor.dim() > 64 or not tensor.numel() or name == "a short storage"
        assert known or not plain or str(tensor.dtype).removeprefix("torch.") not in HINTED, f"{name} has no hint"


def test_hints_of_non_contiguous_tensors_and_objects(tmp_path: Path):
    state = {"turned": torch.randn(300, 200).t(), "object": ("a", 1), "plain": torch.randn(300, 200)}
    dcpx.save(state, tmp_path / "c")
    hints = {name: reader.header.hint for name, reader in frames(tmp_path / "c").items()}
    assert hints["object"] is None
    assert hints["plain"] is not None
    assert hints["turned"] is not None
    assert hints["turned"].shape == (200, 300)  # stored in C order, whatever its strides


@pytest.mark.parametrize("codec", ["auto", "planes", "zstd", "raw"])
def test_large_tensors_of_several_chunks(codec: str, tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    state = {
        "f32": torch.randn(1_300_001, generator=generator) * 0.02,
        "bf16": (torch.randn(2_000, 1_001, generator=generator) * 0.02).bfloat16(),
        "bytes": torch.randint(0, 256, (1 << 20,), generator=generator, dtype=torch.uint8),
        "zeros": torch.zeros(3 << 18),
    }
    round_trip(state, tmp_path / "c", pack=dcpx.Pack(codec), threads=2)
    assert_hints_hold(tmp_path / "c", state)
    assert all(reader.header.checkpoint for reader in frames(tmp_path / "c").values())


@pytest.mark.parametrize("pack", [None, dcpx.ZStandard(), dcpx.Chain(), dcpx.Chain(dcpx.ZStandard(), dcpx.Pack())])
def test_other_packs(pack: dcpx.StreamTransformExtension | None, tmp_path: Path):
    round_trip({"a": BASE, "t": BASE.t(), "o": (1, 2)}, tmp_path / "c", pack=pack)


def test_nested_states_and_objects(tmp_path: Path):
    state = {
        "layers": [{"weight": torch.randn(3, 3), "step": 7}, {"weight": torch.randn(2), "step": 8}],
        "deep": {"er": {"still": torch.tensor([True, False])}},
        "objects": {"text": "ä…\0", "none": None, "tuple": (1, 2.5, b"\xff" * 70000), "set": {1, 2}, "big": 1 << 200},
        "a.b": 1,
        "ключ ☃": torch.ones(2),
        "\ud800 surrogate": torch.ones(3),
        "x" * 5000: torch.zeros(1),
    }
    round_trip(state, tmp_path / "c")


def test_an_empty_state(tmp_path: Path):
    round_trip({}, tmp_path / "c")


class Counter:
    """Stateful in DCP's sense."""

    def __init__(self) -> None:
        self.count = torch.zeros(2)
        self.name = ""

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "name": self.name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.name = state["count"], state["name"]


def test_stateful_objects(tmp_path: Path):
    counter, other = Counter(), Counter()
    counter.count, counter.name = torch.tensor([3.0, 4.0]), "three"
    dcpx.save({"counter": counter}, tmp_path / "c")
    dcpx.load({"counter": other}, tmp_path / "c")
    assert_same(other.state_dict(), counter.state_dict())


def trained(seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01 * (seed + 1), amsgrad=True)
    for _ in range(2):
        model(torch.randn(4, 8)).sum().backward()
        optimizer.step()
    return model, optimizer


def test_a_model_and_its_optimizer(tmp_path: Path):
    model, optimizer = trained(0)
    dcpx.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c")
    other, other_optimizer = trained(1)
    loaded = {"model": other.state_dict(), "optimizer": other_optimizer.state_dict()}
    dcpx.load(loaded, tmp_path / "c")
    other.load_state_dict(loaded["model"])
    other_optimizer.load_state_dict(loaded["optimizer"])
    assert_same(dict(other.state_dict()), dict(model.state_dict()))
    assert_same(other_optimizer.state_dict(), optimizer.state_dict())
