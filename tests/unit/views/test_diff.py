"""diff: what changed is what torch says, however either side is stored, and what is equal isn't decoded."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx import kernels
from dcpx.frame.map import FrameMap
from dcpx.progress import Progress
from dcpx.store.source import FileSource
from dcpx.views.distances import Distance, distance_of
from dcpx.views.elements import PIECE
from tests.support.files import data_file, flip, stored
from tests.support.leaks import nothing_left
from tests.support.sharded import sharded
from tests.support.tensor_kinds import KINDS
from tests.support.tensors import DTYPES, bits, random_tensor, weights
from tests.support.versions import rank_local

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")

WRITERS: dict[str, Callable[[Path], Any]] = {
    "pack": lambda path: dcpx.Writer(path, sync_files=False),
    "small chunks": lambda path: dcpx.Writer(path, pack=dcpx.Pack(chunk_size=4096), sync_files=False),
    "plain": lambda path: dcpx.Writer(path, pack=None, sync_files=False),
    "zstd": lambda path: dcpx.Writer(path, pack=dcpx.ZStandard(), sync_files=False),
    "stock": lambda path: FileSystemWriter(path, sync_files=False),
    "stock, pack": lambda path: FileSystemWriter(path, sync_files=False, _extensions=[dcpx.Pack()]),
}
OTHER_QUANTIZED = torch.quantize_per_tensor(torch.zeros(4, 6), 0.1, 3, torch.qint8)
every_writer = pytest.mark.parametrize("writer", WRITERS)


def save(state: dict[str, Any], path: Path, writer: str = "pack") -> Path:
    dcp.save(state, storage_writer=WRITERS[writer](path))
    return path


def diff(a: Path, b: Path, *arguments: Any, **options: Any) -> dcpx.Difference:
    with nothing_left():
        return dcpx.diff(a, b, *arguments, **options)


def changes(found: dcpx.Difference) -> dict[str, str]:
    return {item.name: item.change for item in found.items}


def saved(tmp_path: Path, a: dict[str, Any], b: dict[str, Any], writers: tuple[str, str] = ("pack", "pack")) -> Any:
    paths = tmp_path / "a", tmp_path / "b"
    for state, path, writer in zip((a, b), paths, writers, strict=True):
        save(state, path, writer)
    return paths


def only(tmp_path: Path, a: torch.Tensor, b: torch.Tensor, *writers: str) -> dcpx.ElementDifference:
    (item,) = diff(*saved(tmp_path, {"x": a}, {"x": b}, writers or ("pack", "pack"))).items  # type: ignore[arg-type]
    assert item.error is None
    assert item.elements is not None
    return item.elements


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all chunks that are decoded, in every way."""
    found: list[int] = []
    decode, read_chunks, decode_chunks = FrameMap.decode, FileSource.read_chunks, kernels.decode_chunks

    def count(self: FrameMap, number: int, record: memoryview, out: memoryview) -> None:
        found.append(len(out))
        decode(self, number, record, out)

    def count_all(self: FileSource, jobs: list[Any]) -> list[int]:
        found.extend(len(job[2]) for job in jobs)
        return read_chunks(self, jobs)

    def count_held(jobs: list[Any]) -> list[int]:
        found.extend(len(job[1]) for job in jobs)
        return decode_chunks(jobs)

    monkeypatch.setattr(FrameMap, "decode", count)
    monkeypatch.setattr(kernels, "decode_chunks", count_held)
    monkeypatch.setattr(FileSource, "read_chunks", count_all)
    return found


# --- what torch says --------------------------------------------------------------------------------------------------


def values(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64).flatten()


def assert_difference(found: dcpx.ElementDifference | None, a: torch.Tensor, b: torch.Tensor) -> None:
    """All elements were compared, and these are their figures."""
    assert found is not None
    width = a.dtype.itemsize
    both = [bits(one) for one in (a, b)]
    unequal = torch.tensor(
        [both[0][at : at + width] != both[1][at : at + width] for at in range(0, len(both[0]), width)], dtype=torch.bool
    )
    x, y = values(a), values(b)
    apart = (x - y).abs()[unequal & x.isfinite() & y.isfinite()]
    left_out = int((unequal & ~(x.isfinite() & y.isfinite())).sum())
    assert (found.count, found.compared, found.changed) == (a.numel(), a.numel(), int(unequal.sum()))
    assert found.share == found.changed / found.count
    assert found.nans == (int(x.isnan().sum()), int(y.isnan().sum()))
    assert found.infinities == (int(x.isinf().sum()), int(y.isinf().sum()))
    assert found.maximum == pytest.approx(float(apart.max()) if len(apart) else 0, rel=1e-6)
    assert found.mean == pytest.approx(float((apart / (a.numel() - left_out)).sum()), rel=1e-6)
    finite = x.abs()[x.isfinite()]
    largest, own = float(apart.max()) if len(apart) else 0.0, float(finite.max()) if len(finite) else 0.0
    norm = largest * float((apart / largest).norm()) if largest else 0.0
    assert found.norm == pytest.approx(norm, rel=1e-5)
    if own and math.isfinite(norm / own):
        assert found.relative == pytest.approx(norm / own / float((finite / own).norm()), rel=1e-5)


@every_writer
def test_every_dtype(writer: str, tmp_path: Path):
    """A few elements of random bits are exchanged for others of all kinds."""
    a = {name: random_tensor(dtype, (37, 21), 5) for name, dtype in DTYPES.items()}
    b = {name: tensor.clone() for name, tensor in a.items()}
    for name, dtype in DTYPES.items():
        b[name].view(torch.uint8)[::6] = random_tensor(dtype, (7, 21), 6).view(torch.uint8)
    found = diff(*saved(tmp_path, a, b, (writer, writer)))
    assert set(changes(found).values()) == {"changed"}
    for item in found.items:
        assert_difference(item.elements, a[item.name], b[item.name])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int64"])
def test_large_tensors(dtype: str, tmp_path: Path):
    """Of several pieces, chunks and blocks."""
    a = (torch.randn(3000, 2001, generator=torch.Generator().manual_seed(1)) * 100).to(DTYPES[dtype])
    b = a + (torch.rand(3000, 2001, generator=torch.Generator().manual_seed(2)) * 3).to(DTYPES[dtype])
    found = only(tmp_path, a, b)
    x, y = values(a), values(b)
    assert a.nbytes > 2 * PIECE
    assert found.changed == int((a != b).sum())
    assert found.maximum == float((x - y).abs().max())
    assert found.mean == pytest.approx(float((x - y).abs().mean()), rel=1e-6)
    assert found.relative == pytest.approx(float((x - y).norm() / x.norm()), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-38, 1e-22, 1.0, 1e19, 3e38])
def test_floats_whose_squares_are_none(scale: float, tmp_path: Path):
    a, b = torch.linspace(-1, 1, 5000) * scale, torch.linspace(1, -1, 5000) * scale
    assert_difference(only(tmp_path, a, b), a, b)


def test_extremes(tmp_path: Path):
    a = torch.tensor([(1 << 63) - 1, -(1 << 63), 5])
    b = torch.tensor([(1 << 63) - 2, (1 << 63) - 1, 5])
    found = only(tmp_path / "int64", a, b)
    assert (found.changed, found.maximum) == (2, float((1 << 64) - 1))
    assert found.mean == (2.0**64 - 1 + 1) / 3
    a, b = torch.tensor([1.5e308, 1.0], dtype=torch.float64), torch.tensor([-1.5e308, 1.0], dtype=torch.float64)
    found = only(tmp_path / "float64", a, b)
    assert (found.maximum, found.norm, found.relative) == (None, None, 2.0)
    assert found.mean == 1.5e308


def test_signs_of_zero_and_kinds_of_nan(tmp_path: Path):
    """Other bits are a change, though the difference is none."""
    a = torch.tensor([0x0000, 0x7FC0, 0x3F80], dtype=torch.int16).view(torch.bfloat16)
    b = torch.tensor([-0x8000, 0x7FC1, 0x3F80], dtype=torch.int16).view(torch.bfloat16)
    found = only(tmp_path, a, b)
    assert (found.changed, found.maximum, found.mean, found.nans) == (2, 0.0, 0.0, (1, 1))


def test_new_nans_and_infinities(tmp_path: Path):
    a, b = torch.ones(100), torch.ones(100)
    b[3:5], b[7], a[8] = math.nan, math.inf, -math.inf
    found = only(tmp_path, a, b)
    assert (found.changed, found.nans, found.infinities, found.maximum) == (4, (0, 2), (1, 1), 0)
    assert_difference(found, a, b)


# --- kinds of change --------------------------------------------------------------------------------------------------


@every_writer
def test_each_change(writer: str, tmp_path: Path):
    a = {
        "same": torch.ones(3, 4),
        "gone": torch.ones(2),
        "shape": torch.ones(2, 3),
        "dtype": torch.ones(3),
        "value": torch.ones(3),
        "o same": {"x": [1, 2]},
        "o value": ("a", 1),
        "kind": 1,
        "empty": torch.ones(0),
    }
    b = {
        "same": torch.ones(3, 4),
        "new": torch.ones(2),
        "shape": torch.ones(3, 2),
        "dtype": torch.ones(3).half(),
        "value": torch.zeros(3),
        "o same": {"x": [1, 2]},
        "o value": ("a", 2),
        "kind": torch.ones(1),
        "empty": torch.ones(0),
    }
    found = diff(*saved(tmp_path, a, b, (writer, writer)))
    assert changes(found) == {
        "same": "same",
        "gone": "removed",
        "shape": "reshaped",
        "dtype": "recast",
        "value": "changed",
        "o same.x": "same",
        "o value": "changed",
        "kind": "recast",
        "empty": "same",
        "new": "added",
    }
    assert (found.is_same, found.in_common, found.counts["recast"]) == (False, len(found.items) - 2, 2)
    rows = {item.name: item for item in found.items}
    assert rows["shape"].shapes == ((2, 3), (3, 2))
    assert rows["dtype"].dtypes == ("float32", "float16")
    assert rows["dtype"].elements is not None
    assert rows["dtype"].elements.changed == 0
    assert rows["kind"].dtypes == (None, "float32")
    assert rows["gone"].dtypes == ("float32", None)
    for name in ("same", "gone", "shape", "kind", "new", "o value"):
        assert rows[name].elements is None


@pytest.mark.parametrize(
    "writers", [("pack", "stock"), ("stock", "zstd"), ("small chunks", "pack"), ("plain", "stock")]
)
def test_equal_content_stored_in_other_ways(writers: tuple[str, str], tmp_path: Path):
    state = {name: random_tensor(dtype, (80, 21), 5) for name, dtype in DTYPES.items()}
    state |= {"large": weights(torch.bfloat16, (1500, 2001), 1), "scalar": torch.tensor(3.0), "empty": torch.zeros(0)}
    assert diff(*saved(tmp_path, state, state, writers)).is_same


@every_writer
def test_every_kind_of_tensor(writer: str, tmp_path: Path):
    """Those that are more than their elements are compared as a whole."""
    a: dict[str, Any] = {name: tensor for name, tensor in KINDS.items() if tensor.numel()}
    b = {"quantized": OTHER_QUANTIZED, "a conjugate": a["a conjugate"].resolve_conj() + 1}
    found = diff(*saved(tmp_path, a, a | b, (writer, writer)))
    assert found.errors == []
    assert {name for name, change in changes(found).items() if change == "changed"} == set(b)
    assert all(item.elements is None for item in found.items if item.name in b)


def test_checkpoints_of_different_models(tmp_path: Path):
    found = diff(*saved(tmp_path, {"x": torch.ones(3)}, {"y": torch.ones(3), "z": 1}))
    assert (found.in_common, found.is_same) == (0, False)
    assert changes(found) == {"x": "removed", "y": "added", "z": "added"}
    assert "they have no names in common" in str(found)
    assert "no names" not in str(diff(tmp_path / "a", tmp_path / "a"))


def gap(one: Any, other: Any) -> float:
    """The absolute difference of whole numbers, exactly."""
    if isinstance(one, int):
        return abs(one - int(other))
    return abs(one - other)


@pytest.mark.parametrize(("a", "b"), [("float32", "bfloat16"), ("int64", "float64"), ("float16", "complex64")])
def test_recast(a: str, b: str, tmp_path: Path):
    """Elements are compared as numbers."""
    numbers = torch.arange(-100, 100) * 1001
    if a == "int64":
        numbers[0] = (1 << 53) + 1
    x, y = numbers.to(DTYPES[a]), numbers.to(DTYPES[b])
    if a == "float32":
        x[:2], y[:3] = math.nan, math.nan
    found = only(tmp_path, x, y)
    apart = [gap(one, other) for one, other in zip(x.tolist(), y.tolist(), strict=True)]
    assert found.changed == sum(one != 0 and not math.isnan(one) for one in apart) + (a == "float32")
    assert found.maximum == max(one for one in apart if math.isfinite(one))
    assert found.nans == ((2, 3) if a == "float32" else (0, 0))


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [("pack", "pack"), ("small chunks", "stock"), ("stock", "pack"), ("zstd", "plain")])
@pytest.mark.parametrize("shape", [(60, 50), (7, 9, 11), (5000,), (3, 3000)], ids=str)
def test_other_parts(shape: tuple[int, ...], writers: tuple[str, str], tmp_path: Path):
    """How a tensor was cut makes no difference to what is found."""
    a = random_tensor(torch.float32, shape, 3)
    b = a.clone()
    b.flatten()[-3:] = torch.tensor([1.0, 2.0, 3.0])
    cuts = [[size // 3, size - 1] for size in shape], [[] for _ in shape], [[size // 2] for size in shape]
    ways = [sharded(one, *cut) for cut in cuts for one in (a, b)]
    for number, (x, y) in enumerate([(ways[0], b), (ways[2], ways[1]), (ways[4], ways[1]), (a, ways[5])]):
        assert_difference(only(tmp_path / str(number), x, y, *writers), a, b)
    for number, (x, y) in enumerate([(ways[0], a), (a, ways[4]), (ways[4], ways[0])], 10):
        assert diff(*saved(tmp_path / str(number), {"x": x}, {"x": y}, writers)).is_same


def test_other_parts_of_large_tensors(tmp_path: Path):
    a = weights(torch.float32, (2000, 1501), 3)
    b = a * 1.5
    found = only(tmp_path, sharded(a, [700], []), sharded(b, [], [500]))
    assert (found.compared, found.changed) == (a.numel(), int((a != b).sum()))
    assert found.relative == pytest.approx(0.5, rel=1e-6)


# --- what isn't read --------------------------------------------------------------------------------------------------

STATE: dict[str, Any] = {
    "large": weights(torch.bfloat16, (3000, 2001), 2),
    "middle": weights(torch.float32, (90, 130), 1),
    "small": torch.ones(3),
    "quantized": KINDS["quantized"],
    "turned": KINDS["transposed"],
    "object": {"a": b"b" * 9999},
}


def test_equal_items_are_not_decoded(tmp_path: Path, decoded: list[int]):
    """Of two saves, whose frames differ in all but their content."""
    a, b = saved(tmp_path, STATE, STATE)
    assert data_file(a).read_bytes() != data_file(b).read_bytes()
    found = diff(a, b)
    assert (found.is_same, found.same_save, decoded) == (True, False, [])
    dcpx.stats(a, "large")
    assert sum(decoded) == STATE["large"].nbytes, "the fixture sees what is decoded"


@pytest.mark.parametrize("writer", ["plain", "zstd"])
def test_equal_items_of_other_kinds_are_not_read(writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The manifests say so."""
    a, b = saved(tmp_path, STATE, STATE, (writer, writer))
    monkeypatch.setattr(FileSource, "read_into", None)
    assert diff(a, b).is_same


def test_one_save_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    a = save(STATE, tmp_path / "a")
    shutil.copytree(a, tmp_path / "copy")
    monkeypatch.setattr(FileSource, "__init__", None)
    for other in (a, tmp_path / "copy"):
        found = diff(a, other)
        assert (found.is_same, found.same_save, found.in_common) == (True, True, len(STATE))


def test_stock_saves_are_read(tmp_path: Path):
    """Nothing vouches for them, not even for copies of one save."""
    a = save({"x": torch.ones(30)}, tmp_path / "a", "stock")
    shutil.copytree(a, tmp_path / "b")
    (file,) = (tmp_path / "b").glob("*.distcp")
    content = file.read_bytes()
    file.write_bytes(content.replace(torch.ones(30).numpy().tobytes(), torch.zeros(30).numpy().tobytes()))
    assert changes(diff(a, tmp_path / "b")) == {"x": "changed"}


def test_equal_chunks_are_not_decoded(tmp_path: Path, decoded: list[int]):
    a = STATE["large"]
    b = a.clone()
    b[0, 0] += 1
    b[1500, 7] = math.nan
    paths = saved(tmp_path, {"x": a}, {"x": b})
    (item,) = diff(*paths).items
    found = item.elements
    assert found is not None
    assert sum(decoded) == 2 * 2 * (1 << 20), "two chunks on either side"
    assert (found.count, found.compared, found.changed) == (a.numel(), 1 << 20, 2)
    assert (found.nans, found.maximum) == ((0, 1), float(b[0, 0].double() - a[0, 0].double()))
    assert found.mean == pytest.approx(found.maximum / (a.numel() - 1))


def test_chunks_of_other_sizes_are_compared(tmp_path: Path, decoded: list[int]):
    a = STATE["middle"]
    b = a.clone()
    b[0, 0] += 1
    assert_difference(only(tmp_path, a, b, "pack", "small chunks"), a, b)
    assert sum(decoded) == 2 * a.nbytes


def test_equal_chunks_of_other_elements(tmp_path: Path):
    """What has moved is a change, though both have the same chunks."""
    first, second = random_tensor(torch.int32, (1024,), 1), random_tensor(torch.int32, (1024,), 2)
    a, b = torch.cat([first, second]), torch.cat([second, first])
    assert_difference(only(tmp_path, a, b, "small chunks", "small chunks"), a, b)


# --- what can't be read -----------------------------------------------------------------------------------------------


def test_damage(tmp_path: Path):
    """Only its own row says so; what is proven equal isn't read, so that damage to it isn't seen."""
    a = {name: weights(torch.float32, (300, 300), seed) for seed, name in enumerate(["x", "y", "z"])}
    b = a | {"x": a["x"] + 1, "y": a["y"] + 1}
    paths = saved(tmp_path, a, b)
    for name in ("x", "z"):
        info = stored(paths[1])[name]
        flip(data_file(paths[1]), info.offset + info.length // 2)
    found = diff(*paths)
    assert changes(found) == {"x": "unreadable", "y": "changed", "z": "same"}
    (error,) = found.errors
    assert isinstance(error, dcpx.CorruptError)
    assert error.where.item == "x"
    assert str(paths[1]) in str(error.where.file)
    assert [row[-1] for row in found.table().rows] == [error.cause, None]


@every_writer
def test_a_file_that_is_gone(writer: str, tmp_path: Path):
    state = {"x": torch.ones(3), "o": 1}
    paths = saved(tmp_path, state, {"x": torch.zeros(3), "o": 2}, (writer, writer))
    for file in paths[0].glob("*.distcp"):
        file.unlink()
    found = diff(*paths)
    assert set(changes(found).values()) == {"unreadable"}
    assert {type(error) for error in found.errors} == {dcpx.MissingFileError}


def test_a_checkpoint_that_is_replaced(tmp_path: Path):
    a, b = saved(tmp_path, {"x": torch.ones(3), "y": torch.ones(3)}, {"x": torch.zeros(3), "y": torch.zeros(3)})

    replaced: list[bool] = []

    def replace(progress: Progress) -> None:
        if progress.bytes_done == 0 and not replaced:
            replaced.append(True)
            dcpx.save({"x": torch.zeros(3000)}, b, sync=False, overwrite=True)

    with pytest.raises(dcpx.ReplacedError):
        dcpx.diff(a, b, threads=0, progress=replace)


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 1, "budget": 1}, {"threads": 3}], ids=str)
def test_options(options: dict[str, Any], tmp_path: Path):
    a = {**STATE, "flag": True, **{f"small {number}": torch.full((9,), number) for number in range(600)}}
    b = {**a, "middle": a["middle"] + 1, "small 7": torch.zeros(9, dtype=torch.int64), "flag": False, "more": 2}
    told: list[Progress] = []
    found = diff(*saved(tmp_path, a, b), progress=told.append, **options)
    others = {name: change for name, change in changes(found).items() if change != "same"}
    assert others == {"middle": "changed", "small 7": "changed", "flag": "changed", "more": "added"}
    assert told[-1].bytes_done == told[-1].bytes_total
    assert told[-1].items_done == told[-1].items_total


def test_a_store_far_away(decoded: list[int]):
    """Where each read is a request, what is equal is proven by the workers."""
    root = f"memory://{uuid4()}"
    for name, state in (("a", STATE), ("b", STATE), ("c", STATE | {"middle": STATE["middle"] * 2})):
        dcpx.save(state, f"{root}/{name}")
    assert dcpx.diff(f"{root}/a", f"{root}/b").is_same
    assert decoded == []
    found = dcpx.diff(f"{root}/a", f"{root}/c")
    assert {name for name, change in changes(found).items() if change != "same"} == {"middle"}
    assert_difference(found.items[1].elements, STATE["middle"], STATE["middle"] * 2)


def test_globs(tmp_path: Path):
    paths = saved(tmp_path, {"a.x": torch.ones(1), "b.x": torch.ones(1)}, {"a.x": torch.ones(1), "a.y": torch.ones(1)})
    assert changes(diff(*paths, "a.*")) == {"a.x": "same", "a.y": "added"}
    assert changes(diff(*paths, "b.*")) == {"b.x": "removed"}
    with pytest.raises(dcpx.LoadError, match=r"the nearest are 'a\.x"):
        diff(*paths, "a,x")


@rank_local
def test_ranks_by_themselves(tmp_path: Path):
    for name, value in (("a", 1.0), ("b", 2.0)):
        dcp.save({"x": torch.tensor(value)}, storage_writer=dcpx.Writer(tmp_path / name), use_collectives=False)
    (item,) = diff(tmp_path / "a", tmp_path / "b").items
    assert (item.own_rank, item.change) == (0, "changed")


def test_wrong_arguments(tmp_path: Path):
    a = save({"x": torch.ones(1)}, tmp_path / "a")
    for paths in ((a, tmp_path / "missing"), (tmp_path / "missing", a)):
        with pytest.raises(dcpx.NotFoundError):
            diff(*paths)
    with pytest.raises(ValueError, match="threads must be"):
        diff(a, a, threads=-1)


def test_values_for_others(tmp_path: Path):
    a, b = {"<b>": torch.zeros(4), "y": 1}, {"<b>": torch.tensor([0.0, 0, 3, 4]), "z": torch.ones(1)}
    found = diff(*saved(tmp_path, a, b))
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (shown["schema"], shown["a"], shown["b"]) == ("dcpx.diff/1", str(tmp_path / "a"), str(tmp_path / "b"))
    assert (shown["counts"]["changed"], shown["counts"]["same"], shown["in_common"]) == (1, 0, 1)
    figures = {"count": 4, "compared": 4, "changed": 2, "share": 0.5, "maximum": 4.0, "mean": 1.75, "norm": 5.0}
    names = {"name": "<b>", "own_rank": None, "change": "changed", "dtypes": ["float32"] * 2, "shapes": [[4], [4]]}
    counts = {"relative": None, "nans": [0, 0], "infinities": [0, 0]}
    assert shown["items"][0] == {**names, "elements": figures | counts, "error": None}
    assert [row[:4] for row in found.table().rows] == [
        ("<b>", "changed", "float32", "4"),
        ("y", "removed", "object", ""),
        ("z", "added", "float32", "1"),
    ]
    assert "<b>" not in found._repr_html_()


def test_no_torch(tmp_path: Path):
    other = STATE | {"middle": STATE["middle"] + 1, "quantized": OTHER_QUANTIZED}
    for writers in (("pack", "pack"), ("stock", "pack")):
        a, b = saved(tmp_path / writers[0], STATE, other, writers)
        script = f"""
import sys
sys.modules["torch"] = None
import dcpx
found = dcpx.diff({str(a)!r}, {str(b)!r})
print({{item.name: item.change for item in found.items}})
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout.strip() == str(changes(diff(a, b))), done.stderr


# --- distances --------------------------------------------------------------------------------------------------------

PAIRS = st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), max_size=30)


@given(PAIRS, st.integers(0, 30))
def test_distances_of_pieces_add_up(pairs: list[tuple[float, float]], cut: int):
    a, b = (np.array([pair[side] for pair in pairs], np.float32) for side in (0, 1))
    found = distance_of(("float32", "float32"), a[:cut], b[:cut])
    found.add(distance_of(("float32", "float32"), a[cut:], b[cut:]))
    changed = [
        (x, y)
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
        if np.float32(x).tobytes() != np.float32(y).tobytes()
    ]
    apart = [abs(x - y) for x, y in changed if math.isfinite(x) and math.isfinite(y)]
    finite = [x for x in a.tolist() if math.isfinite(x)]
    assert (found.compared, found.changed, found.apart) == (len(a), len(changed), len(changed) - len(apart))
    assert found.maximum == pytest.approx(max(apart, default=0), rel=1e-6)
    assert float(found.total) == pytest.approx(math.fsum(apart), rel=1e-6)
    assert found.norm == pytest.approx(math.hypot(*apart), rel=1e-5)
    assert float(found.own_squares) == pytest.approx(math.fsum(x * x for x in finite), rel=1e-5)
    assert found.nans == [sum(map(math.isnan, side.tolist())) for side in (a, b)]
    assert found.infinities == [sum(map(math.isinf, side.tolist())) for side in (a, b)]


def test_nothing_is_far_from_nothing():
    nothing = np.empty(0, np.float32)
    assert distance_of(("float32", "float32"), nothing, nothing) == Distance()
