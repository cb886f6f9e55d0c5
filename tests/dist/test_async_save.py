"""Asynchronous saves by several ranks: beside a training on its own group, in threads and processes, and cut short."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import dcpx

from .ranks import run


def model(world: int) -> torch.nn.Module:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(37, 61), torch.nn.ReLU(), torch.nn.Linear(61, 11))
    mesh = init_device_mesh("cpu", (world,))
    for part in net:
        fully_shard(part, mesh=mesh)
    return fully_shard(net, mesh=mesh)


def steps(net: torch.nn.Module, count: int) -> list[str]:
    """Trains on the default group, whose collectives go on meanwhile; returns the losses, bit for bit."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for number in range(count):
        generator = torch.Generator().manual_seed(number + 100 * dist.get_rank())
        loss = net(torch.randn(8, 37, generator=generator)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item().hex())
    return losses


def train_and_save(rank: int, world: int, path: Path, mode: str) -> None:
    net = model(world)
    steps(net, 3)
    handles = []
    for number in range(3):
        handles.append(dcpx.async_save({"model": get_model_state_dict(net)}, path / f"{mode}-{number}", mode=mode))
        expected = steps(net, 4)
    handles[-1].result(60)
    other = model(world)
    state = {"model": get_model_state_dict(other)}
    dcpx.load(state, path / f"{mode}-2")
    set_model_state_dict(other, state["model"])
    assert steps(other, 4) == expected
    assert all(handle.exception() is None for handle in handles)


def in_a_thread(rank: int, world: int, path: Path) -> None:
    train_and_save(rank, world, path, "thread")


def in_a_process(rank: int, world: int, path: Path) -> None:
    train_and_save(rank, world, path, "process")


@pytest.mark.parametrize("work", [in_a_thread, in_a_process])
def test_beside_a_training(work: object, tmp_path: Path):
    run(work, 2, tmp_path)  # type: ignore[arg-type]
    assert sorted(name for name in os.listdir(tmp_path) if not name.startswith("."))[:1]
    for name in os.listdir(tmp_path):
        if not name.startswith("."):
            assert dcpx.verify(tmp_path / name).ok


def one_rank_fails(rank: int, world: int, path: Path) -> None:
    class Bad:
        def __reduce__(self) -> object:
            raise RuntimeError("not me")

        def __deepcopy__(self, memo: object) -> Bad:
            return self

    for mode in ("thread", "process") if rank == 99 else ("thread",):
        state = {"w": torch.ones(100), "x": {str(rank): Bad() if rank == 1 else 1}}
        handle = dcpx.async_save(state, path / mode, mode=mode)
        with pytest.raises(dcpx.SaveError, match="not me"):
            handle.result(60)
        dist.barrier()
        assert [name for name in os.listdir(path / mode) if not name.startswith(".r")] == []
    dcpx.async_save({"w": torch.ones(100)}, path / "thread").result(60)


def test_an_error_of_one_rank_is_every_ranks(tmp_path: Path):
    run(one_rank_fails, 2, tmp_path)
    assert dcpx.verify(tmp_path / "thread").ok


SCRIPT = """
    import os, sys, torch, torch.distributed as dist, dcpx

    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/meeting", rank=rank, world_size=2)
    dcpx.async_save({"w": torch.rand(30 << 20)}, "c")
    dist.destroy_process_group()
"""


def test_a_group_that_is_destroyed_before_the_end(tmp_path: Path):
    """Either the save was through with it, or it has failed, and somebody sees that."""
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    ranks = [
        subprocess.Popen([sys.executable, "script.py", str(rank)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    saved = (tmp_path / "c" / ".metadata").exists()
    assert saved or any("has failed" in error for error in errors), errors
    if saved:
        assert dcpx.verify(tmp_path / "c").ok


DESTROYED = """
    import os, sys, threading, torch, torch.distributed as dist, dcpx
    from unittest import mock

    rank, waits = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method=f"file://{os.getcwd()}/meeting", rank=rank, world_size=2)
    dcpx.save({"old": torch.ones(3)}, "c")
    gone, stock = threading.Event(), {"dcpx.background.save": dcpx.save, "dcpx.api.Writer": dcpx.Writer}[waits]

    def late(*arguments, **options):
        assert gone.wait(60)
        return stock(*arguments, **options)

    with mock.patch(waits, late):
        handle = dcpx.async_save({f"w{rank}": torch.ones(100)}, "c", overwrite=True)
        dist.barrier()
        dist.destroy_process_group()
        gone.set()
        print(repr(handle.exception(60)))
"""


@pytest.mark.parametrize("waits", ["dcpx.background.save", "dcpx.api.Writer"])
def test_a_group_that_is_destroyed_early(waits: str, tmp_path: Path):
    """Before the save has looked at it, and after: no rank's part becomes the checkpoint."""
    (tmp_path / "script.py").write_text(textwrap.dedent(DESTROYED))
    ranks = [
        subprocess.Popen(
            [sys.executable, "script.py", str(rank), waits], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    for rank in ranks:
        assert rank.communicate(timeout=120)[0].startswith("SaveError(")
    assert list(dcpx.load_all(tmp_path / "c")) == ["old"]


def plain_dcp(rank: int, world: int, path: Path) -> None:
    """A save through DCP's own functions that fails on a rank leaves nothing, once its writer is gone."""

    class Bad:
        def __reduce__(self) -> object:
            raise RuntimeError("not me")

    state = {"w": torch.ones(1000, 100), "x": {str(rank): Bad() if rank == 1 else 1}}
    for number in range(2):
        writer = dcpx.Writer(path / "c")
        with pytest.raises(dcp.api.CheckpointException, match="not me"):
            dcp.save(state, storage_writer=writer)
        del writer
        gc.collect()
        dist.barrier()
        assert os.listdir(path / "c") == [], number
        dist.barrier()


def test_a_failed_save_of_dcps_own(tmp_path: Path):
    run(plain_dcp, 2, tmp_path)
