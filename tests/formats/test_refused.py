"""What a conversion refuses: sources that lie or are damaged, names that collide, places that are taken."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from safetensors.torch import save_file

import dcpx
from dcpx.formats import conversion
from tests.formats.kinds import KINDS, assert_same, read, written


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
    with pytest.raises(dcpx.LoadError, match="nothing to convert"):
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
    dcpx.convert(begin, end, to=kind, overwrite=True, names={"ids": "other"})  # type: ignore[arg-type]
    assert "other" in read(kind, end)
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


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
    compare = conversion._compare

    def flip(expected: Any, names: dict[str, str], written: Any) -> None:
        with open(written.place, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
        compare(expected, names, written)

    monkeypatch.setattr(conversion, "_compare", flip)
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


def only(*names: str) -> Any:
    """These names and no others."""
    return lambda name: name if name in names else None


def test_what_can_not_be_read_is_an_error_for_who_wants_it(tmp_path: Path):
    bad = {
        "quantized": torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(3, device="meta"),
        "many": torch.ones(1).expand(10**13),
    }
    torch.save({**bad, "w": torch.ones(2)}, tmp_path / "q.pt")
    for name in bad:
        with pytest.raises(dcpx.UnsupportedError, match="Leave it out by names=") as caught:
            dcpx.convert(
                tmp_path / "q.pt", tmp_path / "c", names=lambda one, name=name: one if one in (name, "w") else None
            )
        assert caught.value.where.item == name
        assert not (tmp_path / "c").exists()
    dcpx.convert(tmp_path / "q.pt", tmp_path / "c", names=only("w"))


@pytest.mark.parametrize("shape", [[2**62, 4, 0], [1] * 5000], ids=["size", "dimensions"])
def test_shapes_that_no_tensor_has(shape: list[int], tmp_path: Path):
    nbytes = 4 * math.prod(shape)
    header = {
        "x": tensor(0, nbytes, shape),
        "new": tensor(nbytes, nbytes + 1, [2], "F4"),
        "w": tensor(nbytes + 1, nbytes + 5, [1]),
    }
    crafted(tmp_path / "x.safetensors", header, bytes(nbytes + 5))
    for name in ("x", "new"):
        with pytest.raises(dcpx.UnsupportedError) as caught:
            dcpx.convert(tmp_path / "x.safetensors", tmp_path / "c", names=only(name))
        assert caught.value.where.item == name
    dcpx.convert(tmp_path / "x.safetensors", tmp_path / "c", names=only("w"))


def test_names_that_safetensors_can_not_hold(tmp_path: Path):
    for name in ("__metadata__", "\ud800"):
        dcpx.save({name: torch.ones(2)}, tmp_path / "c", overwrite=True)
        for verify in (True, False):
            with pytest.raises(dcpx.SaveError, match="can't hold a tensor of this name"):
                dcpx.convert(tmp_path / "c", tmp_path / "x.safetensors", verify=verify)
    save_file({"": torch.ones(2)}, tmp_path / "e.safetensors")
    dcpx.convert(tmp_path / "e.safetensors", tmp_path / "e")
    assert list(dcpx.load_all(tmp_path / "e")) == [""]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"names": ["a"]}, TypeError, "names must be a table"),
        ({"names": "ab"}, TypeError, "names must be a table"),
        ({"names": lambda name: 3}, dcpx.LoadError, "which is no text"),
        ({"names": lambda name: 1 / 0}, dcpx.LoadError, r"names\('\w+'\) raised ZeroDivisionError"),
        ({"dst": ""}, ValueError, "is empty"),
        ({"dst": "/", "to": "huggingface"}, ValueError, "name of something new"),
        ({"dst": "memory://x/y", "to": "torch"}, ValueError, "only a dcpx checkpoint can be"),
    ],
    ids=["list", "text", "number", "raises", "empty", "root", "address"],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], text: str, tmp_path: Path):
    begin = written("safetensors", tmp_path)
    with pytest.raises(error, match=text):
        dcpx.convert(begin, options.pop("dst", tmp_path / "c"), **options)
    assert not (tmp_path / "c").exists()


def test_torch_files_that_are_damaged(tmp_path: Path):
    torch.save({"w": torch.ones(1000)}, tmp_path / "w.pt")
    content = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[:-100])
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("cut.pt", "empty.pt"):
        with pytest.raises(dcpx.TruncatedError) as caught:
            dcpx.convert(tmp_path / name, tmp_path / "c")
        assert name in str(caught.value.where.file)
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    with pytest.raises(dcpx.UnsupportedError, match=r"holds a list, not a dictionary.*Save a dictionary"):
        dcpx.convert(tmp_path / "list.pt", tmp_path / "c")


def test_one_name_twice_is_said_once(tmp_path: Path):
    content = (
        b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    )
    (tmp_path / "x.safetensors").write_bytes(len(content).to_bytes(8, "little") + content)
    with pytest.raises(dcpx.CorruptError, match="one name twice") as caught:
        dcpx.convert(tmp_path / "x.safetensors", tmp_path / "c")
    assert str(caught.value).count("Restore") == 1
    assert "no JSON" not in str(caught.value)


def test_what_a_new_checkpoint_could_not_be_read_with(tmp_path: Path):
    """Nothing is published, or replaced, that the conversion itself can't read again."""
    begin = written("safetensors", tmp_path)
    dcpx.save({"a": torch.full((2,), 7.0)}, tmp_path / "c")

    class Inverting(dcpx.StreamTransformExtension):
        @staticmethod
        def from_descriptor(version: str) -> Inverting:
            return Inverting()

        @staticmethod
        def registry_name() -> str:
            return "inverting@test"

        def get_descriptor(self) -> str:
            return "inverting@test/1"

        def transform_to(self, output: IO[bytes]) -> IO[bytes]:
            return output

        def transform_from(self, input: IO[bytes]) -> IO[bytes]:
            return input

    for options in ({"pack": Inverting()}, {"limits": dcpx.Limits(metadata_size=100)}):
        with pytest.raises(dcpx.DcpxError):
            dcpx.convert(begin, tmp_path / "c", overwrite=True, **options)  # type: ignore[arg-type]
        assert dcpx.load_all(tmp_path / "c")["a"].sum() == 14
        with pytest.raises(dcpx.DcpxError):
            dcpx.convert(begin, tmp_path / "new", **options)  # type: ignore[arg-type]
        assert not (tmp_path / "new").exists()
