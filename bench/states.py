"""The states that the checkpoint benchmark saves and loads: real weights and a real optimizer's state, in five shapes.

Each is a flat state dict on the CPU whose tensors own their memory, and is the same at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from demo.minilm import folder, train, weights
from safetensors.torch import load_file

State = dict[str, torch.Tensor]

COPIES = 8
DEPTH = 24
STEPS = 3
ADAMW_COPIES = 2
TINY = 20_000
COLUMNS = 8192
ONE_GB_ROWS = 61_440
"""Rows of COLUMNS bf16 elements: 1.007 GB."""


def many() -> State:
    """MiniLM in bf16 eight times over, every copy scaled by a factor of its own: 832 tensors, 363 MB. None of them is
    equal to another, which dcpx would store once."""
    model = _model()
    return {
        f"copy.{copy}.{name}": tensor * factor if tensor.is_floating_point() else tensor + copy
        for copy, factor in enumerate(_factors(COPIES))
        for name, tensor in model.items()
    }


def large() -> State:
    """MiniLM's tensors stacked 24 deep, bf16, every copy scaled by a factor of its own: 104 tensors, 1.09 GB."""
    state = {}
    for name, tensor in _floats_and_positions():
        if tensor.is_floating_point():
            stack = torch.empty((DEPTH, *tensor.shape), dtype=torch.bfloat16)
            for layer, factor in zip(stack, _factors(DEPTH), strict=True):
                layer.copy_(tensor * factor)
        else:
            stack = torch.stack([tensor + layer for layer in range(DEPTH)])
        state[name] = stack
    return state


def adamw() -> State:
    """MiniLM's f32 weights and AdamW's state after real steps, twice, the copies scaled: 812 tensors, 543 MB."""
    trained, optimizer, _ = train(STEPS)
    state = {}
    for copy, factor in enumerate(_factors(ADAMW_COPIES)):
        for (name, weight), moments in zip(trained.items(), _moments(optimizer, len(trained)), strict=True):
            state[f"{copy}.model.{name}"] = weight * factor
            for key, moment in moments.items():
                power = {"step": 0, "exp_avg": 1, "exp_avg_sq": 2}[key]
                state[f"{copy}.optimizer.{name}.{key}"] = moment * factor**power
    return state


def tiny() -> State:
    """20,000 tiny tensors, 1.7 MB: f32 scalars, (16,) and (64,), and int64 steps, by turns."""
    values = torch.cat([tensor.flatten() for tensor in weights().values()])
    state = {}
    for number in range(0, TINY, 4):
        start = number * 100
        state[f"item.{number}"] = values[start].clone()
        state[f"item.{number + 1}"] = values[start : start + 16].clone()
        state[f"item.{number + 2}"] = values[start : start + 64].clone()
        state[f"item.{number + 3}"] = torch.tensor(number)
    return state


def one(rows: int = ONE_GB_ROWS) -> State:
    """One tensor `x`, shape [rows, 8192], bf16, of all of MiniLM's weights over and over, each time scaled."""
    values = torch.cat([tensor.flatten() for tensor in weights().values()])
    tensor = torch.empty(rows, COLUMNS, dtype=torch.bfloat16)
    parts = tensor.view(-1).split(values.numel())
    for part, factor in zip(parts, _factors(len(parts)), strict=True):
        part.copy_(values[: part.numel()] * factor)  # a part at a time: the whole in f32 would be twice as large
    return {"x": tensor}


STATES: dict[str, Callable[[], State]] = {"many": many, "large": large, "adamw": adamw, "tiny": tiny, "one": one}


def nbytes(state: State) -> int:
    return sum(tensor.nbytes for tensor in state.values())


def spoilt(state: State) -> State:
    """Targets to load into: like the state's tensors, with every bit wrong."""
    targets = {name: torch.empty_like(tensor) for name, tensor in state.items()}
    spoil(targets, state)
    return targets


def spoil(targets: State, state: State) -> None:
    for name, tensor in state.items():
        torch.bitwise_not(_bits(tensor), out=_bits(targets[name]))


def check_exact(targets: State, state: State) -> None:
    """Raise ValueError unless every bit is what was saved."""
    for name, tensor in state.items():
        if not torch.equal(_bits(targets[name]), _bits(tensor)):
            raise ValueError(f"{name} was loaded with other bits than it was saved with")


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's memory as integers: floats would hide the sign of zero and lose NaNs."""
    return tensor.view(-1).view(torch.int64 if tensor.nbytes % 8 == 0 else torch.uint8)


def _model() -> State:
    return {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in _floats_and_positions()
    }


def _floats_and_positions() -> Iterator[tuple[str, torch.Tensor]]:
    """The 104 tensors of the model's file: f32 weights, and the int64 position ids."""
    yield from load_file(folder() / "model.safetensors").items()


def _factors(count: int) -> list[float]:
    """Factors between 0.8 and 1.25 that leave no two scaled copies alike."""
    return [0.8 * (1.25 / 0.8) ** (number / max(count - 1, 1)) for number in range(count)]


def _moments(optimizer: torch.optim.AdamW, count: int) -> list[dict[str, torch.Tensor]]:
    """The optimizer's state of each of `count` parameters; empty for one that got no gradient."""
    found = optimizer.state_dict()["state"]
    return [found.get(number, {}) for number in range(count)]
