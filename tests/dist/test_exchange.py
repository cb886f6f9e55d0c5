"""What all ranks need of a checkpoint in a distant store goes over the wire once: they read for one another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint import DefaultLoadPlanner

import dcpx
from dcpx import CorruptError, DcpxError
from dcpx.loading.exchange import Exchange
from dcpx.store.objects import ObjectStore
from tests.dist.ranks import run
from tests.support.s3 import BUCKET, Proxy, bucket_options
from tests.support.tensors import bits
from tests.support.versions import gloo

pytestmark = [gloo, pytest.mark.timeout(180)]

PROMPT_SECONDS = 15
ADDRESS = f"s3://{BUCKET}/exchanged"


def state() -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(3)
    large = {f"large {number}": torch.randn(300_000 + number, generator=numbers) for number in range(9)}
    small = {f"small {number}": torch.randn(number, 7, generator=numbers).bfloat16() for number in range(60)}
    return {**large, **small, "object": ("step", 3, "x" * 3000), "empty": torch.zeros(0, 4)}


def blank(value: Any) -> Any:
    return torch.zeros_like(value) if isinstance(value, torch.Tensor) else None


def loaded(names: list[str], options: dict[str, Any], **more: Any) -> None:
    """Load these, and compare every bit."""
    expected = state()
    found = {name: blank(expected[name]) for name in names}
    dcpx.load(found, ADDRESS, storage_options=options, **more)
    for name in names:
        if isinstance(expected[name], torch.Tensor):
            assert bits(found[name]) == bits(expected[name]), name
        else:
            assert found[name] == expected[name]


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many bytes this process reads of data files."""
    sizes: list[int] = []

    def counting(name: str) -> Any:
        stock = getattr(ObjectStore, name)

        def read(self: ObjectStore, file: str, *arguments: Any) -> Any:
            found = stock(self, file, *arguments)
            sizes.extend(map(len, found))
            return found

        return mock.patch.object(ObjectStore, name, read)

    with counting("read_together"), counting("read_apart"):
        yield sizes


def bytes_read(sizes: list[int]) -> int:
    """By all ranks together."""
    total = torch.tensor(sum(sizes))
    dist.all_reduce(total)
    return int(total)


# --- what the ranks do ------------------------------------------------------------------------------------------------


def work(rank: int, world: int, path: Path, options: dict[str, Any]) -> None:
    everything = list(state())
    metadata = dcpx.save(state(), ADDRESS, overwrite=True, storage_options=options)
    assert metadata.storage_data is not None
    stored = sum(info.length for info in metadata.storage_data.values()) if rank == 0 else 0
    sent = [stored]
    dist.broadcast_object_list(sent)
    stored = sent[0]

    for budget in (256 << 20, 12 << 20):  # in one go, and in many
        with counted() as sizes:
            loaded(everything, options, budget=budget)
        assert bytes_read(sizes) < 1.2 * stored, budget
        # Some that all want, and some that are one rank's alone.
        mine = [f"large {rank}", "object", *(f"small {number}" for number in range(60) if number % 5 or rank == 1)]
        loaded(mine, options, budget=budget, partial=True)

    # A planner of somebody's own isn't trusted to tell the ranks what they have to know; also where one rank has it.
    loaded(everything, options, planner=DefaultLoadPlanner())
    loaded(everything, options, planner=DefaultLoadPlanner() if rank == 1 else None)

    # One rank can't read its share: each reads that by itself.
    with mock.patch.object(Exchange, "_read", (lambda *_: False) if rank == 1 else Exchange._read):
        loaded(everything, options, budget=12 << 20)

    # One rank fails, early and late: all learn it at once, and can go on.
    for fails in ("dcpx.loading.reader.check_casts", "dcpx.loading.ledger.Ledger.end"):
        begin = time.monotonic()
        failing = mock.patch(fails, mock.Mock(side_effect=CorruptError("out of luck")))
        with failing if rank == 2 else nullcontext(), pytest.raises(DcpxError, match="out of luck") as caught:
            loaded(everything, options, budget=12 << 20)
        assert caught.value.where.rank == 2
        assert time.monotonic() - begin < PROMPT_SECONDS
    loaded(everything, options)
    loaded(everything, options, threads=0)

    # Part of the ranks.
    group = dist.new_group([1, 2])
    if rank:
        loaded(everything, options, process_group=group)
    dist.barrier()


def test_ranks_read_for_one_another(s3: str, tmp_path: Path):
    run(partial(work, options=bucket_options(s3)), 3, tmp_path)


def copies(rank: int, world: int, path: Path, options: dict[str, Any]) -> None:
    """What several items share is exchanged once."""
    large = state()["large 0"]
    expected = {"large": large, "tied": large, "other": state()["large 1"], "equal": large.clone()}
    if rank == 0:
        dcpx.save(expected, ADDRESS, overwrite=True, no_dist=True, storage_options=options)
    dist.barrier()
    found = {name: torch.zeros_like(one) for name, one in expected.items()}
    with counted() as sizes:
        dcpx.load(found, ADDRESS, storage_options=options)
    assert bytes_read(sizes) < 1.2 * dcpx.inspect(ADDRESS, storage_options=options).stored < 3 * large.nbytes
    assert all(bits(found[name]) == bits(one) for name, one in expected.items())


def test_what_several_items_share_is_read_once(s3: str, tmp_path: Path):
    run(partial(copies, options=bucket_options(s3)), 3, tmp_path)


def some_of_it_is_damaged(rank: int, world: int, path: Path, options: dict[str, Any]) -> None:
    """What one rank has read is checked by every rank."""
    dcpx.save(state(), ADDRESS, overwrite=True, storage_options=options)
    stock = Exchange._exchanged

    def flipped(self: Exchange, *arguments: Any, **more: Any) -> Any:
        spans, parts = stock(self, *arguments, **more)
        if rank == 1:
            for part in parts:
                part[len(part) // 2] ^= 1
        return spans, parts

    with mock.patch.object(Exchange, "_exchanged", flipped), pytest.raises(DcpxError) as caught:
        loaded(list(state()), options)
    assert caught.value.where.rank == 1
    loaded(list(state()), options)


def test_what_is_told_is_checked(s3: str, tmp_path: Path):
    run(partial(some_of_it_is_damaged, options=bucket_options(s3)), 2, tmp_path)


def over_a_wire(rank: int, world: int, path: Path, options: dict[str, Any]) -> None:
    loaded(list(state()), options)


def test_it_goes_over_the_wire_once(s3: str, tmp_path: Path):
    dcpx.save(state(), ADDRESS, overwrite=True, storage_options=bucket_options(s3))
    with Proxy(s3) as proxy:
        proxy.begin()
        loaded(list(state()), bucket_options(proxy.endpoint))
        alone = proxy.received
        proxy.begin()
        run(partial(over_a_wire, options=bucket_options(proxy.endpoint)), 3, tmp_path)
        assert proxy.received < 1.2 * alone
