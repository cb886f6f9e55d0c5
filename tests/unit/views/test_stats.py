"""stats: the figures that torch finds, of every dtype, however it is stored; what can't be read says why."""

from __future__ import annotations

import json
import math
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx.progress import Progress
from dcpx.views.moments import BLOCK, Moments, moments_of
from dcpx.views.stats import TensorStatistics
from tests.support.files import data_file, flip, stored
from tests.support.leaks import nothing_left
from tests.support.sharded import sharded
from tests.support.tensor_kinds import KINDS
from tests.support.tensors import DTYPES, random_tensor, weights
from tests.support.versions import rank_local

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")

WRITERS: dict[str, Callable[[Path], Any]] = {
    "pack": lambda path: dcpx.Writer(path, sync_files=False),
    "small chunks": lambda path: dcpx.Writer(path, pack=dcpx.Pack(chunk_size=4096), sync_files=False),
    "zstd": lambda path: dcpx.Writer(path, pack=dcpx.ZStandard(), sync_files=False),
    "stock": lambda path: FileSystemWriter(path, sync_files=False),
    "stock, pack": lambda path: FileSystemWriter(path, sync_files=False, _extensions=[dcpx.Pack()]),
}
every_writer = pytest.mark.parametrize("writer", WRITERS)


def save(state: dict[str, Any], path: Path, writer: str = "pack") -> Path:
    dcp.save(state, storage_writer=WRITERS[writer](path))
    return path


def stats(path: Path, *arguments: Any, **options: Any) -> dcpx.Statistics:
    with nothing_left():
        return dcpx.stats(path, *arguments, **options)


def only(path: Path) -> TensorStatistics:
    (found,) = stats(path).tensors
    return found


def numbers_of(tensor: torch.Tensor) -> list[Any]:
    """Its elements as Python's numbers, of complex ones the magnitudes; by torch alone."""
    tensor = tensor.detach().resolve_conj().resolve_neg().flatten()
    if tensor.is_complex():
        return [math.hypot(one.real, one.imag) for one in tensor.to(torch.complex128).tolist()]
    if tensor.is_floating_point():
        return tensor.to(torch.float64).tolist()
    return [int(one) for one in tensor.tolist()]


def assert_figures(found: TensorStatistics, tensor: torch.Tensor) -> None:
    assert found.error is None
    numbers = numbers_of(tensor)
    parts = torch.view_as_real(tensor.resolve_conj().to(torch.complex128)) if tensor.is_complex() else tensor
    parts = parts.to(torch.float64).reshape(tensor.numel(), 2 if tensor.is_complex() else 1)
    finite = [one for one, ok in zip(numbers, parts.isfinite().all(1).tolist(), strict=True) if ok]
    assert found.count == tensor.numel()
    assert found.nans == int(parts.isnan().any(1).sum())
    assert found.infinities == int(parts.isinf().any(1).sum())
    assert found.zeros == numbers.count(0)
    if not finite:
        assert (found.minimum, found.maximum, found.mean, found.norm) == (None, None, None, None)
        return
    if tensor.is_complex():
        assert found.minimum == pytest.approx(min(finite), rel=1e-12)
        assert found.maximum == pytest.approx(max(finite), rel=1e-12)
    else:
        assert (found.minimum, found.maximum) == (min(finite), max(finite))
        assert type(found.minimum) is type(finite[0])
    largest = max(abs(one) for one in finite)
    assert found.mean == pytest.approx(math.fsum(one / len(finite) for one in finite), rel=1e-9, abs=largest * 1e-12)
    scaled = math.sqrt(math.fsum((one / largest) ** 2 for one in finite)) if largest else 0
    assert found.norm == pytest.approx(largest * scaled, rel=1e-9)


@every_writer
def test_every_dtype(writer: str, tmp_path: Path):
    state = {name: random_tensor(dtype, (37, 21), 5) for name, dtype in DTYPES.items()}
    found = {one.name: one for one in stats(save(state, tmp_path / "c", writer)).tensors}
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert (found[name].dtype, found[name].shape) == (name, (37, 21))
        assert_figures(found[name], tensor)


@every_writer
def test_every_kind_of_tensor(writer: str, tmp_path: Path):
    """Those that are more than their elements, or no numbers, say so, and all others are measured."""
    found = {one.name: one for one in stats(save(dict(KINDS), tmp_path / "c", writer)).tensors}
    for name, tensor in KINDS.items():
        if tensor.is_quantized or "float4" in name or name in ("a conjugate", "of a user's class"):
            assert isinstance(found[name].error, dcpx.UnsupportedError)
            assert (found[name].minimum, found[name].zeros, found[name].nans) == (None, None, None)
        else:
            assert_figures(found[name], tensor)


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 1, "budget": 1}, {"threads": 3}], ids=str)
def test_many_pieces(options: dict[str, Any], tmp_path: Path):
    """Of several jobs, chunks and blocks, with the only NaN at the very end."""
    large = weights(torch.bfloat16, (2500, 2001), 3)
    large[-1, -1] = math.nan
    large[0, 0] = -math.inf
    state = {"large": large, **{f"small {number}": torch.full((9,), number) for number in range(600)}}
    told: list[Progress] = []
    found = stats(save(state, tmp_path / "c"), progress=told.append, **options)
    first = found.tensors[0]
    values = large.to(torch.float64).flatten()[1:-1]
    assert (first.nans, first.infinities, first.count) == (1, 1, large.numel())
    assert first.norm == pytest.approx(float(values.norm()), rel=1e-9)
    assert first.mean == pytest.approx(float(values.mean()), rel=1e-6)
    assert (first.minimum, first.maximum) == (values.min(), values.max())
    assert [one.minimum for one in found.tensors[1:]] == list(range(600))
    assert told[-1] == Progress(*(2 * [large.nbytes + 600 * 9 * 8]), 601, 601)


@every_writer
def test_parts(writer: str, tmp_path: Path):
    tensor = random_tensor(torch.float32, (60, 50), 2)
    assert_figures(only(save({"x": sharded(tensor, [7, 30], [49])}, tmp_path / "c", writer)), tensor)


def test_extremes_of_integers(tmp_path: Path):
    """A float64 holds none of these numbers."""
    low, high = -(1 << 63), (1 << 63) - 1
    found = only(save({"x": torch.tensor([high, low, high - 1, low + 1])}, tmp_path / "c"))
    assert (found.minimum, found.maximum, found.mean) == (low, high, -0.5 + -0.25 + 0.25)
    assert found.norm == pytest.approx(2.0**64)
    found = only(save({"x": torch.tensor([(1 << 64) - 1, 1], dtype=torch.uint64)}, tmp_path / "d"))
    assert (found.minimum, found.maximum) == (1, (1 << 64) - 1)


def test_squares_beyond_their_dtype(tmp_path: Path):
    state = {
        "float64": torch.tensor([1e308, -1e308, 1e307], dtype=torch.float64),
        "tiny": torch.full((4,), 1e-300, dtype=torch.float64),
        "float32": torch.full((4,), 3e38),
        "complex64": torch.full((4,), complex(3e38, 3e38)),
    }
    found = {one.name: one for one in stats(save(state, tmp_path / "c")).tensors}
    assert found["float64"].norm == pytest.approx(math.hypot(1e308, 1e308, 1e307))
    assert found["float64"].mean == pytest.approx(1e307 / 3)
    assert found["tiny"].norm == pytest.approx(2e-300)
    assert found["float32"].norm == pytest.approx(6e38)
    assert found["complex64"].maximum == pytest.approx(3e38 * math.sqrt(2))
    assert [one.infinities for one in found.values()] == [0, 0, 0, 0]


def test_a_norm_that_no_float_holds(tmp_path: Path):
    found = only(save({"x": torch.full((9,), 1.5e308, dtype=torch.float64)}, tmp_path / "c"))
    assert (found.norm, found.maximum) == (None, 1.5e308)
    assert json.loads(json.dumps(stats(tmp_path / "c").to_json(), allow_nan=False))["tensors"][0]["norm"] is None


def test_empty_scalar_and_nothing_finite(tmp_path: Path):
    state = {"empty": torch.zeros(3, 0), "scalar": torch.tensor(-0.0), "nan": torch.full((2,), math.nan)}
    empty, scalar, nan = stats(save(state, tmp_path / "c")).tensors
    for found, tensor in zip((empty, scalar, nan), state.values(), strict=True):
        assert_figures(found, tensor)
    assert (empty.count, scalar.zeros, nan.nans) == (0, 1, 2)


def test_which_tensor_is_not_finite_first(tmp_path: Path):
    state = {"b": torch.ones(3), "z": torch.tensor([1.0, math.inf]), "a": torch.tensor([math.nan]), "object": 1}
    found = stats(save(state, tmp_path / "c"))
    assert found.first_not_finite is not None
    assert found.first_not_finite.name == "z"
    assert [one.is_finite for one in found.tensors] == [True, False, False]
    assert stats(tmp_path / "c", "b").first_not_finite is None


def test_a_damaged_tensor(tmp_path: Path):
    """Only its own row says so."""
    state = {name: weights(torch.float32, (300, 300), seed) for seed, name in enumerate("abc")}
    info = stored(save(state, tmp_path / "c"))["b"]
    flip(data_file(tmp_path / "c"), info.offset + info.length // 2)
    a, b, c = stats(tmp_path / "c").tensors
    assert isinstance(b.error, dcpx.CorruptError)
    assert b.error.where.item == "b"
    assert (b.count, b.norm, b.zeros) == (90_000, None, None)
    assert_figures(a, state["a"])
    assert_figures(c, state["c"])
    assert [row[-1] for row in stats(tmp_path / "c").table().rows] == [None, b.error.cause, None]


@every_writer
def test_a_file_that_is_gone(writer: str, tmp_path: Path):
    save({"x": torch.ones(3), "y": torch.ones(3)}, tmp_path / "c", writer)
    for file in (tmp_path / "c").glob("*.distcp"):
        file.unlink()
    assert [type(error) for error in stats(tmp_path / "c").errors] == [dcpx.MissingFileError] * 2


@pytest.mark.parametrize("length", [None, 1 << 60])
def test_metadata_of_an_enemy(length: int | None, tmp_path: Path):
    """A tensor said to be larger than any memory is refused at once, before its pieces are counted."""
    path = save({"x": torch.ones(3000)}, tmp_path / "c", "stock, pack")
    metadata = pickle.loads((path / ".metadata").read_bytes())
    described = metadata.state_dict_metadata["x"]
    described.size = described.chunks[0].sizes = torch.Size([1 << 55])
    for info in metadata.storage_data.values():
        info.length = length or info.length
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    other = shutil.copytree(path, tmp_path / "d")
    for errors in (stats(path).errors, dcpx.diff(path, other).errors, dcpx.estimate(path).errors):
        assert [type(error) for error in errors] == [dcpx.TruncatedError if length else dcpx.CorruptError]


def test_a_checkpoint_that_is_replaced(tmp_path: Path):
    """What then can't be read isn't said to be damaged."""
    save({"x": torch.ones(3000), "y": torch.ones(3000)}, tmp_path / "c")

    def replace(progress: Progress) -> None:
        if progress.items_done == 0:
            dcpx.save({"x": torch.zeros(3000)}, tmp_path / "c", sync=False, overwrite=True)

    with pytest.raises(dcpx.ReplacedError):
        dcpx.stats(tmp_path / "c", threads=0, progress=replace)


def test_globs(tmp_path: Path):
    save({"layers.0.w": torch.ones(1), "layers.1.w": torch.ones(1), "norm.bias": torch.ones(1)}, tmp_path / "c")
    assert [one.name for one in stats(tmp_path / "c", "layers.*").tensors] == ["layers.0.w", "layers.1.w"]
    assert [one.name for one in stats(tmp_path / "c", "*[1s]*").tensors] == ["layers.0.w", "layers.1.w", "norm.bias"]
    for pattern, nearest in (("layer.0.w", "layers.0.w"), ("*bias*x", "norm.bias"), ("w", "layers.0.w")):
        with pytest.raises(dcpx.LoadError, match="no name matches") as caught:
            stats(tmp_path / "c", pattern)
        assert nearest in caught.value.cause
    with pytest.raises(dcpx.LoadError) as caught:
        stats(tmp_path / "c", "\x1b[31m")
    assert "\x1b" not in str(caught.value)
    for wrong in (["f32"], None, b"*", 3):
        with pytest.raises(TypeError, match="the glob for names must be a str"):
            stats(tmp_path / "c", wrong)


@rank_local
def test_ranks_by_themselves(tmp_path: Path):
    dcp.save({"x": torch.ones(3)}, storage_writer=dcpx.Writer(tmp_path / "c"), use_collectives=False)
    assert only(tmp_path / "c").own_rank == 0


def test_wrong_arguments(tmp_path: Path):
    with pytest.raises(dcpx.NotFoundError):
        stats(tmp_path / "missing")
    for options in ({"threads": -1}, {"budget": 0}):
        with pytest.raises(ValueError, match="must be"):
            stats(tmp_path, **options)


def test_values_for_others(tmp_path: Path):
    found = stats(save({"<b>": torch.tensor([1, 2]), "y": torch.tensor(0.5)}, tmp_path / "c"))
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (shown["schema"], shown["path"]) == ("dcpx.stats/1", str(tmp_path / "c"))
    figures = {"count": 2, "minimum": 1, "maximum": 2, "mean": 1.5, "norm": math.sqrt(5)}
    counts = {"zeros": 0, "nans": 0, "infinities": 0, "error": None}
    names = {"name": "<b>", "dtype": "int64", "shape": [2], "own_rank": None}
    assert shown["tensors"][0] == names | figures | counts
    assert found.table().rows[1][:4] == ("y", "float32", "scalar", 0.5)
    assert "&lt;b&gt;" in found._repr_html_()
    assert "<b>" not in found._repr_html_()


def test_no_torch(tmp_path: Path):
    state = {"x": weights(torch.bfloat16, (50, 50)), "q": KINDS["quantized"], "o": {"a": 1}}
    for writer in ("pack", "stock"):
        save(state, tmp_path / writer, writer)
        script = f"""
import sys
sys.modules["torch"] = None
import dcpx
print(dcpx.stats({str(tmp_path / writer)!r}).tensors[0])
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout.strip() == str(stats(tmp_path / writer).tensors[0]), done.stderr


# --- moments ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(width=32), max_size=30),
    st.integers(0, 30),
)
def test_moments_of_pieces_add_up(values: list[float], cut: int):
    held = np.array(values, np.float32)
    found = moments_of("float32", held[:cut])
    found.add(moments_of("float32", held[cut:]))
    whole = moments_of("float32", held)
    finite = held[np.isfinite(held)].tolist()
    assert (found.count, found.finite, found.zeros) == (len(held), len(finite), values.count(0))
    assert (found.nans, found.infinities) == (whole.nans, whole.infinities)
    assert (found.minimum, found.maximum) == (min(finite, default=None), max(finite, default=None))
    assert float(found.total) == pytest.approx(math.fsum(finite), rel=1e-12, abs=1e26)
    assert found.norm == (pytest.approx(math.hypot(*finite), rel=1e-12) if finite else None)


def test_blocks_add_up():
    held = np.arange(2 * BLOCK + 5, dtype=np.int32)
    found = moments_of("int32", held)
    assert (found.count, found.zeros, found.minimum, found.maximum) == (held.size, 1, 0, held.size - 1)
    assert found.mean == (held.size - 1) / 2
    assert moments_of("int32", held[:0]) == Moments()
