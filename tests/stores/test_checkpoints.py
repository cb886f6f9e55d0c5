"""Whole checkpoints in stores that are no local directory: a real S3 server, objects in memory, and fsspec's."""

from __future__ import annotations

import pickle
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter

import dcpx
from dcpx.catalog.leftovers import find_leftovers, remove_leftovers
from dcpx.catalog.names import is_scaffold, save_of
from dcpx.store.address import open_store
from dcpx.store.contract import Store
from tests.support.s3 import BUCKET, KEY, SECRET, Proxy, bucket_options, uploads

PLACES = ["S3", "objects in memory", "fsspec"]


class Place(NamedTuple):
    """Where a checkpoint is to lie."""

    address: str
    options: dict[str, Any]

    @property
    def store(self) -> Store:
        return open_store(self.address, storage_options=self.options)

    def save(self, state: dict[str, Any], **options: Any) -> None:
        dcpx.save(state, self.address, storage_options=self.options, **options)

    def load(self, state: dict[str, Any], **options: Any) -> dict[str, Any]:
        dcpx.load(state, self.address, storage_options=self.options, **options)
        return state


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    name = f"{uuid.uuid4()}/step 1#?x=2"  # which means nothing in a name
    match request.param:
        case "S3":
            endpoint = request.getfixturevalue("s3")
            place = Place(f"s3://{BUCKET}/{name}", bucket_options(endpoint))
            yield place
            assert uploads(endpoint, place.address) == []
        case "objects in memory":
            yield Place(f"memory://{name}", {})
        case _:  # through fsspec's own view of a directory, which is another store to dcpx
            yield Place("dir://step 1", {"path": str(tmp_path), "target_protocol": "file"})


def state_of(step: int, size: int = 3_000_000) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    return {
        "w": torch.randn(size // 1000, 1000, generator=generator).bfloat16(),
        "layers": {str(number): torch.randn(7, number + 1, generator=generator) for number in range(40)},
        "step": step,
        "names": ["a", "b"],
    }


def blank(size: int = 3_000_000) -> dict[str, Any]:
    return {
        "w": torch.zeros(size // 1000, 1000, dtype=torch.bfloat16),
        "layers": {str(number): torch.zeros(7, number + 1) for number in range(40)},
        "step": 0,
        "names": [],
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert torch.equal(found["w"], expected["w"])
    assert all(torch.equal(found["layers"][name], one) for name, one in expected["layers"].items())
    assert (found["step"], found["names"]) == (expected["step"], expected["names"])


@pytest.mark.parametrize("pack", [dcpx.Pack(), dcpx.ZStandard(), None], ids=["pack", "zstd", "none"])
def test_saved_loaded_replaced(place: Place, pack: Any):
    place.save(state_of(1), pack=pack)
    assert_same(place.load(blank()), state_of(1))
    with pytest.raises(dcpx.SaveError, match="exists already"):
        place.save(state_of(2), pack=pack)
    assert_same(place.load(blank()), state_of(1))
    place.save(state_of(3), pack=pack, overwrite=True, user={"step": 3})
    assert_same(place.load(blank()), state_of(3))
    names = place.store.names()
    saves = {save_of(name) for name in names} - {None}
    assert (len(saves), names.count(".metadata")) == (1, 1), "nothing is left of the others"
    assert not any(is_scaffold(name) for name in names)
    report = dcpx.verify(place.address, storage_options=place.options)
    assert report.ok
    assert report.sealed
    assert not report.leftovers
    assert report.path == place.address


def test_equal_tensors_are_stored_once(place: Place):
    weight = state_of(1)["w"]
    place.save({"w": weight, "tied": weight, "step": 1})
    summary = dcpx.inspect(place.address, storage_options=place.options)
    assert [item.name for item in summary.items if item.parts[0].copy_of == "w"] == ["tied"]
    assert summary.stored == sum(summary.files.values()) < weight.nbytes
    loaded = place.load({"w": torch.zeros_like(weight), "tied": torch.zeros_like(weight), "step": 0})
    assert torch.equal(loaded["w"], weight)
    assert torch.equal(loaded["tied"], weight)
    assert dcpx.verify(place.address, storage_options=place.options).ok


def test_nothing_there(place: Place):
    with pytest.raises(dcpx.NotFoundError):
        place.load(blank())
    with pytest.raises(dcpx.NotFoundError):
        dcpx.verify(place.address, storage_options=place.options)
    with pytest.raises(dcpx.NotFoundError):
        find_leftovers(place.address, storage_options=place.options)


def test_damaged(place: Place):
    place.save(state_of(1))
    store = place.store
    data = next(name for name in store.names() if name.endswith(".distcp"))
    content = bytearray(store.read(data, 1 << 30))
    content[len(content) // 2] ^= 1
    store.write(data, bytes(content))
    with pytest.raises(dcpx.CorruptError, match=data):
        place.load(blank())
    report = dcpx.verify(place.address, storage_options=place.options)
    assert report.lost == ["w"]
    store.write(data, bytes(content[:-1]))
    with pytest.raises(dcpx.CorruptError):
        place.load(blank())
    store.remove(data)
    with pytest.raises(dcpx.MissingFileError, match=data):
        place.load(blank())


def test_a_lost_pointer(place: Place):
    place.save(state_of(1))
    place.store.remove(".metadata")
    with pytest.raises(dcpx.LostPointerError):
        place.load(blank())
    with pytest.raises(dcpx.SaveError, match="lost its"):
        place.save(state_of(2))
    assert dcpx.restore_pointer(place.address, storage_options=place.options) == [".metadata"]
    assert_same(place.load(blank()), state_of(1))


class Stubborn:
    """An object that can't be saved."""

    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


def test_a_failed_save_leaves_nothing(place: Place):
    place.save(state_of(1))
    before = sorted(place.store.names())
    with pytest.raises(dcpx.SaveError, match="not me"):
        place.save({**state_of(2), "x": Stubborn()}, overwrite=True)
    assert sorted(place.store.names()) == before
    assert_same(place.load(blank()), state_of(1))


def test_leftovers(place: Place):
    place.save(state_of(1))
    store = place.store
    dead = str(uuid.uuid4())
    store.write(f"{dead}__0_0.distcp", b"abc")
    store.write("notes.txt", b"mine")
    (found,) = find_leftovers(place.address, storage_options=place.options)
    assert (found.save, found.nbytes, found.state) == (dead, 3, "unknown")
    assert remove_leftovers(place.address, storage_options=place.options) == [], "it may be of another machine's save"
    assert remove_leftovers(place.address, older_than=0, storage_options=place.options) == [found]
    assert "notes.txt" in store.names()
    assert_same(place.load(blank()), state_of(1))


@pytest.mark.parametrize("place", ["S3", "objects in memory"], indirect=True)
@pytest.mark.parametrize("overwrite", [False, True])
def test_several_savers_at_once(place: Place, overwrite: bool):
    """One wins, and whoever doesn't is told; with `overwrite` several may, one after another."""
    outcomes: dict[int, BaseException | None] = {}
    begin = threading.Barrier(6)

    def save(number: int) -> None:
        begin.wait()
        try:
            dcp.save(
                state_of(number, 1000),
                storage_writer=dcpx.Writer(place.address, overwrite=overwrite, storage_options=place.options),
                no_dist=True,
            )
            outcomes[number] = None
        except BaseException as error:  # noqa: BLE001 (a CheckpointException is no Exception)
            outcomes[number] = error

    threads = [threading.Thread(target=save, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = place.load(blank(1000))
    won = [number for number, error in outcomes.items() if error is None]
    assert found["step"] in won
    assert_same(found, state_of(found["step"], 1000))
    if not overwrite:
        assert len(won) == 1
    said = "was faster" if overwrite else "exists already"
    assert all(said in str(error) for error in outcomes.values() if error is not None)
    names = place.store.names()
    assert len(names) == 3, names


def test_one_writer_for_several_saves_in_another_process_too(place: Place):
    writer = dcpx.Writer(place.address, overwrite=True, storage_options=place.options)
    for step in (1, 2):
        dcp.save(state_of(step), storage_writer=writer, no_dist=True)
        writer = pickle.loads(pickle.dumps(writer))
    assert_same(place.load(blank()), state_of(2))


def test_secrets_are_not_told(s3: str):
    place = Place(f"s3://{BUCKET}/{uuid.uuid4()}", bucket_options(s3))
    place.save(state_of(1))
    contents = [place.store.read(name, 1 << 30) for name in place.store.names()]
    assert not any(SECRET.encode() in content for content in contents)
    assert SECRET not in repr(dcpx.Writer(place.address, storage_options=place.options))
    with pytest.raises(dcpx.LoadError) as caught:
        dcpx.load(blank(), "ftp://somebody:hidden@127.0.0.1:1/x")
    assert "hidden" not in str(caught.value)
    wrong = {**place.options, "secret_access_key": "wrong-secret"}
    with pytest.raises(dcpx.LoadError) as caught:
        dcpx.load(blank(), place.address, storage_options=wrong)
    assert "wrong-secret" not in str(caught.value)


# --- beside torch's own -----------------------------------------------------------------------------------------------


@pytest.fixture
def stock(s3: str) -> dict[str, Any]:
    """What s3fs is told of the server."""
    return {"key": KEY, "secret": SECRET, "endpoint_url": s3}


def test_what_stock_dcp_wrote(s3: str, stock: dict[str, Any]):
    place = Place(f"s3://{BUCKET}/{uuid.uuid4()}", bucket_options(s3))
    dcp.save(state_of(1), storage_writer=FsspecWriter(place.address, **stock), no_dist=True)
    assert_same(place.load(blank()), state_of(1))


def test_what_stock_dcp_reads(s3: str, stock: dict[str, Any]):
    place = Place(f"s3://{BUCKET}/{uuid.uuid4()}", bucket_options(s3))
    place.save(state_of(1))
    reader = FsspecReader(place.address, **stock)
    reader.transforms.extension_registry = dcpx.default_registry()  # type: ignore[assignment]
    state = blank()
    dcp.load(state, storage_reader=reader, no_dist=True)
    assert_same(state, state_of(1))


# --- what is transferred ----------------------------------------------------------------------------------------------


def stored_bytes(place: Place) -> int:
    return sum(entry.size for entry in place.store.entries(bool).values())


@pytest.mark.parametrize("pack", [dcpx.Pack(), None], ids=["pack", "none"])
def test_no_more_is_transferred_than_there_is(proxy: Proxy, pack: Any):
    place = Place(f"s3://{BUCKET}/{uuid.uuid4()}", bucket_options(proxy.endpoint))
    state = state_of(1, 20_000_000)
    place.save(state, pack=pack)
    stored = stored_bytes(place)
    assert sum(request.size for request in proxy.requests) <= 1.02 * stored
    proxy.begin()
    assert_same(place.load(blank(20_000_000)), state)
    assert proxy.received <= 1.05 * stored
    assert len(proxy.requests) <= 20, "small items come together"


def test_a_slice_of_a_tensor(proxy: Proxy):
    place = Place(f"s3://{BUCKET}/{uuid.uuid4()}", bucket_options(proxy.endpoint))
    whole = torch.randn(4096, 4096)
    place.save({"w": whole})
    stored = stored_bytes(place)
    proxy.begin()
    reader = dcpx.Reader(place.address, storage_options=place.options)
    metadata = reader.read_metadata()
    from torch.distributed.checkpoint.metadata import MetadataIndex
    from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem

    rows = torch.zeros(512, 4096)
    index = MetadataIndex("w", torch.Size([0, 0]), 0)
    item = ReadItem(
        LoadItemType.TENSOR, index, torch.Size([0, 0]), index, torch.Size([1024, 0]), torch.Size([512, 4096])
    )
    planner = dcp.DefaultLoadPlanner()
    planner.set_up_planner({"w": rows}, metadata, True)
    reader.set_up_storage_reader(metadata, True)
    reader.read_data(LoadPlan([item]), planner).wait()
    assert torch.equal(rows, whole[1024:1536])
    assert proxy.received <= 0.2 * stored


# --- the newest of several --------------------------------------------------------------------------------------------


def test_the_newest_below_an_address(place: Place):
    def latest(below: str = "", **options: Any) -> dcpx.Latest:
        return dcpx.latest(place.address + below, storage_options=place.options, **options)

    with pytest.raises(dcpx.NotFoundError, match="no such directory"):
        latest()
    for step in (9, 10, 11):
        Place(f"{place.address}/run/epoch 0/step-{step}", place.options).save(state_of(step, 1000))
    store = Place(f"{place.address}/run/epoch 0/step-11", place.options).store
    assert store.folders() == []
    assert sorted(Place(f"{place.address}/run/epoch 0", place.options).store.folders()) == [
        "step-10",
        "step-11",
        "step-9",
    ]
    newest = latest("/run")
    assert (newest.path, newest.step) == (f"{place.address}/run/epoch 0/step-11", 11)
    assert latest("/run/epoch 0/step-9").step == 9
    data = next(name for name in store.names() if name.endswith(".distcp"))
    content = bytearray(store.read(data, 1 << 20))
    content[len(content) // 2] ^= 1
    store.write(data, bytes(content))
    newest = latest("/")
    assert (newest.path, newest.step) == (f"{place.address}/run/epoch 0/step-10", 10)
    assert newest.passed_over[0][0].endswith("step-11")
    store.remove(data)
    assert latest(quick=True).step == 10
