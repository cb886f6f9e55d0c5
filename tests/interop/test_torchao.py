"""torchao's quantized states and weights, whose classes hold their elements in tensors inside them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

import dcpx

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    optim = pytest.importorskip("torchao.optim")
    states = {
        "8 bit": pytest.importorskip("torchao.optim.subclass_8bit").OptimState8bit,
        "4 bit": pytest.importorskip("torchao.optim.subclass_4bit").OptimState4bit,
        "fp8": pytest.importorskip("torchao.optim.subclass_fp8").OptimStateFp8,
    }

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (128, 64)


def zeros(kind: str) -> torch.Tensor:
    return states[kind].zeros(SHAPE, block_size=128)  # type: ignore[no-any-return]


def of(kind: str, seed: int) -> torch.Tensor:
    state = zeros(kind)
    state.copy_(torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)))
    return state


def inner(state: Any) -> list[list[Any]]:
    return [getattr(state, name).float().tolist() for name in state.tensor_attrs]


SAVES: dict[str, Callable[[dict[str, Any], Path], Any]] = {
    "stock": lambda state, path: dcp.save(state, storage_writer=FileSystemWriter(path)),
    "pack": lambda state, path: dcpx.save(state, path),
    "plain": lambda state, path: dcpx.save(state, path, pack=None),
    "zstd": lambda state, path: dcpx.save(state, path, pack=dcpx.ZStandard()),
}


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("kind", states)
def test_states_load(kind: str, save: str, tmp_path: Path):
    state = of(kind, 1)
    SAVES[save]({"m": state, "x": torch.ones(2)}, tmp_path)
    assert dcpx.verify(tmp_path)
    for options in ({}, {"trust": True}):
        target, x = of(kind, 2), torch.zeros(2)
        assert inner(target) != inner(state)
        dcpx.load({"m": target, "x": x}, tmp_path, **options)
        assert inner(target) == inner(state)
        assert x.tolist() == [1, 1]


@pytest.mark.parametrize("save", SAVES)
def test_states_of_a_class_that_torchao_did_not_register(save: str, tmp_path: Path):
    """Their tensor's own class is enough; verify, which has no tensor, can't tell."""
    state, target = of("8 bit", 1), of("8 bit", 2)
    SAVES[save]({"m": state}, tmp_path)
    registered = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        assert dcpx.verify(tmp_path).verdict == "unknown"
        assert dcpx.verify(tmp_path, safe_globals=[states["8 bit"]])
        with pytest.raises(dcpx.UnsupportedError, match="OptimState8bit") as caught:
            dcpx.load({"m": torch.zeros(SHAPE)}, tmp_path)
        assert "safe_globals" in caught.value.remedy
        dcpx.load({"m": target}, tmp_path)
        assert inner(target) == inner(state)
        dcpx.load({"m": torch.zeros(SHAPE)}, tmp_path, safe_globals=[states["8 bit"]])
        dcpx.load({"m": torch.zeros(SHAPE)}, tmp_path, trust=True)
        assert not torch.serialization.get_safe_globals()
    finally:
        torch.serialization.add_safe_globals(registered)


@pytest.mark.parametrize("save", SAVES)
def test_nf4(save: str, tmp_path: Path):
    nf4 = pytest.importorskip("torchao.quantization.quantize_.workflows.nf4.nf4_tensor")
    weight, target = (
        nf4.to_nf4(torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)), 64, 32) for seed in (1, 2)
    )
    SAVES[save]({"w": weight}, tmp_path)
    assert dcpx.verify(tmp_path)
    dcpx.load({"w": target}, tmp_path)
    assert torch.equal(target.get_original_weight(), weight.get_original_weight())


@pytest.fixture
def eager() -> Iterator[None]:
    """torchao compiles its steps, which needs a compiler and changes nothing here."""
    threads = torch.get_num_threads()
    torch.compiler.set_stance("force_eager")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.compiler.set_stance("default")


class Run:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.Linear(64, 8)
        )  # of which the first is quantized
        self.optimizer = optim.AdamW8bit(self.model.parameters(), lr=1e-3)
        self.step = 0

    def train(self, steps: int) -> list[float]:
        losses = []
        for self.step in range(self.step, self.step + steps):  # noqa: B020
            data = torch.randn(32, 64, generator=torch.Generator().manual_seed(self.step))
            loss = (self.model(data) - data[:, :8]).square().mean()
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.item())
        self.step += 1
        return losses

    def state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": optimizer, "step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )


@pytest.mark.usefixtures("eager")
def test_300_steps_interrupted_and_resumed(tmp_path: Path):
    whole = Run().train(300)
    first = Run()
    losses = first.train(150)
    state = first.state()
    assert any(type(value) is states["8 bit"] for one in state["optimizer"]["state"].values() for value in one.values())
    dcpx.save(state, tmp_path)
    assert dcpx.verify(tmp_path)
    second = Run()
    state = second.state()
    dcpx.load(state, tmp_path)
    second.restore(state)
    assert losses + second.train(150) == whole
    assert whole[-1] < whole[0] / 2
