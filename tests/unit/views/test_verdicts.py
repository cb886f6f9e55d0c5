"""Damage is only what a checksum or the format proves, all else has an error of its own, and verify agrees with it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter

import dcpx
from dcpx.pickles.containers import check_container
from dcpx.pickles.trust import Trust
from dcpx.store.local import LocalStore
from dcpx.streams import TransformReader
from tests.support.extensions import Passing
from tests.support.files import manifest_file
from tests.support.tensors import random_tensor

LARGE = random_tensor(torch.float32, (1000, 300))
SAVES: dict[str, Callable[[dict[str, Any], Path], Any]] = {
    "stock": lambda state, path: dcp.save(state, storage_writer=FileSystemWriter(path)),
    "pack": lambda state, path: dcpx.save(state, path, sync=False),
    "plain": lambda state, path: dcpx.save(state, path, pack=None, sync=False),
    "zstd": lambda state, path: dcpx.save(state, path, pack=dcpx.ZStandard(), sync=False),
}
every_save = pytest.mark.parametrize("save", SAVES)


class Named(torch.Tensor):
    """A class of tensors that nobody told torch of."""


class Config:
    """A class of objects that nobody told torch of."""


class Told(Passing):
    """Passes everything on, and when reading raises `error` at the end."""

    descriptor = "told@test/1"
    error: Exception | None = None

    def transform_from(self, input: IO[bytes]) -> IO[bytes]:
        return cast(IO[bytes], Telling(input))


class Telling(TransformReader):
    """Raises the error where the stream ends."""

    def fill(self, buffer: memoryview) -> int:
        data = self.input.read(len(buffer))
        if not data and Told.error is not None:
            raise Told.error
        buffer[: len(data)] = data
        return len(data)


# --- tensors of a class -----------------------------------------------------------------------------------------------


@every_save
def test_a_tensor_of_a_class(save: str, tmp_path: Path):
    stored = torch.arange(3.0).as_subclass(Named)
    SAVES[save]({"x": stored}, tmp_path)
    with pytest.raises(dcpx.UnsupportedError, match="Named") as caught:
        dcpx.load({"x": torch.zeros(3)}, tmp_path)
    assert "safe_globals=" in caught.value.remedy
    assert "trust=True" in caught.value.remedy
    for target, options in (
        (torch.zeros(3).as_subclass(Named), {}),
        (torch.zeros(3), {"safe_globals": [Named]}),
        (torch.zeros(3), {"trust": True}),
    ):
        dcpx.load({"x": target}, tmp_path, **options)
        assert target.tolist() == [0, 1, 2]
    assert Named not in torch.serialization.get_safe_globals()


@every_save
@pytest.mark.parametrize("value", [torch.ones(3).as_subclass(Named), [Config()]], ids=["tensor", "object"])
@pytest.mark.filterwarnings("ignore::dcpx.DcpxWarning")
def test_verify_says_what_a_load_refuses(value: Any, save: str, tmp_path: Path):
    SAVES[save]({"x": value, "y": torch.ones(2)}, tmp_path)
    report = dcpx.verify(tmp_path)
    assert (report.verdict, bool(report), report.ok) == ("unknown", False, False)
    assert (report.whole, report.lost, report.refused, report.problems) == (["y"], [], ["x"], [])
    (refusal,) = report.refusals
    assert isinstance(refusal.error, dcpx.UnsupportedError)
    assert refusal.error.remedy in str(report)
    assert "can't be judged" in str(report)
    allowed = [Config if isinstance(value, list) else Named]
    assert dcpx.verify(tmp_path, safe_globals=allowed).verdict == "whole"
    assert dcpx.verify(tmp_path, trust=True).verdict == "whole"


def test_attributes_that_change_what_a_tensor_is():
    tensor = torch.ones(3).as_subclass(Named)
    tensor.__dict__["__class__"] = Named
    content = io.BytesIO()
    torch.save(tensor, content)
    with pytest.raises(dcpx.UnsupportedError, match="sets its __class__"):
        check_container(content, Trust([Named]))


@every_save
def test_a_target_that_takes_nothing(save: str, tmp_path: Path):
    SAVES[save]({"x": torch.eye(4)}, tmp_path)
    for target in (torch.eye(4).to_sparse_csr(), torch.ones(1).expand(4, 4)):
        with pytest.raises(dcpx.LoadError):
            dcpx.load({"x": target}, tmp_path)
    assert dcpx.verify(tmp_path)


# --- what an extension says -------------------------------------------------------------------------------------------


@pytest.fixture
def registry() -> Iterator[dcpx.ExtensionRegistry]:
    registry = dcpx.ExtensionRegistry()
    registry.register(Told)
    yield registry
    Told.error = None


@pytest.mark.parametrize(
    ("said", "error", "verdict"),
    [
        (ValueError("wrong tag"), dcpx.CorruptError, "damaged"),
        (EOFError("too short"), dcpx.CorruptError, "damaged"),
        (RuntimeError("no key"), dcpx.LoadError, "unknown"),
        (dcpx.ExtensionError("no key"), dcpx.ExtensionError, "unknown"),
        (None, None, "whole"),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [torch.ones(3), [1, 2]], ids=["tensor", "object"])
def test_an_extension_says_what_is_wrong(
    value: Any,
    said: Exception | None,
    error: type[dcpx.DcpxError] | None,
    verdict: str,
    registry: dcpx.ExtensionRegistry,
    tmp_path: Path,
):
    dcpx.save({"x": value}, tmp_path, pack=Told(), sync=False)
    Told.error = said
    reader = dcpx.Reader(tmp_path, registry=registry, partial=True)
    dcp.load({"x": value}, storage_reader=reader)
    assert [type(found) for found in reader.failures.values()] == ([] if error is None else [error])
    assert dcpx.verify(tmp_path, registry=registry).verdict == verdict


def test_an_extension_that_is_not_installed(tmp_path: Path):
    dcpx.save({"x": torch.ones(3)}, tmp_path, pack=Told(), sync=False)
    report = dcpx.verify(tmp_path)
    assert (report.verdict, report.lost, report.refused, report.problems) == ("unknown", [], ["x"], [])
    assert isinstance(report.refusals[0].error, dcpx.ExtensionError)
    assert "told@test" in str(report)


# --- files ------------------------------------------------------------------------------------------------------------


@every_save
def test_a_lost_data_file(save: str, tmp_path: Path):
    SAVES[save]({"x": LARGE, "y": torch.ones(2)}, tmp_path)
    for file in tmp_path.glob("*.distcp"):
        file.unlink()
    with pytest.raises(dcpx.MissingFileError) as caught:
        dcpx.load({"x": torch.zeros_like(LARGE), "y": torch.zeros(2)}, tmp_path)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, dcpx.CorruptError)
    assert caught.value.where.file is not None
    report = dcpx.verify(tmp_path)
    assert (report.verdict, set(report.lost), report.refused) == ("damaged", {"x", "y"}, [])


def test_a_lost_manifest(tmp_path: Path):
    dcpx.save({"x": LARGE}, tmp_path, sync=False)
    manifest_file(tmp_path).unlink()
    with pytest.raises(dcpx.MissingFileError, match="manifest is missing"):
        dcpx.load({"x": torch.zeros_like(LARGE)}, tmp_path)
    lost = dcpx.load({"x": torch.zeros_like(LARGE)}, tmp_path, partial=True)
    assert [type(error) for error in lost.values()] == [dcpx.MissingFileError]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dcpx.save({"x": LARGE}, tmp_path, sync=False)

    def refuse(self: Any, name: str) -> Any:
        if name.endswith(".distcp"):
            raise PermissionError(13, "Permission denied", name)
        return opened(self, name)

    opened = LocalStore.open
    monkeypatch.setattr(LocalStore, "open", refuse)
    report = dcpx.verify(tmp_path)
    assert (report.verdict, report.lost, report.refused) == ("unknown", [], ["x"])


@pytest.mark.parametrize("save", ["stock", "plain", "zstd"])
def test_a_file_that_changes_after_it_was_checked(save: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What torch reads is what was checked: all that a checksum seals, else what says how to read the elements."""
    SAVES[save]({"x": LARGE}, tmp_path)
    (file,) = tmp_path.glob("*.distcp")
    content = file.read_bytes()
    begin, size = (content.index(b"\x80\x02c"), 200) if save == "stock" else (0, len(content))
    load = torch.load

    def load_later(*args: Any, **kwargs: Any) -> Any:
        with file.open("r+b") as stream:
            stream.seek(begin)
            stream.write(bytes(size))
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", load_later)
    target = torch.zeros_like(LARGE)
    dcpx.load({"x": target}, tmp_path)
    assert torch.equal(target.view(torch.int32), LARGE.view(torch.int32))
    assert not file.read_bytes()[begin : begin + size].strip(b"\0")


def test_a_container_that_torch_fails_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a checksum that is wrong it is damaged, otherwise it isn't."""
    SAVES["stock"]({"x": LARGE}, tmp_path)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("torch says no")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(dcpx.UnsupportedError, match="torch says no"):
        dcpx.load({"x": torch.zeros_like(LARGE)}, tmp_path)
    (file,) = tmp_path.glob("*.distcp")
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(b"flipped")
    with pytest.raises(dcpx.CorruptError, match="CRC32"):
        dcpx.load({"x": torch.zeros_like(LARGE)}, tmp_path)
