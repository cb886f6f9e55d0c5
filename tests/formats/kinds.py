"""Weights in each of the formats, to convert and to compare."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file

import dcpx
from tests.support.tensors import bits, random_tensor

__all__ = ["KINDS", "NESTED", "WEIGHTS", "assert_same", "read", "written"]
KINDS = ["dcpx", "dcp", "safetensors", "huggingface", "torch"]

WEIGHTS = {
    "model.embed.weight": random_tensor(torch.bfloat16, (300, 70)),
    "model.norm.weight": random_tensor(torch.float32, (70,)),
    "model.scale": random_tensor(torch.float64, ()),
    "model.empty": torch.empty(0, 5),
    "model.rows.of.nothing": torch.empty(5, 0),
    "lm_head.weight": random_tensor(torch.float16, (70, 300)),
    "ids": random_tensor(torch.int64, (9, 3)),
    "mask": torch.tensor([True, False, True]),
}

NESTED = {
    "model": {"layers": [{"w": torch.rand(3, 4)}, {"w": torch.rand(3, 4)}]},
    "step": 7,
    "opt": {"lr": [0.1, None]},
}


def written(kind: str, folder: Path, tensors: dict[str, torch.Tensor] = WEIGHTS) -> Path:
    """These weights, by those whose format it is."""
    path = folder / {"safetensors": "x.safetensors", "torch": "x.pt"}.get(kind, kind)
    match kind:
        case "dcpx":
            dcpx.save(dict(tensors), path)
        case "dcp":
            dcp.save(dict(tensors), checkpoint_id=path, no_dist=True)
        case "torch":
            torch.save(dict(tensors), path)
        case "safetensors":
            save_file(tensors, path, {"format": "pt", "origin": "a test"})
        case "huggingface":
            path.mkdir()
            names = list(tensors)
            files = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
            for file, some in files.items():
                save_file({name: tensors[name] for name in some}, path / file, {"format": "pt"})
            table = {name: file for file, some in files.items() for name in some}
            total = sum(tensor.nbytes for tensor in tensors.values())
            index = {"metadata": {"total_size": total}, "weight_map": table}
            (path / "model.safetensors.index.json").write_text(json.dumps(index))
            (path / "config.json").write_text('{"hidden": 70}')
            (path / "tokenizer.json").write_text("{}")
    return path


def read(kind: str, path: Path) -> dict[str, torch.Tensor]:
    """What others find there."""
    match kind:
        case "dcpx":
            return dcpx.load_all(path)
        case "dcp":
            metadata = dcp.FileSystemReader(path).read_metadata()
            state = {
                name: torch.empty(one.size, dtype=one.properties.dtype)
                for name, one in metadata.state_dict_metadata.items()
            }
            dcp.load(state, checkpoint_id=path, no_dist=True)
            return state
        case "torch":
            return torch.load(path, weights_only=True)  # type: ignore[no-any-return]
        case "safetensors":
            return load_file(path)  # type: ignore[no-any-return]
        case _:
            found: dict[str, torch.Tensor] = {}
            for file in path.glob("*.safetensors"):
                found |= load_file(file)
            return found


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert bits(found[name]) == bits(tensor), name
