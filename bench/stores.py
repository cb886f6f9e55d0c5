"""How fast are a save to and a load from an S3 server on this machine, and how many bytes go over the wire?

The server is a real one (SeaweedFS), on loopback, and takes its part of the same cores. Beside dcpx stands stock DCP
with its `FsspecWriter` and `FsspecReader` over s3fs. Every load is compared bit for bit. What goes over the wire is
counted by a proxy, in runs of their own, which aren't timed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from rich.console import Console
from tests.support.s3 import BUCKET, KEY, SECRET, Proxy, bucket_options, s3_server
from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader, FsspecWriter

import dcpx

from .in_turn import Row, in_turn
from .states import STATES, State, check_exact, nbytes, one, spoil, spoilt

STATE = "many"
ROUNDS = 5
WAYS = ("stock", "dcpx", "dcpx, pack=None")


def run(rounds: int = ROUNDS) -> list[Row]:
    state = STATES[STATE]()
    with warnings.catch_warnings(), s3_server() as endpoint:
        warnings.simplefilter("ignore")
        return [*_timed(endpoint, state, rounds), *_counted(endpoint, state), *_slice(endpoint)]


def _saver(way: str, endpoint: str, state: State) -> Callable[[], object]:
    path = f"s3://{BUCKET}/{way.replace(', ', '-')}"
    if way == "stock":
        return lambda: dcp.save(state, storage_writer=FsspecWriter(path, **_fsspec(endpoint)), no_dist=True)
    pack = None if way.endswith("None") else dcpx.Pack()
    options = bucket_options(endpoint)
    return lambda: dcpx.save(state, path, pack=pack, overwrite=True, storage_options=options)


def _loader(way: str, endpoint: str, targets: State) -> Callable[[], object]:
    path = f"s3://{BUCKET}/{way.replace(', ', '-')}"
    if way == "stock":
        return lambda: dcp.load(targets, storage_reader=FsspecReader(path, **_fsspec(endpoint)), no_dist=True)
    return lambda: dcpx.load(targets, path, storage_options=bucket_options(endpoint))


def _fsspec(endpoint: str) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "endpoint_url": endpoint}


def _timed(endpoint: str, state: State, rounds: int) -> list[Row]:
    saved = in_turn(
        f"save {STATE} to S3", nbytes(state), {way: _saver(way, endpoint, state) for way in WAYS}, rounds=rounds
    )
    targets = spoilt(state)

    def check(way: str) -> None:
        check_exact(targets, state)
        spoil(targets, state)

    ways = {way: _loader(way, endpoint, targets) for way in WAYS}
    return [*saved, *in_turn(f"load {STATE} from S3", nbytes(state), ways, rounds=rounds, check=check)]


def _counted(endpoint: str, state: State) -> list[Row]:
    """Bytes that went over the wire, as a share of those that are stored."""
    rows: list[Row] = []
    with Proxy(endpoint) as proxy:
        for way in WAYS:
            proxy.begin()
            _saver(way, proxy.endpoint, state)()
            sent = sum(request.size for request in proxy.requests)
            asked = len(proxy.requests)
            proxy.begin()
            _loader(way, proxy.endpoint, spoilt(state))()
            row: Row = {
                "section": "over the wire",
                "way": way,
                "raw": nbytes(state),
                "sent": sent,
                "save_requests": asked,
            }
            rows.append({**row, "received": proxy.received, "load_requests": len(proxy.requests)})
            Console(width=110).print(f"{way}: sent {sent:,} by {asked}, received {proxy.received:,}")
    return rows


def _slice(endpoint: str) -> list[Row]:
    """Of one tensor the rows of one of eight ranks, as a share of the bytes that are stored of it."""
    whole = one(rows=8192)["x"]
    address = f"s3://{BUCKET}/one"
    with Proxy(endpoint) as proxy:
        options = bucket_options(proxy.endpoint)
        proxy.begin()
        dcpx.save({"x": whole}, address, overwrite=True, storage_options=options)
        stored = sum(request.size for request in proxy.requests)
        proxy.begin()
        part = _rows(address, options, 1024, 2048)
        assert torch.equal(part, whole[1024:2048])
        share = proxy.received / stored
    Console(width=110).print(f"an eighth of a tensor: {share:.3f} of its stored bytes are received")
    return [{"section": "slice", "way": "dcpx", "raw": whole.nbytes, "received_of_stored": share}]


def _rows(address: str, options: dict[str, Any], begin: int, end: int) -> torch.Tensor:
    from torch.distributed.checkpoint import DefaultLoadPlanner
    from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata
    from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem

    reader = dcpx.Reader(address, storage_options=options)
    metadata = reader.read_metadata()
    described = metadata.state_dict_metadata["x"]
    assert isinstance(described, TensorStorageMetadata)
    size = described.size
    sizes = torch.Size([end - begin, *size[1:]])
    target = torch.zeros(sizes, dtype=torch.bfloat16)
    nowhere, start = torch.Size([0, 0]), torch.Size([begin, 0])
    index = MetadataIndex("x", nowhere)
    item = ReadItem(LoadItemType.TENSOR, index, nowhere, index, start, sizes)
    planner = DefaultLoadPlanner()
    planner.resolve_tensor = partial(lambda found, _: found, target)  # type: ignore[method-assign]
    planner.set_up_planner({}, metadata, True)
    reader.set_up_storage_reader(metadata, True)
    reader.read_data(LoadPlan([item]), planner).wait()
    return target
