"""`dcpx.convert` between all formats: bit for bit, under new names and dtypes, and whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

import dcpx
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
