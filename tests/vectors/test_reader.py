"""The plain reader in spec/reader, against every vector, and against all that dcpx and stock DCP write."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from judged import INDEX, VECTORS, unpacked
from tests.golden import values
from tests.support.tensors import DTYPES, bits, random_tensor, weights
from torch.distributed.checkpoint import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType
from xxhash import xxh3_128_hexdigest

import dcpx

SPEC = VECTORS.parent
sys.path.insert(0, str(SPEC))

import reader  # noqa: E402 (it lies beside the specification, not in a package)
from reader.frames import open_item  # noqa: E402
from reader.metadata import read_metadata  # noqa: E402

ITEMS: dict[str, dict[str, Any]] = json.loads((VECTORS / "index.json").read_text("utf-8"))
CHECKPOINTS: dict[str, dict[str, Any]] = json.loads(INDEX.read_text("utf-8"))
GOLDEN = sorted((Path(__file__).resolve().parents[1] / "golden").glob("*.zip"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    for name, content in unpacked().items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    return root


def read_all(path: Path, pointer: str = ".metadata") -> dict[str, reader.Value]:
    """All tensors, after all objects were read too."""
    checkpoint = reader.Checkpoint(path, pointer)
    for name in checkpoint.objects:
        assert checkpoint.object(name)
    return {name: checkpoint.tensor(name) for name in checkpoint.tensors}


def assert_read(path: Path, expected: dict[str, torch.Tensor]) -> None:
    found = read_all(path)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        of = found[name]
        assert (of.dtype, of.shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)), name
        assert of.data == bits(tensor), name


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ITEMS)
def test_items(name: str):
    entry, stored = ITEMS[name], (VECTORS / name).read_bytes()
    descriptors = tuple(entry["descriptors"] if "descriptors" in entry else [entry["descriptor"]])
    if "error" in entry:
        with pytest.raises(reader.ReadError) as caught:
            open_item(stored, descriptors, 1 << 30)
        assert type(caught.value).__name__ == entry["error"]
        return
    headers, raw = open_item(stored, descriptors, 1 << 30)
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (entry["length"], entry["sha256"])
    if "header" in entry:
        (header,), fields = headers, entry["header"]
        assert list(header.codecs) == fields.get("codecs", [0, 1, 2])
        key, hint = fields.get("key"), fields.get("hint")
        offsets = None if key is None or key["offsets"] is None else tuple(key["offsets"])
        assert header.key == (None if key is None else (key["fqn"], offsets))
        assert header.hint == (None if hint is None else (hint["dtype"], tuple(hint["shape"]), hint["payload_offset"]))
        assert (header.checkpoint.hex() if header.checkpoint else None) == fields.get("checkpoint")


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(name: str, checkpoints: Path):
    entry = CHECKPOINTS[name]
    if "error" in entry:
        with pytest.raises(reader.ReadError) as caught:
            read_all(checkpoints / name)
        assert type(caught.value).__name__ == entry["error"]
        return
    pointer = entry.get("pointer", ".metadata")
    assert reader.pointers(checkpoints / name) == [pointer]
    found = {
        name: {"dtype": of.dtype, "shape": [*of.shape], "xxh3_128": xxh3_128_hexdigest(of.data)}
        for name, of in read_all(checkpoints / name, pointer).items()
    }
    assert found == entry["tensors"]
    assert reader.Checkpoint(checkpoints / name, pointer).objects == entry["objects"]


def test_a_changed_pointer_is_refused_or_read(checkpoints: Path):
    """Whatever a byte of it becomes, nothing but the reader's own errors comes of it."""
    pointer = (checkpoints / "sharded" / ".metadata").read_bytes()
    refused = 0
    for at in range(len(pointer)):
        changed = bytearray(pointer)
        changed[at] ^= 1 << at % 8
        try:
            read_metadata(bytes(changed))
        except reader.ReadError:
            refused += 1
    assert refused > len(pointer) // 2


def test_a_changed_item_is_refused(checkpoints: Path):
    for name, descriptors in (
        ("float_bf16_small.frame", ("stream.pack@dcpx/1",)),
        ("zstd_one_frame.zst", ("stream.zstd/1",)),
    ):
        stored = (VECTORS / name).read_bytes()
        _, raw = open_item(stored, descriptors, 1 << 20)
        for at in range(0, len(stored), 397):
            changed = stored[:at] + bytes([stored[at] ^ 4]) + stored[at + 1 :]
            try:
                assert open_item(changed, descriptors, 1 << 20)[1] == raw  # as a bit that means nothing
                assert name.endswith(".zst")
            except reader.ReadError:
                pass


# --- what dcpx and DCP write ------------------------------------------------------------------------------------------

PACKS: dict[str, Any] = {
    "pack": dcpx.Pack(),
    "small": dcpx.Pack(level="small"),
    "raw": dcpx.Pack("raw"),
    "zstd codec": dcpx.Pack("zstd"),
    "planes": dcpx.Pack("planes"),
    "short chunks": dcpx.Pack(chunk_size=4096),
    "zstd": dcpx.ZStandard(),
    "pack, zstd": dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()),
    "zstd, pack": dcpx.Chain(dcpx.ZStandard(), dcpx.Pack()),
    "chain of one": dcpx.Chain(dcpx.Pack()),
    "plain": None,
}


def tensors() -> dict[str, torch.Tensor]:
    wide = weights(torch.float32, (9, 8), 1)
    found = {
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(3, 0, 5, dtype=torch.int32),
        "transposed": wide.t(),
        "within": wide[1:8:2, 3:],
        "channels last": weights(torch.float16, (2, 3, 4, 4), 2).to(memory_format=torch.channels_last),
        "conjugated": torch.complex(wide, wide).conj(),
        "negated": torch.complex(wide, wide).conj().imag,
        "zeros": torch.zeros(70, 80),
        "repeated": torch.arange(40).repeat(60),
        "ascending": torch.arange(20_000, dtype=torch.int32),
        "mask": torch.arange(9000) % 7 == 0,
        **{
            f"weights, {dtype}": weights(dtype, (60, 101), 3)
            for dtype in (torch.bfloat16, torch.float32, torch.float64)
        },
    }
    for name, dtype in DTYPES.items():
        found[name] = random_tensor(dtype, (33, 41))
        found[f"few, {name}"] = random_tensor(dtype, (3,))
    return found


@pytest.mark.parametrize("pack", PACKS)
def test_what_dcpx_writes(pack: str, tmp_path: Path):
    expected = tensors()
    dcpx.save({**expected, "object": {"step": [1, "two"]}}, tmp_path / "c", pack=PACKS[pack], sync=False)
    assert_read(tmp_path / "c", expected)


def test_what_stock_dcp_writes(tmp_path: Path):
    expected = tensors()
    dcp.save({**expected, "object": {"step": [1, "two"]}}, checkpoint_id=tmp_path / "c")
    assert_read(tmp_path / "c", expected)


class Cutting(DefaultSavePlanner):
    """Plans every tensor as if ranks had cut it, along all dimensions, into parts of at most 3 and 40 elements."""

    def create_local_plan(self) -> SavePlan:
        parts = [part for name, tensor in self.state_dict.items() for part in self._parts(name, tensor)]
        self.plan = SavePlan(parts, planner_data=self.mappings)
        return self.plan

    def _parts(self, name: str, tensor: torch.Tensor) -> list[WriteItem]:
        of = TensorProperties.create_from_tensor(tensor)
        cuts = [
            [(at, min(most, size - at)) for at in range(0, size, most)]
            for size, most in zip(tensor.shape, (3, 40), strict=True)
        ]
        boxes = [zip(*box, strict=True) for box in itertools.product(*cuts)]
        chunks = [ChunkStorageMetadata(*map(torch.Size, box)) for box in boxes]
        return [
            WriteItem(
                MetadataIndex(name, chunk.offsets, number),
                WriteItemType.SHARD,
                tensor_data=TensorWriteData(chunk, of, tensor.size()),
            )
            for number, chunk in enumerate(chunks)
        ]

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor:
        assert write_item.tensor_data is not None
        box = write_item.tensor_data.chunk
        where = tuple(slice(at, at + size) for at, size in zip(box.offsets, box.sizes, strict=True))
        found: torch.Tensor = self.state_dict[write_item.index.fqn][where]
        return found


@pytest.mark.parametrize("pack", ["pack", "small", "plain", "pack, zstd"])
def test_shards(pack: str, tmp_path: Path):
    expected = {str(dtype): weights(dtype, (7, 301), 4) for dtype in (torch.bfloat16, torch.float32, torch.float64)}
    dcpx.save(dict(expected), tmp_path / "c", pack=PACKS[pack], planner=Cutting(), sync=False)
    assert {len(tensor.chunks) for tensor in reader.Checkpoint(tmp_path / "c").tensors.values()} == {24}
    assert_read(tmp_path / "c", expected)


def test_shards_that_leave_gaps(checkpoints: Path):
    """As those of one rank that was saved by itself."""
    checkpoint = reader.Checkpoint(checkpoints / "sharded")
    grid = checkpoint.tensors["grid"]
    checkpoint.tensors["grid"] = grid._replace(chunks=grid.chunks[1:])
    with pytest.raises(reader.UnsupportedError, match="leave elements out"):
        checkpoint.tensor("grid")


@pytest.mark.parametrize("kind", ["stock", "dcpx"])
@pytest.mark.parametrize("archive", GOLDEN, ids=lambda path: path.stem)
def test_what_older_versions_wrote(archive: Path, kind: str, tmp_path: Path):
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    assert_read(tmp_path / kind, values.sharded() | values.tensors())


def test_arrays(tmp_path: Path):
    expected = {name: tensor for name, tensor in tensors().items() if not tensor.is_conj() and not tensor.is_neg()}
    dcpx.save(dict(expected), tmp_path / "c", sync=False)
    for name, value in read_all(tmp_path / "c").items():
        try:
            array = expected[name].numpy()
        except TypeError:  # torch knows which dtypes NumPy hasn't
            with pytest.raises(reader.UnsupportedError):
                value.array()
            continue
        np.testing.assert_array_equal(value.array(), array)
        assert value.array().dtype == array.dtype


# --- the reader by itself ---------------------------------------------------------------------------------------------

ALONE = "import runpy, sys; sys.modules.update(torch=None, dcpx=None); runpy.run_module('reader', run_name='__main__')"


def command(path: Path) -> subprocess.CompletedProcess[str]:
    """The reader's command line, where neither torch nor dcpx can be imported."""
    environment = {**os.environ, "PYTHONPATH": str(SPEC)}
    return subprocess.run(
        [sys.executable, "-c", ALONE, path], capture_output=True, text=True, env=environment, check=False
    )


def test_the_command_line(checkpoints: Path):
    whole = command(checkpoints / "sharded")
    expected = CHECKPOINTS["sharded"]["tensors"]
    lines = [f"{of['xxh3_128']}  {of['dtype']} {of['shape']}  {name!r}" for name, of in sorted(expected.items())]
    assert (whole.returncode, whole.stdout.splitlines(), whole.stderr) == (0, lines, "")
    damaged = command(checkpoints / "bad_item_shape")
    assert damaged.returncode == 1
    assert "CorruptError" in damaged.stdout
    assert command(checkpoints / "bad_manifest_cut").stdout.startswith(".metadata: TruncatedError")
