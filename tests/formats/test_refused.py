"""What a conversion refuses: sources that lie or are damaged, names that collide, places that are taken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

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
