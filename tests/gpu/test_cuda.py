"""Tensors on a GPU: saved from it and loaded into it, bit for bit. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader

import dcpx
from tests.support.tensors import DTYPES, LAYOUTS, bits, random_tensor, weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

SIDES = [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")]
PACKS = {"pack": dcpx.Pack(), "none": None}


def loaded(path: Path, tensor: torch.Tensor, device: str) -> torch.Tensor:
    target = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    dcpx.load({"x": target}, path)
    return target.cpu()  # on the current stream, with no wait in between


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize(("source", "target"), SIDES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str, source: str, target: str, pack: str, tmp_path: Path) -> None:
    tensor = random_tensor(DTYPES[dtype], (257, 33))
    dcpx.save({"x": tensor.to(source)}, tmp_path / "c", pack=PACKS[pack])
    assert bits(loaded(tmp_path / "c", tensor, target)) == bits(tensor)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, tmp_path: Path) -> None:
    tensor = LAYOUTS[layout](weights(torch.bfloat16, (130, 70)).cuda())
    assert tensor.is_cuda
    dcpx.save({"x": tensor}, tmp_path / "c")
    assert bits(loaded(tmp_path / "c", tensor, "cuda")) == bits(tensor.cpu())
    target = LAYOUTS[layout](torch.zeros_like(tensor).contiguous())
    dcpx.load({"x": target}, tmp_path / "c")
    assert bits(target.cpu()) == bits(tensor.cpu())


def test_many_blocks_are_copied_through_few_buffers(tmp_path: Path) -> None:
    """Far more than the host's buffers hold, so that each is used many times while copies are under way."""
    state = {f"w{i}": weights(torch.bfloat16, (4096, 1024 + i), seed=i).cuda() for i in range(24)}
    state |= {f"t{i}": weights(torch.float32, (1024, 2048 + i), seed=i).cuda().t() for i in range(8)}
    dcpx.save(state, tmp_path / "c")
    target = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    dcpx.load(target, tmp_path / "c")
    assert all(torch.equal(target[name], tensor) for name, tensor in state.items())
    assert dcpx.verify(tmp_path / "c").ok


def test_what_the_stream_still_computes_is_waited_for(tmp_path: Path) -> None:
    slow = torch.randn(4096, 4096, device="cuda")
    result = torch.zeros(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    for _ in range(60):
        slow = torch.nn.functional.normalize(slow @ slow)
    result.copy_(slow)
    dcpx.save({"x": result}, tmp_path / "c")  # most of the products are not done yet
    assert bits(loaded(tmp_path / "c", result, "cpu")) == bits(result.cpu())


def test_a_load_on_a_stream_of_its_own(tmp_path: Path) -> None:
    tensor = weights(torch.float32, (2048, 2048)).cuda()
    dcpx.save({"x": tensor}, tmp_path / "c")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        target = torch.zeros_like(tensor)
        dcpx.load({"x": target}, tmp_path / "c")
        total = target.double().sum()
    stream.synchronize()
    assert total.item() == tensor.double().sum().item()
    assert torch.equal(target, tensor)


@pytest.mark.parametrize("pack", PACKS)
def test_stock_dcp_both_ways(pack: str, tmp_path: Path) -> None:
    tensor = weights(torch.bfloat16, (300, 500)).cuda()
    dcpx.save({"x": tensor}, tmp_path / "ours", pack=PACKS[pack])
    target = torch.zeros_like(tensor)
    options = {"_extension_registry": dcpx.ExtensionRegistry()} if pack == "pack" else {}
    dcp.load({"x": target}, storage_reader=FileSystemReader(tmp_path / "ours", **options), no_dist=True)
    assert torch.equal(target, tensor)
    dcp.save({"x": tensor}, checkpoint_id=tmp_path / "theirs", no_dist=True)
    assert bits(loaded(tmp_path / "theirs", tensor, "cuda")) == bits(tensor.cpu())


def test_pinned_memory(tmp_path: Path) -> None:
    tensor = weights(torch.float32, (1000, 1000)).pin_memory()
    dcpx.save({"x": tensor}, tmp_path / "c")
    target = torch.zeros_like(tensor).pin_memory()
    dcpx.load({"x": target}, tmp_path / "c")
    assert torch.equal(target, tensor)


def test_a_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    def begin() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256)).cuda()
        return model, torch.optim.AdamW(model.parameters(), fused=True)

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, number: int) -> float:
        data = torch.randn(64, 256, generator=torch.Generator().manual_seed(number)).cuda()
        loss = (model(data) - data).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss)

    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    model, optimizer = begin()
    for number in range(5):
        step(model, optimizer, number)
    weights_, moments = get_state_dict(model, optimizer)
    dcpx.save({"model": weights_, "optimizer": moments}, tmp_path / "c")
    expected = [step(model, optimizer, number) for number in range(5, 10)]

    model, optimizer = begin()
    weights_, moments = get_state_dict(model, optimizer)
    state = {"model": weights_, "optimizer": moments}
    dcpx.load(state, tmp_path / "c")
    set_state_dict(model, optimizer, model_state_dict=weights_, optim_state_dict=moments)
    assert [step(model, optimizer, number) for number in range(5, 10)] == expected


def test_fully_sharded_over_nccl(tmp_path: Path) -> None:
    if not torch.distributed.is_nccl_available():
        pytest.skip("torch was built without NCCL")
    from torch.distributed.checkpoint.state_dict import get_model_state_dict
    from torch.distributed.fsdp import fully_shard

    torch.cuda.set_device(0)
    torch.distributed.init_process_group(
        "cuda:nccl,cpu:gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    try:
        torch.manual_seed(0)
        model = torch.nn.Sequential(*(torch.nn.Linear(512, 512, device="cuda") for _ in range(4)))
        plain = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        fully_shard(model)
        dcpx.save(get_model_state_dict(model), tmp_path / "c")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        state = get_model_state_dict(model)
        dcpx.load(state, tmp_path / "c")
        for name, tensor in plain.items():
            assert torch.equal(state[name].full_tensor(), tensor), name
    finally:
        torch.distributed.destroy_process_group()
    target = {name: torch.zeros_like(tensor) for name, tensor in plain.items()}
    dcpx.load(target, tmp_path / "c", no_dist=True)
    assert all(torch.equal(target[name], tensor) for name, tensor in plain.items())
