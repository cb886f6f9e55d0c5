"""`dcpx.convert` between all formats: bit for bit, under new names and dtypes, and whole or not at all."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import dcpx
from dcpx.formats import conversion, weights
from dcpx.formats.safetensors import _DTYPES
from tests.support.tensors import bits, random_tensor

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


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TypedStorage|torch.distributed is|The given buffer")
        yield


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PART", 10_000)


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


NESTED = {
    "model": {"layers": [{"w": torch.rand(3, 4)}, {"w": torch.rand(3, 4)}]},
    "step": 7,
    "opt": {"lr": [0.1, None]},
}


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


# --- what can't be ----------------------------------------------------------------------------------------------------


def crafted(path: Path, header: Any, body: bytes = b"", length: int | None = None) -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(content) if length is None else length).to_bytes(8, "little") + content + body)
    return path


def tensor(begin: int, end: int, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BAD: dict[str, tuple[Any, bytes, int | None, str]] = {
    "a huge header": ({}, b"", 1 << 62, "header is to have"),
    "no JSON": (b"{nonsense", b"", None, "no JSON"),
    "a list": ([], b"", None, "no object"),
    "a name twice": (b'{"a":{},"a":{}}', b"", None, "twice"),
    "an overlap": ({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12), None, "begins at 4"),
    "a gap": ({"a": tensor(0, 8), "b": tensor(12, 20)}, bytes(20), None, "begins at 12"),
    "beyond the end": ({"a": tensor(0, 8)}, bytes(4), None, "describes"),
    "more than described": ({"a": tensor(0, 8)}, bytes(40), None, "describes"),
    "a wrong size": ({"a": tensor(0, 8, (3,))}, bytes(8), None, "need 12 bytes"),
    "a negative shape": ({"a": tensor(0, 8, (-2, -1))}, bytes(8), None, "no numbers"),
    "an immense shape": ({"a": tensor(0, 8, (1 << 62, 1 << 62))}, bytes(8), None, "need"),
    "a text as a number": ({"a": tensor(0, 8, ("2",))}, bytes(8), None, "no numbers"),
    "a lacking field": ({"a": {"dtype": "F32"}}, b"", None, "doesn't say"),
    "an unknown dtype": ({"a": tensor(0, 8, (2,), "X9")}, bytes(8), None, "isn't known"),
    "a dtype that is none": ({"a": tensor(0, 8, (2,), ["F32"])}, bytes(8), None, "isn't known"),
    "deeply nested": (b"[" * 100_000, b"", None, "no JSON"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_header_that_lies(bad: str, tmp_path: Path):
    header, body, length, cause = BAD[bad]
    path = crafted(tmp_path / "x.safetensors", header, body, length)
    with pytest.raises((dcpx.CorruptError, dcpx.UnsupportedError), match=cause) as caught:
        dcpx.convert(path, tmp_path / "c")
    assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize(
    ("change", "error", "cause"),
    [
        (lambda index: index["weight_map"].update(more="model-00001-of-00002.safetensors"), "CorruptError", "differ"),
        (lambda index: index["weight_map"].pop("ids"), "CorruptError", "differ"),
        (lambda index: index["weight_map"].update(ids="elsewhere.safetensors"), "MissingFileError", "missing"),
        (lambda index: index["weight_map"].update(ids="../x.safetensors"), "CorruptError", "no file beside"),
        (lambda index: index["metadata"].update(total_size=5), "CorruptError", "says 5 bytes"),
        (lambda index: index.update(weight_map=[1]), "CorruptError", "no weight_map"),
    ],
)
def test_an_index_that_lies(change: Any, error: str, cause: str, tmp_path: Path):
    path = written("huggingface", tmp_path)
    index = json.loads((path / "model.safetensors.index.json").read_text())
    change(index)
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(dcpx.DcpxError, match=cause) as caught:
        dcpx.convert(path, tmp_path / "c")
    assert type(caught.value).__name__ == error
    assert not (tmp_path / "c").exists()


def test_names_that_collide(tmp_path: Path):
    path = written("safetensors", tmp_path)
    with pytest.raises(dcpx.LoadError, match=r"both get the name 'ids'") as caught:
        dcpx.convert(path, tmp_path / "c", names={"mask": "ids"})
    assert "'mask'" in str(caught.value)
    with pytest.raises(dcpx.LoadError, match="isn't there"):
        dcpx.convert(path, tmp_path / "c", names={"nobody": "x"})
    with pytest.raises(dcpx.SaveError, match="nothing to convert"):
        dcpx.convert(path, tmp_path / "c", names=lambda name: None)
    assert not (tmp_path / "c" / ".metadata").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_stays(kind: str, tmp_path: Path):
    begin = written("safetensors", tmp_path)
    end = tmp_path / {"safetensors": "y.safetensors", "torch": "y.pt"}.get(kind, "y")
    dcpx.convert(begin, end, to=kind)  # type: ignore[arg-type]
    before = read(kind, end)
    with pytest.raises(dcpx.SaveError, match="exists already"):
        dcpx.convert(begin, end, to=kind, names={"ids": "other"})  # type: ignore[arg-type]
    assert_same(read(kind, end), before)
    with pytest.raises(ValueError, match="same place"):
        dcpx.convert(end, end, to=kind)  # type: ignore[arg-type]
    if kind not in ("dcp", "huggingface"):
        dcpx.convert(begin, end, to=kind, overwrite=True, names={"ids": "other"})  # type: ignore[arg-type]
        assert "other" in read(kind, end)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("src", ["safetensors", "dcpx"])
def test_a_source_that_is_damaged_on_the_way(src: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    begin = written(src, tmp_path)
    file = next(begin.glob("*.distcp")) if begin.is_dir() else begin
    opened = conversion._opened

    def cut(path: Any, **options: Any) -> Any:
        found = opened(path, **options)
        if Path(path) == begin:
            os.truncate(file, file.stat().st_size // 2)
        return found

    monkeypatch.setattr(conversion, "_opened", cut)
    end = tmp_path / "out" / {"safetensors": "y.safetensors", "torch": "y.pt"}.get(kind, "y")
    with pytest.raises(dcpx.DcpxError):
        dcpx.convert(begin, end, to=kind)  # type: ignore[arg-type]
    assert [name for _, _, names in os.walk(end.parent) for name in names] == []


def test_what_was_written_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Against a disk, or a bug of ours, that stores something else."""
    begin = written("safetensors", tmp_path)
    opened = conversion._opened

    def flip(path: Any, **options: Any) -> Any:
        if str(path) != str(begin):
            with open(path, "r+b") as file:
                file.seek(-1, os.SEEK_END)
                last = file.read(1)[0]
                file.seek(-1, os.SEEK_END)
                file.write(bytes([last ^ 1]))
        return opened(path, **options)

    monkeypatch.setattr(conversion, "_opened", flip)
    with pytest.raises(dcpx.CorruptError, match="isn't what was read of the source"):
        dcpx.convert(begin, tmp_path / "y.safetensors")
    assert os.listdir(tmp_path) == [begin.name]


def test_what_is_no_source(tmp_path: Path):
    for name, content in {"a": b"", "b": b"nonsense nonsense", "c.pt": b"PK\x03\x04nonsense"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(dcpx.DcpxError):
            dcpx.convert(tmp_path / name, tmp_path / "out")
    with pytest.raises(dcpx.NotFoundError):
        dcpx.convert(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(dcpx.NotFoundError):
        dcpx.convert(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="to must be"):
        dcpx.convert(tmp_path, tmp_path / "out", to="onnx")  # type: ignore[arg-type]


class Payload:
    def __reduce__(self) -> Any:
        return os.mkdir, ("canary",)


def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(3), "x": Payload()}, tmp_path / "x.pt")
    with pytest.raises(dcpx.UnsupportedError, match="weights_only"):
        dcpx.convert(tmp_path / "x.pt", tmp_path / "y")
    assert os.listdir(tmp_path) == ["x.pt"]


# --- load_all ---------------------------------------------------------------------------------------------------------


def test_load_all(tmp_path: Path):
    dcpx.save(NESTED, tmp_path / "c")
    assert dcpx.load_all(tmp_path / "c", keys="step") == {"step": 7}
    some = dcpx.load_all(tmp_path / "c", keys=["model.layers.1", "opt.lr"])
    assert torch.equal(some["model"]["layers"][1]["w"], NESTED["model"]["layers"][1]["w"])  # type: ignore[index]
    with pytest.raises(dcpx.NotFoundError, match="nobody"):
        dcpx.load_all(tmp_path / "c", keys=["step", "nobody"])
    with pytest.raises(TypeError, match="nonsense"):
        dcpx.load_all(tmp_path / "c", nonsense=1)
    with pytest.raises(dcpx.NotFoundError):
        dcpx.load_all(tmp_path / "nowhere")
