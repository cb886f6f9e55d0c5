"""Equal tensors of a save are stored once, and only they; what is loaded is what each of them held."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import WriteItem

import dcpx
from dcpx import SaveError
from dcpx.catalog.leftovers import find_leftovers
from dcpx.progress import Progress
from tests.support.files import data_file
from tests.support.leaks import nothing_left
from tests.support.tensors import DTYPES, LAYOUTS, bits, blank, random_tensor, weights

PACKS: dict[str, Callable[[], Any]] = {
    "fast": dcpx.Pack,
    "small": lambda: dcpx.Pack(level="small"),
    "raw": lambda: dcpx.Pack("raw"),
    "zstd": lambda: dcpx.Pack("zstd"),
    "chunks of 4 KiB": lambda: dcpx.Pack(chunk_size=4096),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "zstd": dcpx.ZStandard,
    "chain": lambda: dcpx.Chain(dcpx.Pack(), dcpx.ZStandard()),
}
WEIGHT = weights(torch.bfloat16, (500, 3001))


def copies(path: Path) -> dict[str, str]:
    """The copies by their names, and what they are copies of."""
    parts = ((item.name, item.parts[0].copy_of) for item in dcpx.inspect(path).items)
    return {name: of for name, of in parts if of is not None}


def assert_loads(path: Path, state: dict[str, Any]) -> None:
    found = {name: blank(tensor) for name, tensor in state.items()}
    with nothing_left():
        dcpx.load(found, path)
    for name, tensor in state.items():
        assert bits(found[name]) == bits(tensor), name
    report = dcpx.verify(path)
    assert report.ok
    assert sorted(report.whole) == sorted(state)


@pytest.mark.parametrize("pack", PACKS)
def test_equal_tensors_are_stored_once(pack: str, tmp_path: Path):
    alone: dict[str, Any] = {"a": WEIGHT, "short": WEIGHT[0, :2048].clone()}
    dcpx.save(alone, tmp_path / "alone", pack=PACKS[pack]())
    state = alone | {"tied": WEIGHT, "equal": WEIGHT.clone(), "short too": alone["short"].clone()}
    dcpx.save(state, tmp_path / "c", pack=PACKS[pack]())
    assert copies(tmp_path / "c") == {"equal": "a", "tied": "a", "short too": "short"}
    assert data_file(tmp_path / "c").stat().st_size == data_file(tmp_path / "alone").stat().st_size
    assert_loads(tmp_path / "c", state)


def test_what_a_copy_costs(tmp_path: Path):
    """Less than a thousandth of its bytes, all files counted."""
    large = weights(torch.bfloat16, (1000, 1000))
    sizes = []
    for count in (1, 101):
        path = tmp_path / str(count)
        dcpx.save({f"model.layers.{number}.weight": large for number in range(count)}, path)
        sizes.append(sum(file.stat().st_size for file in path.iterdir()))
    assert (sizes[1] - sizes[0]) / 100 < large.nbytes / 1000


@pytest.mark.parametrize("pack", OTHERS)
def test_what_is_not_packed_is_stored_again(pack: str, tmp_path: Path):
    state = {"a": WEIGHT, "tied": WEIGHT}
    dcpx.save(state, tmp_path / "c", pack=OTHERS[pack]())
    assert copies(tmp_path / "c") == {}
    assert_loads(tmp_path / "c", state)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout(dtype: str, layout: str, tmp_path: Path):
    tensor = random_tensor(DTYPES[dtype], (71, 67))
    state = {"a": tensor, "b": LAYOUTS[layout](tensor.clone())}
    dcpx.save(state, tmp_path / "c")
    assert copies(tmp_path / "c") == ({"b": "a"} if tensor.nbytes >= 4096 else {})
    assert_loads(tmp_path / "c", state)


def test_a_view_of_many_blocks(tmp_path: Path):
    state = {"a": WEIGHT, "b": WEIGHT.t().contiguous().t(), "c": WEIGHT.t().contiguous().t()}
    state["c"][-1, -1] += 1
    dcpx.save(state, tmp_path / "c")
    assert copies(tmp_path / "c") == {"b": "a"}
    assert_loads(tmp_path / "c", state)


@pytest.mark.parametrize("at", [0, 1, 255, 500, 4097, 123_456, 3_000_999, -1])
def test_one_bit_makes_another_tensor(at: int, tmp_path: Path):
    state = {"a": WEIGHT, "b": WEIGHT.clone(), "c": WEIGHT.clone()}
    state["b"].view(-1).view(torch.uint8)[at] ^= 1
    dcpx.save(state, tmp_path / "c")
    assert copies(tmp_path / "c") == {"c": "a"}
    assert_loads(tmp_path / "c", state)


def test_what_is_not_the_same(tmp_path: Path):
    zeros = torch.zeros(64, 64)
    state = {
        "zeros": zeros,
        "negative zeros": -zeros,
        "other shape": zeros.view(32, 128),
        "other dtype": zeros.view(torch.int32),
        "small": torch.zeros(1000),
        "small too": torch.zeros(1000),
        "none": torch.zeros(0, 64),
        "none too": torch.zeros(0, 64),
    }
    dcpx.save(state, tmp_path / "c")
    assert copies(tmp_path / "c") == {}
    assert_loads(tmp_path / "c", state)


def test_a_policys_choice_is_kept(tmp_path: Path):
    pack = dcpx.Pack(policy=lambda item: "raw" if item.fqn.startswith("raw") else None)
    state = {"a": WEIGHT, "b": WEIGHT, "raw a": WEIGHT, "raw b": WEIGHT}
    dcpx.save(state, tmp_path / "c", pack=pack)
    assert copies(tmp_path / "c") == {"b": "a", "raw b": "raw a"}
    assert_loads(tmp_path / "c", state)


@pytest.mark.parametrize("options", [{"names": "stock"}, {"threads": 0}], ids=str)
def test_the_writers_options(options: dict[str, Any], tmp_path: Path):
    state = {"a": WEIGHT, "b": WEIGHT.clone(), "c": WEIGHT[0].clone()}
    dcp.save(state, storage_writer=dcpx.Writer(tmp_path / "c", **options))
    assert copies(tmp_path / "c") == {"b": "a"}
    assert_loads(tmp_path / "c", state)


def test_progress_counts_copies(tmp_path: Path):
    seen: list[Progress] = []
    dcpx.save({"a": WEIGHT, "b": WEIGHT, "c": WEIGHT.clone()}, tmp_path / "c", progress=seen.append)
    last = seen[-1]
    assert (last.items_done, last.bytes_done) == (last.items_total, last.bytes_total) == (3, 3 * WEIGHT.nbytes)


# --- tensors that change, or go ---------------------------------------------------------------------------------------


class Asking(DefaultSavePlanner):
    """Calls `twice` when an item's data is asked for the second time."""

    def __init__(self, twice: Callable[[dict[str, Any]], object]) -> None:
        super().__init__()
        self._twice = twice
        self._asked: set[str] = set()

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor | io.BytesIO:
        name = write_item.index.fqn
        if name in self._asked:
            self._twice(self.state_dict)
        self._asked.add(name)
        found: torch.Tensor | io.BytesIO = super().resolve_data(write_item)
        return found


def test_the_second_changes_before_it_is_compared(tmp_path: Path):
    state = {"a": WEIGHT.clone(), "b": WEIGHT.clone()}
    dcpx.save(state, tmp_path / "c", planner=Asking(lambda of: of["b"].fill_(7)))
    assert copies(tmp_path / "c") == {}
    assert_loads(tmp_path / "c", {"a": WEIGHT, "b": torch.full_like(WEIGHT, 7)})


def test_both_change_alike(tmp_path: Path):
    """What is stored of the first isn't what the second holds now, though both are equal again."""
    state = {"a": WEIGHT.clone(), "b": WEIGHT.clone()}

    def fill(of: dict[str, torch.Tensor]) -> None:
        of["a"].fill_(7)
        of["b"].fill_(7)

    dcpx.save(state, tmp_path / "c", planner=Asking(fill))
    assert_loads(tmp_path / "c", {"a": WEIGHT, "b": torch.full_like(WEIGHT, 7)})


def test_a_copy_whose_memory_goes(tmp_path: Path):
    state = {"a": WEIGHT, "b": WEIGHT.t().contiguous().t()}
    free = Asking(lambda of: of["b"].untyped_storage().resize_(0))
    with nothing_left(), pytest.raises(SaveError, match="memory was freed") as caught:
        dcpx.save(state, tmp_path / "c", planner=free)
    assert caught.value.where.item == "b"
    assert list((tmp_path / "c").iterdir()) == []


# --- what becomes of the checkpoint -----------------------------------------------------------------------------------


def test_nothing_shared_is_left_behind(tmp_path: Path):
    dcpx.save({"a": WEIGHT, "b": WEIGHT}, tmp_path)
    assert find_leftovers(tmp_path) == []
    dcpx.save({"b": WEIGHT[1:], "c": WEIGHT[1:]}, tmp_path, overwrite=True)
    assert copies(tmp_path) == {"c": "b"}
    assert len(list(tmp_path.glob("*.distcp"))) == 1
    assert_loads(tmp_path, {"b": WEIGHT[1:], "c": WEIGHT[1:]})


def test_a_lost_pointer_is_rebuilt(tmp_path: Path):
    dcpx.save({"a": WEIGHT, "b": WEIGHT}, tmp_path)
    (tmp_path / ".metadata").unlink()
    dcpx.restore_pointer(tmp_path)
    assert_loads(tmp_path, {"a": WEIGHT, "b": WEIGHT})


@pytest.mark.parametrize("pack", [None, dcpx.Pack(), dcpx.Pack(level="small")], ids=str)
def test_conversion(pack: Any, tmp_path: Path):
    """A copy is read and written as any tensor, and found again."""
    state = {"a": WEIGHT, "b": WEIGHT, "c": WEIGHT[1:].clone(), "d": WEIGHT[1:].clone()}
    dcpx.save(state, tmp_path / "one", pack=dcpx.Pack())
    dcpx.convert(tmp_path / "one", tmp_path / "two", to="dcpx", pack=pack)
    assert copies(tmp_path / "two") == ({} if pack is None else {"b": "a", "d": "c"})
    assert_loads(tmp_path / "two", state)
    dcpx.convert(tmp_path / "two", tmp_path / "weights.safetensors")
    dcpx.convert(tmp_path / "weights.safetensors", tmp_path / "three", pack=pack)
    assert_loads(tmp_path / "three", state)


def test_views_count_the_bytes_once(tmp_path: Path):
    state = {"a": WEIGHT, "b": WEIGHT, "short": WEIGHT[0].clone(), "short too": WEIGHT[0].clone()}
    dcpx.save(state, tmp_path)
    summary = dcpx.inspect(tmp_path)
    size = data_file(tmp_path).stat().st_size
    assert summary.nbytes == sum(tensor.nbytes for tensor in state.values())
    assert summary.stored == size
    assert {item.name: item.coding for item in summary.items}["b"] == "copy"
    assert dcpx.verify(tmp_path).nbytes == dcpx.verify(tmp_path, quick=True).nbytes == size
    found = dcpx.estimate(tmp_path)
    assert found.stored == size
    assert {one.level: one.stored for one in found.levels}["fast"] == size
    dcpx.save(state, tmp_path / "plain", pack=None)
    plain = sum(item.stored for item in dcpx.inspect(tmp_path / "plain").items)
    assert {one.level: one.stored for one in found.levels}["plain"] == pytest.approx(plain, rel=0.001)


def test_differences(tmp_path: Path):
    dcpx.save({"a": WEIGHT, "b": WEIGHT}, tmp_path / "tied")
    dcpx.save({"a": WEIGHT, "b": WEIGHT + 1}, tmp_path / "untied")
    dcpx.save({"a": WEIGHT, "b": WEIGHT}, tmp_path / "tied again")
    changes = [
        {item.name: item.change for item in dcpx.diff(tmp_path / "tied", tmp_path / other).items}
        for other in ("tied again", "untied")
    ]
    assert changes == [{"a": "same", "b": "same"}, {"a": "same", "b": "changed"}]


def test_loads_into_tied_memory(tmp_path: Path):
    dcpx.save({"a": WEIGHT, "b": WEIGHT}, tmp_path)
    target = blank(WEIGHT)
    dcpx.load({"a": target, "b": target}, tmp_path)
    assert bits(target) == bits(WEIGHT)
    assert bits(dcpx.load_all(tmp_path)["b"]) == bits(WEIGHT)
