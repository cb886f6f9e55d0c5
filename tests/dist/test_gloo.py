"""Real ranks: sharded states saved on four of them load on fewer, and one rank's failure is everyone's."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor

import dcpx
from dcpx import CorruptError, DcpxError
from dcpx.frame import open_frame
from tests.dist.ranks import run
from tests.support.tensors import bits
from tests.support.versions import gloo

pytestmark = [
    gloo,
    pytest.mark.timeout(120),
]

FAILING_RANK = 2

# The shards' sizes differ from rank to rank, and three rows leave the fourth rank with nothing.
PLACED: dict[str, tuple[torch.dtype, tuple[int, ...], Placement]] = {
    "rows": (torch.float32, (10, 6), Shard(0)),
    "columns": (torch.bfloat16, (5, 301), Shard(1)),
    "few rows": (torch.float64, (3, 4), Shard(0)),
    "everywhere": (torch.float32, (7, 7), Replicate()),
    "large": (torch.bfloat16, (1003, 512), Shard(0)),
}


def whole(name: str) -> torch.Tensor:
    """The tensor of this name, the same on every rank."""
    dtype, shape, _ = PLACED[name]
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(name))).to(dtype)


def sharded(mesh: DeviceMesh, make: Callable[[str], torch.Tensor]) -> dict[str, Any]:
    return {name: distribute_tensor(make(name), mesh, [placement]) for name, (_, _, placement) in PLACED.items()}


def zeros(name: str) -> torch.Tensor:
    return torch.zeros_like(whole(name))


def assert_whole(loaded: dict[str, Any]) -> None:
    for name in PLACED:
        found = loaded[name].full_tensor() if isinstance(loaded[name], DTensor) else loaded[name]
        assert bits(found) == bits(whole(name)), name


class KeywordError(Exception):
    """Can be pickled, but not unpickled: its arguments aren't positional."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"failed because of {reason}")


class Failing(dcpx.Pack):
    """Fails on its third item."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._count, self._error = 0, error

    def transform_item_to(self, output: IO[bytes], item: Any) -> IO[bytes]:
        self._count += 1
        if self._count == 3:
            raise self._error
        return super().transform_item_to(output, item)


# --- what the ranks do ------------------------------------------------------------------------------------------------


def save(rank: int, world: int, path: Path) -> None:
    state = sharded(init_device_mesh("cpu", (world,)), whole)
    state["plain"] = torch.arange(10)
    state[f"rank {rank}"] = ("object of", rank)
    metadata = dcpx.save(state, path / "good", threads=1 + rank % 2)
    assert metadata.state_dict_metadata.keys() >= {*PLACED, "plain", f"rank {rank}"}
    dist.barrier()

    # One rank's extension fails: every rank learns it, and which it was.
    pack = Failing(RuntimeError("out of luck")) if rank == FAILING_RANK else dcpx.Pack()
    with pytest.raises(DcpxError, match="out of luck") as caught:
        dcpx.save(state, path / "failed", pack=pack)
    assert f"rank {FAILING_RANK}" in str(caught.value)
    dist.barrier()
    assert not (path / "failed" / ".metadata").exists()
    with pytest.raises(DcpxError):
        dcpx.save(state, path / "good")

    # The same ranks can go on.
    dcpx.save(state, path / "failed")
    loaded = sharded(init_device_mesh("cpu", (world,)), zeros)
    dcpx.load(loaded, path / "failed")
    assert_whole(loaded)


def load(rank: int, world: int, path: Path) -> None:
    mesh = init_device_mesh("cpu", (world,))
    loaded = sharded(mesh, zeros) | {"plain": torch.zeros(10, dtype=torch.int64), "rank 3": None, f"rank {rank}": None}
    dcpx.load(loaded, path / "good")
    assert_whole(loaded)
    assert loaded["plain"].tolist() == list(range(10))
    assert (loaded["rank 3"], loaded[f"rank {rank}"]) == (("object of", 3), ("object of", rank))

    # Other placements than it was saved with.
    turned = {
        "rows": distribute_tensor(zeros("rows"), mesh, [Shard(1)]),
        "columns": distribute_tensor(zeros("columns"), mesh, [Shard(0)]),
        "large": distribute_tensor(zeros("large"), mesh, [Replicate()]),
    }
    dcpx.load(turned, path / "good")
    for name, tensor in turned.items():
        assert bits(tensor.full_tensor()) == bits(whole(name)), name

    # Damage that only one rank reads is refused on every rank.
    with pytest.raises(CorruptError) as caught:
        dcpx.load(sharded(mesh, zeros), path / "damaged")
    assert ".distcp" in str(caught.value)

    # Last, as it may break the group.
    (path / f"keyword error on rank {rank}").write_text(outcome_of_a_keyword_error(rank, path / "keyword"))


def outcome_of_a_keyword_error(rank: int, path: Path) -> str:
    """What a save raises whose second rank fails with an error that can't be unpickled."""
    pack = Failing(KeywordError(reason="keywords")) if rank == 1 else dcpx.Pack()
    state: dict[str, Any] = {f"{rank}-{number}": (number,) for number in range(5)}
    try:
        dcpx.save(state, path, pack=pack)
    except Exception as error:  # noqa: BLE001 (whatever it is, the test says)
        return f"{isinstance(error, DcpxError)} {type(error).__name__}: {error}"
    return "nothing was raised"


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gloo") / "ranks"
    run(save, 4, path)
    return path


def test_four_ranks_save_and_one_process_loads(saved: Path):
    loaded: dict[str, Any] = {name: zeros(name) for name in PLACED}
    loaded |= {"plain": torch.zeros(10, dtype=torch.int64)} | {f"rank {rank}": None for rank in range(4)}
    dcpx.load(loaded, saved / "good")
    assert_whole(loaded)
    assert [loaded[f"rank {rank}"] for rank in range(4)] == [("object of", rank) for rank in range(4)]


def frames(path: Path) -> list[Any]:
    """(index, reader of its frame) of every stored item."""
    metadata = pickle.loads((path / ".metadata").read_bytes())
    found = []
    for index, info in metadata.storage_data.items():
        data = (path / info.relative_path).read_bytes()[info.offset : info.offset + info.length]
        found.append((index, open_frame(io.BytesIO(data))))
    return found


def test_every_shard_says_where_it_belongs(saved: Path):
    for index, reader in frames(saved / "good"):
        offsets = None if index.offset is None else tuple(index.offset)
        assert (reader.header.key.fqn, reader.header.key.offsets) == (index.fqn, offsets)
        hint, raw = reader.header.hint, reader.read()
        if hint is not None and index.fqn in PLACED:
            part = whole(index.fqn)
            for dimension, (start, size) in enumerate(zip(offsets, hint.shape, strict=True)):
                part = part.narrow(dimension, start, size)
            assert raw[hint.payload_offset :][: hint.nbytes] == bits(part), index


def test_every_rank_names_the_same_checkpoint(saved: Path):
    assert len({reader.header.checkpoint for _, reader in frames(saved / "good")}) == 1


def equal_shards(rank: int, world: int, path: Path) -> None:
    """Moments that are still zero, a tied weight that every rank holds, and an average that equals the weights."""
    mesh = init_device_mesh("cpu", (world,))
    weight = torch.arange(20_000.0).view(100, 200)

    def state(make: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
        kinds = {"first": torch.zeros_like(weight), "second": torch.zeros_like(weight), "w": weight, "average": weight}
        made: dict[str, Any] = {name: distribute_tensor(make(one), mesh, [Shard(0)]) for name, one in kinds.items()}
        return made | {"whole": make(weight), "tied": make(weight)}

    dcpx.save(state(torch.clone), path / "equal")
    found = state(torch.zeros_like)
    dcpx.load(found, path / "equal")
    for name, tensor in found.items():
        expected = torch.zeros_like(weight) if name in ("first", "second") else weight
        assert bits(tensor.full_tensor() if isinstance(tensor, DTensor) else tensor) == bits(expected), name


def test_equal_shards_of_a_rank_are_stored_once(tmp_path: Path):
    run(equal_shards, 2, tmp_path)
    summary = dcpx.inspect(tmp_path / "equal")
    assert len(summary.files) == 2
    parts = {item.name: [part.copy_of for part in item.parts] for item in summary.items}
    for pair in (("first", "second"), ("w", "average")):
        copies = [of for name in pair for of in parts[name] if of is not None]
        assert len(copies) == 2, "one of each rank's two"
    assert dcpx.verify(tmp_path / "equal").ok
    alone = {"average": torch.zeros(100, 200), "second": torch.ones(100, 200), "tied": torch.ones(100, 200)}
    dcpx.load(alone, tmp_path / "equal")
    assert torch.equal(alone["average"], torch.arange(20_000.0).view(100, 200))
    assert not alone["second"].any()


@pytest.fixture(scope="module")
def loaded(saved: Path) -> Path:
    damaged = saved / "damaged"
    damaged.mkdir()
    for file in (saved / "good").iterdir():
        data = bytearray(file.read_bytes())
        if "__3_" in file.name:  # holds the last rows, which only the last rank reads
            for at in range(64, len(data), 500):
                data[at] ^= 16
        (damaged / file.name).write_bytes(data)
    run(load, 2, saved)
    return saved


def test_two_ranks_load_what_four_saved(loaded: Path):
    assert (loaded / "keyword error on rank 1").exists(), "the ranks didn't come to their end"


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_that_cannot_be_unpickled_reaches_every_rank(rank: int, loaded: Path):
    found = (loaded / f"keyword error on rank {rank}").read_text()
    assert found.startswith("True "), found
    assert "keywords" in found
    assert not (loaded / "keyword" / ".metadata").exists()
