"""Equal tensors of one save are stored once: whoever reads them gets each, and nothing that only resembles another."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import DefaultSavePlanner, FileSystemReader
from torch.distributed.checkpoint.planner import WriteItem
from xxhash import xxh3_64_intdigest

import dcpx
from dcpx import CorruptError, Pack, default_registry
from tests.support.files import data_file, flip, manifest_file, reseal, seal, stored
from tests.support.tensors import bits, blank, weights

SHAPE = (300, 200)


def one(seed: int = 1) -> torch.Tensor:
    return weights(torch.bfloat16, SHAPE, seed)


def changed(tensor: torch.Tensor, at: int) -> torch.Tensor:
    """The tensor with one bit of one element flipped."""
    other = tensor.clone()
    other.view(torch.int16).view(-1)[at] ^= 1
    return other


def state() -> dict[str, torch.Tensor]:
    tensor = one()
    return {
        "weight": tensor,
        "tied": tensor,
        "ema": tensor.clone(),
        "view": torch.cat([tensor, one(2)])[: SHAPE[0]],
        "other": one(3),
        "turned": tensor.t(),
        "turned too": tensor.t(),
        "small": torch.ones(100),
        "small too": torch.ones(100),
    }


def place(info: Any) -> tuple[str, int, int]:
    return info.relative_path, info.offset, info.length


def places(path: Path) -> dict[str, tuple[str, int, int]]:
    return {name: place(info) for name, info in stored(path).items()}


def assert_loads(path: Path, saved: dict[str, Any], load: Callable[[dict[str, Any]], object]) -> None:
    loaded = {name: blank(value) for name, value in saved.items()}
    load(loaded)
    for name, value in saved.items():
        assert bits(loaded[name]) == bits(value), name


def test_equal_tensors_are_at_one_place(tmp_path: Path):
    dcpx.save(state(), tmp_path)
    found = places(tmp_path)
    assert found["weight"] == found["tied"] == found["ema"] == found["view"]
    assert found["turned"] == found["turned too"] != found["weight"]
    assert found["small"] != found["small too"]  # so little isn't worth it
    assert len(set(found.values())) == 5
    assert sum(length for _, _, length in set(found.values())) == data_file(tmp_path).stat().st_size
    assert_loads(tmp_path, state(), lambda loaded: dcpx.load(loaded, tmp_path))


def test_a_copy_costs_less_than_a_thousandth(tmp_path: Path):
    tensor = weights(torch.bfloat16, (2000, 1000), 1)
    sizes = []
    for count in (1, 11):
        path = tmp_path / str(count)
        dcpx.save({f"layers.{number}.weight": tensor.clone() for number in range(count)}, path)
        sizes.append(sum(file.stat().st_size for file in path.iterdir()))
    assert (sizes[1] - sizes[0]) / 10 < sizes[0] / 1000


def test_stock_dcp_reads_each(tmp_path: Path):
    dcpx.save(state(), tmp_path)
    reader = FileSystemReader(tmp_path, _extension_registry=default_registry())
    assert_loads(tmp_path, state(), lambda loaded: dcp.load(loaded, storage_reader=reader))


@pytest.mark.parametrize("names", [["ema"], ["tied", "other"], ["view", "turned too"], ["weight"]])
def test_some_of_them(tmp_path: Path, names: list[str]):
    dcpx.save(state(), tmp_path)
    assert_loads(tmp_path, {name: state()[name] for name in names}, lambda loaded: dcpx.load(loaded, tmp_path))


@pytest.mark.parametrize("at", [0, 1, 17, 20_000, 29_999, 59_998, 59_999])
def test_a_bit_makes_another_tensor(tmp_path: Path, at: int):
    saved = {"weight": one(), "like it": changed(one(), at), "equal": one()}
    dcpx.save(saved, tmp_path, pack=Pack(chunk_size=4096))
    found = places(tmp_path)
    assert found["weight"] == found["equal"] != found["like it"]
    assert_loads(tmp_path, saved, lambda loaded: dcpx.load(loaded, tmp_path))


def test_equal_bytes_of_another_kind(tmp_path: Path):
    zeros = torch.zeros(120, 200)
    saved = {
        "f32": zeros,
        "i32": zeros.to(torch.int32),
        "shape": zeros.view(200, 120),
        "negative": -zeros,
        "nan": zeros + float("nan"),
        "nan too": zeros + float("nan"),
    }
    dcpx.save(saved, tmp_path)
    found = places(tmp_path)
    assert found["nan"] == found["nan too"]
    assert len(set(found.values())) == 5
    assert_loads(tmp_path, saved, lambda loaded: dcpx.load(loaded, tmp_path))


def test_equal_but_coded_otherwise(tmp_path: Path):
    pack = Pack(policy=lambda item: "raw" if item.fqn == "raw" else "small" if "small" in item.fqn else None)
    saved = {"a": one(), "raw": one(), "b": one(), "small": one(), "small too": one()}
    dcpx.save(saved, tmp_path, pack=pack)
    found = places(tmp_path)
    assert found["a"] == found["b"]
    assert len({found["a"], found["raw"], found["small"]}) == 3
    assert_loads(tmp_path, saved, lambda loaded: dcpx.load(loaded, tmp_path))


def test_files_of_their_own_hold_everything(tmp_path: Path):
    dcp.save(state(), storage_writer=dcpx.Writer(tmp_path, single_file_per_rank=False))
    assert len({file for file, _, _ in places(tmp_path).values()}) == len(state())


def test_one_hash_of_two_contents(tmp_path: Path):
    """Bytes that differ and have one XXH3-64: at two places the upper halves cancel the hash's own secret, which is
    known, and only the sum of the lower ones counts."""
    one = np.random.default_rng(0).integers(0, 256, 8192, np.uint8)
    other = one.copy()
    for stripe, words in ((4, (1_000_000, 1_012_345)), (7, (2_000_000, 1_987_655))):
        upper = int.from_bytes(SECRET[8 * stripe + 8 :][:8], "little") >> 32 << 32
        for content, word in zip((one, other), words, strict=True):
            content[64 * stripe + 8 :][:8] = np.frombuffer((upper | word).to_bytes(8, "little"), np.uint8)
    assert xxh3_64_intdigest(one.tobytes()) == xxh3_64_intdigest(other.tobytes())
    saved = {"a": torch.from_numpy(one), "b": torch.from_numpy(other)}
    dcpx.save(saved, tmp_path)
    assert_loads(tmp_path, saved, lambda loaded: dcpx.load(loaded, tmp_path))


SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578"
    "825ad07dccff7221b8084674f743248ee03590e6813a264c3c2852bb91c300cb"
)
"""How XXH3's default secret begins."""


def test_conversions(tmp_path: Path):
    dcpx.save(state(), tmp_path / "a")
    dcpx.convert(tmp_path / "a", tmp_path / "b", pack=Pack(level="small"))
    assert len(set(places(tmp_path / "b").values())) == 5
    dcpx.convert(tmp_path / "b", tmp_path / "c.safetensors")
    dcpx.convert(tmp_path / "c.safetensors", tmp_path / "d")
    assert len(set(places(tmp_path / "d").values())) == 5
    assert_loads(tmp_path / "d", state(), lambda loaded: dcpx.load(loaded, tmp_path / "d"))


def test_objects_share_nothing(tmp_path: Path):
    """Their frames say which they are, whatever lies where, in the metadata and in a manifest that agrees."""
    dcpx.save({"x": "one" * 4000, "y": "two" * 4000, "z": one()}, tmp_path)
    redirected(tmp_path, "y", "x")
    reseal(tmp_path)
    with pytest.raises(CorruptError, match="the stored item is 'x'"):
        dcpx.load({"y": ""}, tmp_path)
    assert "y" in dcpx.verify(tmp_path).lost


class Staging(DefaultSavePlanner):
    """Gives every tensor in the same memory, one after another, as a planner may that brings them from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = torch.empty(SHAPE, dtype=torch.bfloat16)

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        data = super().resolve_data(write_item)
        assert isinstance(data, torch.Tensor)
        if data.shape != SHAPE:
            return data
        return self.memory.copy_(data)


def test_memory_that_is_used_again(tmp_path: Path):
    """Without threads each tensor is encoded before the next one is asked for."""
    saved = {name: value for name, value in state().items() if value.shape == SHAPE}
    writer = dcpx.Writer(tmp_path, threads=0)
    with pytest.warns(dcpx.DcpxWarning, match="written to while"):
        dcp.save(saved, storage_writer=writer, planner=Staging())
    found = places(tmp_path)
    assert found["other"] != found["weight"]


class Moving(DefaultSavePlanner):
    """Gives another value each time that it is asked for one."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        data = super().resolve_data(write_item)
        assert isinstance(data, torch.Tensor)
        self.asked += 1
        return changed(data, 30_000) if self.asked > 3 and write_item.index.fqn == "b" else data


def test_a_copy_that_has_changed_meanwhile_is_stored(tmp_path: Path):
    saved = {"a": one(), "b": one(), "c": one(3)}
    dcp.save(saved, storage_writer=dcpx.Writer(tmp_path), planner=Moving())
    assert len(set(places(tmp_path).values())) == 3
    expected = {"a": one(), "b": changed(one(), 30_000), "c": one(3)}
    assert_loads(tmp_path, expected, lambda loaded: dcpx.load(loaded, tmp_path))


def test_seen_once(tmp_path: Path):
    dcpx.save(state(), tmp_path)
    summary = dcpx.inspect(tmp_path)
    copies = {item.name: item.parts[0].copy_of for item in summary.items if item.parts[0].copy_of}
    assert copies == {"tied": "weight", "ema": "weight", "view": "weight", "turned too": "turned"}
    assert summary.stored == data_file(tmp_path).stat().st_size
    estimate = dcpx.estimate(tmp_path)
    assert estimate.stored == summary.stored
    (level,) = (level for level in estimate.levels if level.level == "fast")
    assert level.stored < 1.05 * summary.stored
    report = dcpx.verify(tmp_path)
    assert report
    assert report.nbytes == summary.stored
    assert sorted(report.whole) == sorted(state())
    assert dcpx.verify(tmp_path, quick=True)


@pytest.mark.parametrize("shape", [SHAPE, (2000, 1000)])
def test_damage_names_all_that_stands_on_it(tmp_path: Path, shape: tuple[int, int]):
    tensor = weights(torch.bfloat16, shape, 1)
    saved = {"weight": tensor, "tied": tensor, "ema": tensor.clone(), "other": weights(torch.bfloat16, shape, 2)}
    dcpx.save(saved, tmp_path)
    _, offset, length = places(tmp_path)["weight"]
    flip(data_file(tmp_path), offset + length // 2)
    report = dcpx.verify(tmp_path)
    assert sorted(report.lost) == ["ema", "tied", "weight"]
    assert {problem.item for problem in report.problems} == {"ema", "tied", "weight"}
    for name in saved:
        loaded = {name: blank(saved[name])}
        if name == "other":
            dcpx.load(loaded, tmp_path)
        else:
            with pytest.raises(CorruptError, match=name) as raised:
                dcpx.load(loaded, tmp_path)
            assert all(repr(other) in str(raised.value) for other in ("weight", "tied", "ema"))
    loaded = {name: blank(value) for name, value in saved.items()}
    failures = dcpx.load(loaded, tmp_path, partial=True)
    assert sorted(failures) == ["ema", "tied", "weight"]
    assert bits(loaded["other"]) == bits(saved["other"])


def redirected(path: Path, name: str, to: str) -> None:
    """Let the metadata say that an item is where another one is, and the manifest agree with it."""
    metadata = pickle.loads((path / ".metadata").read_bytes())
    infos = {index.fqn: (index, info) for index, info in metadata.storage_data.items()}
    metadata.storage_data[infos[name][0]] = infos[to][1]
    (path / ".metadata").write_bytes(pickle.dumps(metadata))


def test_another_items_place_is_refused_unless_the_manifest_seals_it(tmp_path: Path):
    saved = {"a": one(1), "b": one(2)}
    dcpx.save(saved, tmp_path)
    redirected(tmp_path, "b", "a")
    with pytest.raises(CorruptError, match="isn't what the manifest says"):
        dcpx.load({"b": blank(saved["b"])}, tmp_path)
    items = json.loads(manifest_file(tmp_path).read_bytes())["items"]
    reseal(tmp_path)
    members = json.loads(manifest_file(tmp_path).read_bytes())
    del members["checksum"]
    manifest_file(tmp_path).write_bytes(seal(members | {"items": items}))
    with pytest.raises(CorruptError, match="isn't the one that the manifest names"):
        dcpx.load({"b": blank(saved["b"])}, tmp_path)
    assert "b" in dcpx.verify(tmp_path).lost


def test_copies_without_a_manifest(tmp_path: Path):
    """The place alone says so, too: a partial load does without the manifest."""
    dcpx.save(state(), tmp_path)
    manifest_file(tmp_path).unlink()
    loaded = {name: blank(value) for name, value in state().items()}
    dcpx.load(loaded, tmp_path, partial=True)
    for name, value in state().items():
        assert bits(loaded[name]) == bits(value), name


def test_a_place_of_another_length_is_no_copys(tmp_path: Path):
    saved = {"a": one(1), "b": one(2)}
    dcpx.save(saved, tmp_path)
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    a, b = metadata.storage_data
    metadata.storage_data[b].offset = metadata.storage_data[a].offset
    metadata.storage_data[b].length = metadata.storage_data[a].length + 1
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    reseal(tmp_path)
    with pytest.raises(CorruptError):
        dcpx.load({"b": blank(saved["b"])}, tmp_path)


def test_another_shape_is_no_copys(tmp_path: Path):
    saved = {"a": one(1), "b": one(2).view(200, 300)}
    dcpx.save(saved, tmp_path)
    redirected(tmp_path, "b", "a")
    reseal(tmp_path)
    with pytest.raises(CorruptError, match="the metadata says"):
        dcpx.load({"b": blank(saved["b"])}, tmp_path)
