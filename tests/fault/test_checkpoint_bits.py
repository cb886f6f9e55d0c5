"""A damaged checkpoint loads bit for bit or says which file and item are damaged.

By default a flip in every fifth byte and every fifth length, and those at either end of each item; every byte and
every length with `make soak`.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.support.files import data_file, reseal
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata

import dcpx
from dcpx import CorruptError, DcpxError

STEP = 1 if "DCPX_STRESS" in os.environ else 5


def state(seed: int = 1) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(20, 30, generator=generator)
    return {
        "bf16": (weights * 0.02).to(torch.bfloat16),
        "f32": weights[:5] * 0.02,
        "f64": weights[0, :9].double(),
        "i64": torch.arange(40) + seed,
        "bool": weights[1] > 0,
        "scalar": torch.tensor(float(seed)),
        "empty": torch.zeros(0, 3),
        "object": ("an object of step", seed, 0.1),
        "turned": weights[:6, :4].t(),
    }


# DCP reads nothing of a tensor without elements: there, any damage is harmless.
READ = tuple(name for name in state() if name != "empty")


def targets(names: tuple[str, ...] = tuple(state())) -> dict[str, Any]:
    """What `state` loads into: other values everywhere."""
    found = {name: state()[name] for name in names}
    return {name: torch.full_like(one, 1) if isinstance(one, torch.Tensor) else () for name, one in found.items()}


def bits(value: object) -> object:
    if not isinstance(value, torch.Tensor):
        return value
    flat = value.contiguous().flatten()
    return (value.dtype, tuple(value.shape), flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")


def assert_exact(loaded: dict[str, Any]) -> None:
    expected = state()
    for name, value in loaded.items():
        assert bits(value) == bits(expected[name]), f"{name} came back wrong in silence"


def metadata_of(path: Path) -> Metadata:
    return pickle.loads((path / ".metadata").read_bytes())


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "checkpoint"
    dcpx.save(state(), path)
    return path


@pytest.fixture
def checkpoint(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def ranges(path: Path) -> list[tuple[int, int, str]]:
    """(first byte, byte behind the last, name) of every stored item, as they lie in the file."""
    data = metadata_of(path).storage_data
    found = sorted((info.offset, info.offset + info.length, index.fqn) for index, info in data.items())
    assert [start for start, _, _ in found] == [0, *(end for _, end, _ in found[:-1])], "gaps would escape this test"
    assert found[-1][1] == data_file(path).stat().st_size
    return found


def sample(start: int, end: int) -> list[int]:
    """Some of the bytes of an item, in order: its first and last ones are among them."""
    return sorted({*range(start, end, STEP), *range(start, min(start + 8, end)), *range(max(end - 8, start), end)})


def error_of(loaded: dict[str, Any], path: Path) -> DcpxError | None:
    """What a load raises; nothing else than a DcpxError may."""
    try:
        dcpx.load(loaded, path)
    except DcpxError as error:
        return error
    return None


def assert_exact_or_named(path: Path, name: str) -> bool:
    """Load one item: whether it came back; if not, the error says which it was."""
    loaded = targets((name,))
    error = error_of(loaded, path)
    if error is None:
        assert_exact(loaded)
        return True
    assert ".distcp" in str(error)
    assert repr(name) in str(error)
    return False


def test_the_checkpoint_as_it_is(checkpoint: Path):
    loaded = targets()
    dcpx.load(loaded, checkpoint)
    assert_exact(loaded)
    assert 4000 < data_file(checkpoint).stat().st_size < 12000


def test_a_flip_in_every_byte(checkpoint: Path):
    # One bit a byte: tests/fault/test_every_bit.py flips all bits of a frame.
    chance = random.Random(3)
    refused = read = 0
    file = os.open(data_file(checkpoint), os.O_RDWR)
    try:
        for start, end, name in ranges(checkpoint):
            places = sample(start, end)
            read += len(places) if name in READ else 0
            for at in places:
                (byte,) = os.pread(file, 1, at)
                os.pwrite(file, bytes([byte ^ 1 << chance.randrange(8)]), at)
                refused += not assert_exact_or_named(checkpoint, name)
                os.pwrite(file, bytes([byte]), at)
    finally:
        os.close(file)
    assert read * 0.95 < refused <= read, "hardly any bit of what is read should be without a meaning"


def test_flips_with_everything_loaded(checkpoint: Path):
    original = data_file(checkpoint).read_bytes()
    chance = random.Random(4)
    refused = 0
    for _ in range(150):
        damaged = bytearray(original)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        data_file(checkpoint).write_bytes(damaged)
        loaded = targets()
        error = error_of(loaded, checkpoint)
        if error is None:
            assert_exact(loaded)
        else:
            refused += 1
            assert ".distcp" in str(error)
    assert refused > 100


def test_every_prefix(checkpoint: Path):
    for start, end, name in reversed(ranges(checkpoint)):
        for size in reversed(sample(start, end)):
            os.truncate(data_file(checkpoint), size)
            exact = assert_exact_or_named(checkpoint, name)
            assert not exact or name not in READ, f"{size} bytes sufficed"
    with pytest.raises(DcpxError):
        dcpx.load(targets(), checkpoint)


def test_metadata_cut_anywhere(checkpoint: Path):
    whole = (checkpoint / ".metadata").read_bytes()
    for size in range(len(whole) - 1, -1, -1):
        os.truncate(checkpoint / ".metadata", size)
        with pytest.raises((DcpxError, OSError)) as caught:
            dcpx.load(targets(("scalar",)), checkpoint)
        assert ".metadata" in str(caught.value)


def safetensors_file() -> bytes:
    from safetensors.torch import save

    return save({"bf16": torch.zeros(400, dtype=torch.bfloat16)})


def zip_file() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(9000))
    return sink.getvalue()


def torch_file() -> bytes:
    sink = io.BytesIO()
    torch.save(torch.zeros(4000), sink)
    return sink.getvalue()


FOREIGN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "three bytes": lambda: b"abc",
    "three right bytes": lambda: b"\xd7DC",
    "the magic alone": lambda: b"\xd7DCPX\r\n\x1a",
    "a PNG": lambda: b"\x89PNG\r\n\x1a\n" + bytes(9000),
    "zeros": lambda: bytes(9000),
    "text": lambda: b"not a checkpoint at all\n" * 400,
    "safetensors": safetensors_file,
    "a zip": zip_file,
    "a torch.save": torch_file,
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_format(checkpoint: Path, make: Callable[[], bytes]):
    data_file(checkpoint).write_bytes(make())
    with pytest.raises(DcpxError, match=r"\.distcp"):
        dcpx.load(targets(), checkpoint)
    assert dcpx.load(targets(), checkpoint, partial=True).keys() == set(READ)
    (checkpoint / ".metadata").write_bytes(make())
    with pytest.raises((DcpxError, OSError), match=r"\.metadata"):
        dcpx.load(targets(("scalar",)), checkpoint)


def test_a_missing_file(checkpoint: Path):
    data_file(checkpoint).unlink()
    with pytest.raises(DcpxError, match=r"\.distcp"):
        dcpx.load(targets(), checkpoint)
    (checkpoint / ".metadata").unlink()
    with pytest.raises((DcpxError, OSError), match=r"\.metadata"):
        dcpx.load(targets(), checkpoint)


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change `.metadata`, with a manifest to fit: `change` gets what says where each item is stored, by name."""
    metadata = metadata_of(path)
    by_name = {index.fqn: info for index, info in metadata.storage_data.items()}
    change(by_name)
    metadata.storage_data = {index: by_name[index.fqn] for index in metadata.storage_data if index.fqn in by_name}
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    reseal(path)


@pytest.mark.parametrize(("one", "other"), [("bf16", "f32"), ("scalar", "f64"), ("object", "i64")])
def test_swapped_items(checkpoint: Path, one: str, other: str):
    def swap(infos: dict[str, Any]) -> None:
        infos[one], infos[other] = infos[other], infos[one]

    edit(checkpoint, swap)
    for name in (one, other):
        assert not assert_exact_or_named(checkpoint, name)


def test_items_of_the_same_shape_swapped(tmp_path: Path):
    same = {"a": torch.zeros(100), "b": torch.ones(100)}
    dcpx.save(same, tmp_path / "c", pack=dcpx.Pack("raw"))

    def swap(infos: dict[str, Any]) -> None:
        infos["a"], infos["b"] = infos["b"], infos["a"]

    edit(tmp_path / "c", swap)
    for name in same:
        with pytest.raises(CorruptError, match=r"\.distcp"):
            dcpx.load({name: torch.zeros(100)}, tmp_path / "c")


def test_the_same_items_of_another_checkpoint(tmp_path: Path):
    # Stored raw, both files have the same sizes throughout: only the checkpoint's UUID in every frame differs.
    for seed in (1, 2):
        dcpx.save(state(seed), tmp_path / str(seed), pack=dcpx.Pack("raw"))
    shutil.copy(data_file(tmp_path / "2"), data_file(tmp_path / "1"))
    for name in READ:
        assert not assert_exact_or_named(tmp_path / "1", name)


@pytest.mark.parametrize(
    "change",
    [
        lambda info: setattr(info, "offset", info.offset + 1),
        lambda info: setattr(info, "offset", 1 << 40),
        lambda info: setattr(info, "length", info.length - 1),
        lambda info: setattr(info, "length", info.length + 1),
        lambda info: setattr(info, "length", 0),
        lambda info: setattr(info, "transform_descriptors", None),
        lambda info: setattr(info, "transform_descriptors", ["stream.pack@dcpx/2"]),
        lambda info: setattr(info, "transform_descriptors", ["stream.pack@dcpx/"]),
        lambda info: setattr(info, "transform_descriptors", ["nobody@nowhere/1"]),
        lambda info: setattr(info, "transform_descriptors", ["stream.zstd/1"]),
        lambda info: setattr(info, "transform_descriptors", ["stream.pack@dcpx/1", "stream.pack@dcpx/1"]),
    ],
)
@pytest.mark.parametrize("name", ["bf16", "object"])
def test_metadata_that_lies_about_an_item(checkpoint: Path, name: str, change: Callable[[Any], None]):
    edit(checkpoint, lambda infos: change(infos[name]))
    assert not assert_exact_or_named(checkpoint, name)


def test_metadata_that_forgets_an_item(checkpoint: Path):
    edit(checkpoint, lambda infos: infos.pop("f32"))
    assert "f32" in str(error_of(targets(("f32",)), checkpoint))


@pytest.mark.parametrize("stock", [False, True], ids=["dcpx", "stock"])
def test_damage_within_a_long_item_is_named(stock: bool, tmp_path: Path):
    """torch.load asks for several chunks at once here, and has errors of its own for a read that fails."""
    dcpx.save({"long": torch.randn(1_000_000)}, tmp_path / "c")
    file = next((tmp_path / "c").glob("*.distcp"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    target = {"long": torch.zeros(1_000_000)}
    if stock:
        registry: Any = dcpx.default_registry()
        reader = FileSystemReader(tmp_path / "c", _extension_registry=registry)
        with pytest.raises(CheckpointException, match=r"checksum|decoded"):
            dcp.load(target, storage_reader=reader)
    else:
        with pytest.raises(dcpx.CorruptError, match=r"distcp.*long.*chunk"):
            dcpx.load(target, tmp_path / "c")


def test_no_checkpoint_is_said_so(tmp_path: Path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(dcpx.LoadError, match=r"no checkpoint here.*\.metadata.*Check the path"):
            dcpx.load({"a": torch.zeros(1)}, path)
