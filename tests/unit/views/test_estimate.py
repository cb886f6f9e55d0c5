"""estimate: with all elements read, exactly what a save stores; with samples, about that, and always the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx.catalog.items import StoredItem
from dcpx.catalog.plain import MetadataIndex, Size, StorageInfo
from dcpx.progress import Progress
from dcpx.views.elements import Piece
from dcpx.views.sampling import LEVELS, chosen
from dcpx.views.summary import inspect
from tests.support.files import data_file, flip, stored
from tests.support.leaks import nothing_left
from tests.support.sharded import sharded
from tests.support.tensor_kinds import KINDS
from tests.support.tensors import DTYPES, random_tensor, weights

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")

TENSORS: dict[str, torch.Tensor] = {
    "large": weights(torch.bfloat16, (3000, 2001), 1),
    "middle": weights(torch.float32, (200, 130), 2),
    "sorted": torch.arange(200_000),
    "zeros": torch.zeros(300, 1000),
    "noise": random_tensor(torch.uint8, (70_000,), 3),
    "one": torch.tensor(1.0),
    "empty": torch.zeros(3, 0),
    "almost small": torch.ones(1023),
    "just large": torch.ones(1024),
    **{f"of {name}": weights(dtype, (90, 70), 4) for name, dtype in DTYPES.items() if dtype.is_floating_point},
}
STATE: dict[str, Any] = TENSORS | {"object": {"a": b"b" * 9999}}
PACKS = {"fast": dcpx.Pack(), "small": dcpx.Pack(level="small"), "plain": None}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The state, at each level and by stock DCP."""
    root = tmp_path_factory.mktemp("estimated")
    for level, pack in PACKS.items():
        dcpx.save(STATE, root / level, pack=pack, sync=False)
    dcp.save(STATE, storage_writer=FileSystemWriter(root / "stock", sync_files=False))
    return {name: root / name for name in (*PACKS, "stock")}


def estimate(path: Path, *arguments: Any, **options: Any) -> dcpx.Estimate:
    with nothing_left():
        return dcpx.estimate(path, *arguments, **options)


def stored_of(found: dcpx.Estimate) -> dict[str, int]:
    return {one.level: one.stored for one in found.levels}


def stored_at(path: Path) -> int:
    return sum(item.stored for item in inspect(path).tensors)


@pytest.mark.parametrize("source", [*PACKS, "stock"])
def test_what_a_save_stores(source: str, saved: dict[str, Path]):
    """Whatever wrote the checkpoint."""
    found = estimate(saved[source])
    assert found.errors == []
    assert found.sampled == pytest.approx(1, abs=0.01)  # small tensors needn't be read
    assert found.nbytes == sum(tensor.nbytes for tensor in TENSORS.values())
    assert found.stored == stored_at(saved[source])
    levels = stored_of(found)
    assert list(levels) == list(LEVELS)
    assert levels["fast"] == stored_at(saved["fast"])
    assert levels["small"] == stored_at(saved["small"])
    assert levels["plain"] == stored_at(saved["plain"])


def test_many_small_tensors(tmp_path: Path):
    """Of which torch's files are several times as large."""
    dcpx.save({f"t{number}": torch.randn(50) for number in range(400)}, tmp_path / "plain", pack=None, sync=False)
    found = estimate(tmp_path / "plain")
    assert stored_of(found)["plain"] == found.stored == stored_at(tmp_path / "plain") > 8 * found.nbytes


def test_times(saved: dict[str, Path]):
    for one in estimate(saved["stock"]).levels:
        assert one.encode_seconds > 0
        assert one.decode_seconds > 0
        assert one.encode_rate == one.nbytes / one.encode_seconds
        assert one.decode_rate == one.nbytes / one.decode_seconds
        assert one.ratio == one.stored / one.nbytes


def test_dtypes(saved: dict[str, Path]):
    found = {one.dtype: one for one in estimate(saved["fast"]).dtypes}
    items = [item for item in inspect(saved["fast"]).tensors if item.dtype == "float32"]
    assert (found["float32"].tensors, found["float32"].nbytes) == (len(items), sum(item.nbytes for item in items))
    assert found["float32"].stored == found["float32"].levels[0].stored == sum(item.stored for item in items)
    assert sum(one.tensors for one in found.values()) == len(TENSORS)


def test_parts_with_names_and_offsets(tmp_path: Path):
    """Headers are as long as names and offsets make them."""
    tensor = weights(torch.float32, (300, 200), 2)
    state = {"x" * 200: sharded(tensor, [100, 250], [150]), "y": sharded(tensor, [299], [])}
    dcp.save(state, storage_writer=dcpx.Writer(tmp_path / "c", sync_files=False))
    assert stored_of(estimate(tmp_path / "c"))["fast"] == stored_at(tmp_path / "c")


def test_samples(tmp_path: Path):
    """A few MiB stand for all, also of tensors that are as different as weights and constants."""
    state = {f"weights {number}": weights(torch.bfloat16, (512, 2048), number) for number in range(12)}
    state |= {f"constant {number}": torch.full((512, 2048), number, dtype=torch.bfloat16) for number in range(12)}
    dcpx.save(state, tmp_path / "c", sync=False)
    found = estimate(tmp_path / "c", sample=16 << 20)
    assert 0.2 < found.sampled < 0.4
    assert stored_of(found)["fast"] == pytest.approx(stored_at(tmp_path / "c"), rel=0.02)
    assert stored_of(found) == stored_of(estimate(tmp_path / "c", sample=16 << 20, threads=0))
    assert 0 < estimate(tmp_path / "c", sample=1).sampled < 0.1


def test_what_no_frame_codes(tmp_path: Path):
    """Dtypes that a frame doesn't know, and tensors that are more than elements."""
    dcpx.save({"q": KINDS["quantized"], "x": torch.ones(5000)}, tmp_path / "c", sync=False)
    found = estimate(tmp_path / "c")
    assert [one.dtype for one in found.dtypes] == ["float32"]
    assert (found.left_out, found.nbytes) == (KINDS["quantized"].numel(), 20_000)


def test_damage(tmp_path: Path):
    """Other samples stand for one that can't be read."""
    state = {name: weights(torch.float32, (300, 300), seed) for seed, name in enumerate(["a", "b", "c"])}
    state["alone"] = weights(torch.bfloat16, (300, 300), 5)
    dcpx.save(state, tmp_path / "c", sync=False)
    whole = stored_at(tmp_path / "c")
    lost = inspect(tmp_path / "c").items[-1].stored
    for name in ("b", "alone"):
        info = stored(tmp_path / "c")[name]
        flip(data_file(tmp_path / "c"), info.offset + info.length // 2)
    found = estimate(tmp_path / "c")
    assert [error.where.item for error in found.errors] == ["b", "alone"]
    assert {type(error) for error in found.errors} == {dcpx.CorruptError}
    assert found.left_out == state["alone"].nbytes
    assert stored_of(found)["fast"] == pytest.approx(whole - lost, rel=0.01)


@pytest.mark.parametrize("count", [3000, 3])
def test_a_file_that_is_gone(count: int, tmp_path: Path):
    """Also where all of it is small, so that nothing of it need be read."""
    dcpx.save({"x": torch.ones(count)}, tmp_path / "c", sync=False)
    data_file(tmp_path / "c").unlink()
    found = estimate(tmp_path / "c")
    assert [type(error) for error in found.errors] == [dcpx.MissingFileError]
    assert (found.dtypes, found.left_out) == ([], 4 * count)
    assert found.errors[0].where.item == "x"
    assert found.table().rows[-1][:3] == ("left out", None, 4 * count)


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 1, "budget": 1}, {"threads": 3}], ids=str)
def test_options(options: dict[str, Any], saved: dict[str, Path]):
    told: list[Progress] = []
    found = estimate(saved["fast"], progress=told.append, **options)
    assert stored_of(found)["fast"] == stored_at(saved["fast"])
    assert found.threads == max(options["threads"], 1)
    assert told[-1].bytes_done == told[-1].bytes_total == sum(one.sampled for one in found.dtypes)
    assert told[-1].items_done == told[-1].items_total


def test_globs_and_objects(saved: dict[str, Path]):
    found = estimate(saved["fast"], "l*")
    assert (found.nbytes, found.objects) == (TENSORS["large"].nbytes, 0)
    found = estimate(saved["fast"], "object*")
    assert (found.nbytes, found.dtypes, found.sampled) == (0, [], 1)
    assert found.objects == sum(item.stored for item in inspect(saved["fast"]).objects)
    assert [(one.stored, one.ratio, one.encode_rate) for one in found.levels] == [(0, None, None)] * 3
    with pytest.raises(dcpx.LoadError, match="no name matches"):
        estimate(saved["fast"], "nothing")


def test_wrong_arguments(tmp_path: Path):
    with pytest.raises(dcpx.NotFoundError):
        estimate(tmp_path)
    for options in ({"sample": 0}, {"sample": 1.5}, {"threads": -1}):
        with pytest.raises(ValueError, match="must be"):
            estimate(tmp_path, **options)


def test_values_for_others(saved: dict[str, Path]):
    found = estimate(saved["fast"])
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (shown["schema"], shown["stored"]) == ("dcpx.estimate/1", found.stored)
    assert [one["level"] for one in shown["levels"]] == ["fast", "small", "plain"]
    assert [one["dtype"] for one in shown["dtypes"]] == [one.dtype for one in found.dtypes]
    assert shown["dtypes"][0]["levels"][0]["stored"] == found.dtypes[0].levels[0].stored
    rows = found.table().rows
    assert [row[:2] for row in rows[:4]] == [("all", "now"), ("all", "fast"), ("all", "small"), ("all", "plain")]
    assert rows[0][3] == rows[1][3] == found.stored
    assert found._repr_html_().count("<tr>") == 1 + len(rows)


def test_no_torch(saved: dict[str, Path]):
    for name in ("fast", "stock"):
        script = f"""
import sys
sys.modules["torch"] = None
import dcpx
print({{one.level: one.stored for one in dcpx.estimate({str(saved[name])!r}).levels}})
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout.strip() == str(stored_of(estimate(saved[name]))), done.stderr


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.floats(0.001, 2))
def test_samples_stand_for_all(sizes: list[int], share: float):
    place = StorageInfo("file", 0, 1)
    parts = [StoredItem(place, MetadataIndex("x", Size((0,))), None, (size,), "uint8") for size in sizes]
    pieces = [Piece(part, 0, size) for part, size in zip(parts, sizes, strict=True)]
    found = chosen(pieces, share)
    assert sum(one.weight for one in found) == pytest.approx(sum(sizes))
    assert 1 <= len(found) <= len(pieces)
    assert len({id(one.piece.part) for one in found}) == len(found)
    if share >= 1:
        assert [one.piece for one in found] == pieces
    assert found == chosen(pieces, share)
