"""`dcpx.convert` between all formats: bit for bit, under new names and dtypes, and whole or not at all."""

from __future__ import annotations

import datetime
import json
import os
import warnings
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import dcpx
from dcpx.formats import conversion
from dcpx.formats.safetensors import _DTYPES
from tests.formats.kinds import KINDS, NESTED, WEIGHTS, assert_same, read, written
from tests.support.tensors import bits, random_tensor


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("dst", KINDS)
@pytest.mark.parametrize("src", KINDS)
def test_every_way(src: str, dst: str, tmp_path: Path):
    begin = written(src, tmp_path)
    end = tmp_path / "out" / {"safetensors": "y.safetensors", "torch": "y.pt"}.get(dst, "y")
    done = dcpx.convert(begin, end, to=dst)  # type: ignore[arg-type]
    assert (done.kind, done.tensors) == (dst, len(WEIGHTS))
    assert done.nbytes == sum(tensor.nbytes for tensor in WEIGHTS.values())
    assert_same(read(dst, end), WEIGHTS)
    assert os.listdir(end.parent) == [end.name], "nothing is left beside it"
    if dst == "dcpx":
        assert dcpx.verify(end).ok


def test_the_kind_by_its_suffix(tmp_path: Path):
    begin = written("dcpx", tmp_path)
    for name, kind in {"a.safetensors": "safetensors", "b.pt": "torch", "c.bin": "torch", "d": "dcpx"}.items():
        assert dcpx.convert(begin, tmp_path / name).kind == kind
        assert_same(read(kind, tmp_path / name), WEIGHTS)


def test_neighbours_come_along(tmp_path: Path):
    begin = written("huggingface", tmp_path)
    dcpx.convert(begin, tmp_path / "c")
    assert (tmp_path / "c" / "config.json").read_text() == '{"hidden": 70}'
    assert dcpx.verify(tmp_path / "c").ok
    dcpx.convert(tmp_path / "c", tmp_path / "back", to="huggingface", max_shard_bytes=30_000)
    names = sorted(os.listdir(tmp_path / "back"))
    assert {"config.json", "tokenizer.json", "model.safetensors.index.json"} < set(names)
    assert sum(name.startswith("model-0000") for name in names) > 1
    index = json.loads((tmp_path / "back" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in WEIGHTS.values())
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "back" / file, "pt") as opened:
            assert bits(opened.get_tensor(name)) == bits(WEIGHTS[name])


def test_what_safetensors_keeps_beside(tmp_path: Path):
    dcpx.convert(written("safetensors", tmp_path), tmp_path / "c")
    dcpx.convert(tmp_path / "c", tmp_path / "back.safetensors")
    with safe_open(tmp_path / "back.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt", "origin": "a test"}


def test_new_names_and_dtypes(tmp_path: Path):
    begin = written("safetensors", tmp_path)

    def rename(name: str) -> str | None:
        return None if name.startswith("model.") else f"new.{name}"

    dcpx.convert(begin, tmp_path / "a", names=rename, dtype=torch.bfloat16)
    assert_same(
        read("dcpx", tmp_path / "a"),
        {f"new.{name}": WEIGHTS[name] for name in ("ids", "mask")}
        | {"new.lm_head.weight": WEIGHTS["lm_head.weight"].bfloat16()},
    )
    dcpx.convert(tmp_path / "a", tmp_path / "b.safetensors", names={"new.ids": "ids"}, dtype=torch.float32)
    found = load_file(tmp_path / "b.safetensors")
    assert found.keys() == {"ids", "new.mask", "new.lm_head.weight"}
    assert found["new.lm_head.weight"].dtype == torch.float32


@pytest.mark.parametrize("kind", ["dcpx", "dcp", "torch"])
def test_nested_states_stay_nested(kind: str, tmp_path: Path):
    torch.save(NESTED, tmp_path / "x.pt")
    path = tmp_path / ("y.pt" if kind == "torch" else "y")
    dcpx.convert(tmp_path / "x.pt", path, to=kind)  # type: ignore[arg-type]
    found = torch.load(path) if kind == "torch" else dcpx.load_all(path)
    assert torch.equal(found["model"]["layers"][1]["w"], NESTED["model"]["layers"][1]["w"])  # type: ignore[index]
    assert (found["step"], found["opt"]) == (7, {"lr": [0.1, None]})
    dcpx.convert(path, tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt")
    assert torch.equal(back["model"]["layers"][0]["w"], NESTED["model"]["layers"][0]["w"])  # type: ignore[index]
    assert back["step"] == 7


def test_objects_that_a_format_can_not_hold(tmp_path: Path):
    torch.save(NESTED, tmp_path / "x.pt")
    with pytest.raises(dcpx.SaveError, match=r"tensors only.*skip_objects"):
        dcpx.convert(tmp_path / "x.pt", tmp_path / "y.safetensors")
    assert os.listdir(tmp_path) == ["x.pt"]
    done = dcpx.convert(tmp_path / "x.pt", tmp_path / "y.safetensors", skip_objects=True)
    assert "step" in done.left_out
    assert load_file(tmp_path / "y.safetensors").keys() == {"model.layers.0.w", "model.layers.1.w"}


def test_sharded_checkpoints_come_together(tmp_path: Path):
    """As ranks store them: each its rows, here by a planner's own hand."""
    from torch.distributed._shard.sharded_tensor import ShardedTensor  # noqa: F401
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
    from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType

    whole = random_tensor(torch.float32, (10, 7))

    class Rows(dcp.DefaultSavePlanner):
        def create_local_plan(self) -> SavePlan:
            self.plan = SavePlan(
                [
                    WriteItem(
                        MetadataIndex("w", torch.Size([row, 0]), number),
                        WriteItemType.SHARD,
                        tensor_data=TensorWriteData(
                            ChunkStorageMetadata(torch.Size([row, 0]), torch.Size([min(3, 10 - row), 7])),
                            TensorProperties.create_from_tensor(whole),
                            whole.size(),
                        ),
                    )
                    for number, row in enumerate(range(0, 10, 3))
                ]
            )
            return self.plan

        def resolve_data(self, write_item: WriteItem) -> torch.Tensor:
            row = write_item.index.offset[0]  # type: ignore[index]
            return whole[row : row + 3]

    dcp.save(
        {"w": whole}, storage_writer=dcpx.Writer(tmp_path / "c"), planner=Rows(flatten_state_dict=False), no_dist=True
    )
    dcpx.convert(tmp_path / "c", tmp_path / "w.safetensors")
    assert bits(load_file(tmp_path / "w.safetensors")["w"]) == bits(whole)


def test_an_address(tmp_path: Path):
    begin = written("safetensors", tmp_path)
    dcpx.convert(begin, f"memory:/{tmp_path}/c")
    dcpx.convert(f"memory:/{tmp_path}/c", tmp_path / "back.safetensors")
    assert_same(load_file(tmp_path / "back.safetensors"), WEIGHTS)
    with pytest.raises(ValueError, match="only a dcpx checkpoint"):
        dcpx.convert(begin, "memory://x/y.safetensors", to="safetensors")


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_any_weights(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    tmp_path = tmp_path_factory.mktemp("any")
    dtypes = [dtype for name in _DTYPES.values() if (dtype := getattr(torch, name, None)) is not None]
    names = data.draw(
        st.lists(
            st.text(min_size=1, max_size=9).filter(lambda name: name != "__metadata__"),
            unique=True,
            min_size=1,
            max_size=6,
        )
    )
    tensors = {
        name: random_tensor(
            data.draw(st.sampled_from(dtypes)), tuple(data.draw(st.lists(st.integers(0, 7), max_size=3)))
        )
        for name in names
    }
    try:
        json.dumps(names).encode()
        [name.encode() for name in names]
    except UnicodeEncodeError:
        return
    dcpx.save(tensors, tmp_path / "c")
    dcpx.convert(tmp_path / "c", tmp_path / "x.safetensors")
    dcpx.convert(tmp_path / "x.safetensors", tmp_path / "d")
    assert_same(dcpx.load_all(tmp_path / "d"), tensors)


@pytest.mark.parametrize("kind", KINDS)
def test_an_address_of_a_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    begin = written("safetensors", tmp_path)
    end = tmp_path / {"safetensors": "y.safetensors", "torch": "y.pt"}.get(kind, "y")
    dcpx.convert(f"file://{begin}", f"file://{end}", to=kind)  # type: ignore[arg-type]
    assert sorted(os.listdir()) == sorted([begin.name, end.name])
    with pytest.raises(ValueError, match="same place"):
        dcpx.convert(f"file://{end}", end, to=kind, overwrite=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_infinite_by_a_cast_is_told(kind: str, tmp_path: Path):
    save_file({"a": torch.tensor([1e10, 3.7, -1]), "b": torch.tensor([1e10, 1]).bfloat16()}, tmp_path / "c.safetensors")
    end = tmp_path / {"safetensors": "y.safetensors", "torch": "y.pt"}.get(kind, "y")
    with pytest.warns(dcpx.DcpxWarning, match=r"2 tensors have elements beyond what torch.float16 holds"):
        done = dcpx.convert(tmp_path / "c.safetensors", end, to=kind, dtype=torch.float16)  # type: ignore[arg-type]
    assert done.nbytes == 10
    with warnings.catch_warnings():
        warnings.simplefilter("error", dcpx.DcpxWarning)
        dcpx.convert(tmp_path / "c.safetensors", tmp_path / "z", dtype=torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.float8_e5m2, "bfloat16", float])
def test_what_nothing_is_cast_to(dtype: Any, tmp_path: Path):
    begin = written("safetensors", tmp_path)
    with pytest.raises(ValueError, match="dtype must be"):
        dcpx.convert(begin, tmp_path / "c", dtype=dtype)


def test_neighbours_are_replaced_with_the_weights(tmp_path: Path):
    model = tmp_path / "model"
    model.mkdir()
    save_file({"w": torch.ones(3)}, model / "model.safetensors")
    for number, kind in enumerate(("dcpx", "huggingface")):
        end = tmp_path / kind
        for text in ("old", "new"):
            (model / "config.json").write_text(text)
            dcpx.convert(model, end, to=kind, overwrite=True)  # type: ignore[arg-type]
            (end / f"note-{number}").touch()
        assert (end / "config.json").read_text() == "new"
        assert (end / f"note-{number}").exists(), "what is no weights stays"


def test_a_failure_leaves_the_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = tmp_path / "model"
    model.mkdir()
    save_file({"w": torch.ones(3)}, model / "model.safetensors")
    (model / "config.json").write_text("old")
    dcpx.convert(model, tmp_path / "c")
    (model / "config.json").write_text("new")
    monkeypatch.setattr(conversion, "_compare", mock.Mock(side_effect=dcpx.CorruptError("no")))
    with pytest.raises(dcpx.CorruptError):
        dcpx.convert(model, tmp_path / "c", overwrite=True)
    assert (tmp_path / "c" / "config.json").read_text() == "old"
    assert dcpx.verify(tmp_path / "c").ok
    assert dcpx.verify(tmp_path / "c").leftovers == []
    with pytest.raises(dcpx.CorruptError):
        dcpx.convert(model, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_link_goes_on_leading_there(tmp_path: Path):
    begin = written("safetensors", tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    dcpx.convert(begin, tmp_path / "link", to="huggingface")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "diffusion_pytorch_model.safetensors"])
def test_directories_of_safetensors_by_other_names(name: str, tmp_path: Path):
    (tmp_path / "m").mkdir()
    save_file({"w": torch.ones(3)}, tmp_path / "m" / name)
    save_file({"v": torch.ones(3)}, tmp_path / "m" / "more.safetensors")
    dcpx.convert(tmp_path / "m", tmp_path / "c")
    assert sorted(dcpx.load_all(tmp_path / "c")) == ["v", "w"]


def test_objects_of_every_kind_that_loads(tmp_path: Path):
    values = {
        "time": datetime.datetime(2020, 1, 1),
        "path": PurePosixPath("a/b"),
        "fraction": Fraction(1, 3),
        "array": np.arange(3),
        "set": frozenset({1}),
        "complex": 1j,
    }
    dcpx.save({"w": torch.ones(2), **values}, tmp_path / "c")
    dcpx.convert(tmp_path / "c", tmp_path / "c.pt")
    found = torch.load(tmp_path / "c.pt", weights_only=False)
    assert {name: str(found[name]) for name in values} == {name: str(value) for name, value in values.items()}


def test_the_user_stays(tmp_path: Path):
    dcpx.save({"w": torch.ones(2)}, tmp_path / "a", user={"step": 3})
    dcpx.convert(tmp_path / "a", tmp_path / "b", pack=dcpx.Pack(level="small"))
    assert dcpx.Reader(tmp_path / "b").read_metadata() is not None
    reader = dcpx.Reader(tmp_path / "b")
    reader.read_metadata()
    assert reader.manifest is not None
    assert reader.manifest.user == {"step": 3}
