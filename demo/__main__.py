"""`python -m demo`: save a real model's checkpoint with stock DCP and with dcpx, load each back, compare every bit."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from rich.console import Console
from rich.table import Table
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint._extension import ZStandard as StockZStandard

import dcpx

from .minilm import train

STEPS, ROUNDS = 3, 3
State = dict[str, Any]


def main() -> None:
    # DCP warns that there is one process only; that is the intent here.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.ERROR)
    console = Console(width=100)
    console.print(f"training all-MiniLM-L6-v2 for {STEPS} AdamW steps ...")
    weights, optimizer, losses = train(STEPS)
    console.print(f"  loss {' -> '.join(f'{loss:.2f}' for loss in losses)}")
    model = {name: tensor.bfloat16() for name, tensor in weights.items()}
    states: dict[str, State] = {
        "bf16 weights": {"model": model},
        "bf16 weights + AdamW state (f32)": {"model": model, "optimizer": _named(weights, optimizer)},
    }
    table = Table(title=f"checkpoints of all-MiniLM-L6-v2, medians of {ROUNDS} (fsync included in saving)")
    for column in ("state", "saved with", "bytes", "of raw", "save s", "load s", "every bit equal"):
        table.add_column(column, justify="left" if column in ("state", "saved with") else "right")
    with tempfile.TemporaryDirectory() as folder:
        for name, state in states.items():
            for way, (save, load) in WAYS.items():
                table.add_row(name, way, *_measure(state, save, load, Path(folder) / f"{name} {way}"))
            table.add_section()
    console.print(table)


def _save_stock(state: State, path: Path) -> None:
    dcp.save(state, storage_writer=FileSystemWriter(path))


def _save_stock_zstandard(state: State, path: Path) -> None:
    dcp.save(state, storage_writer=FileSystemWriter(path, _extensions=[StockZStandard()]))


def _load_stock(state: State, path: Path) -> None:
    dcp.load(state, storage_reader=FileSystemReader(path))


WAYS: dict[str, tuple[Callable[[State, Path], Any], Callable[[State, Path], Any]]] = {
    "DCP, plain": (_save_stock, _load_stock),
    "DCP, its ZStandard": (_save_stock_zstandard, _load_stock),
    "dcpx": (dcpx.save, dcpx.load),
}


def _measure(
    state: State, save: Callable[[State, Path], Any], load: Callable[[State, Path], Any], path: Path
) -> tuple[str, ...]:
    saves, loads = [], []
    target = _like(state)
    for number in range(ROUNDS):
        place = path.with_name(f"{path.name} {number}")
        start = time.perf_counter()
        save(state, place)
        saves.append(time.perf_counter() - start)
        _fill(target)
        start = time.perf_counter()
        load(target, place)
        loads.append(time.perf_counter() - start)
        _compare(state, target)
    stored = sum(file.stat().st_size for file in place.iterdir())
    raw = sum(tensor.nbytes for tensor in _tensors(state))
    return f"{stored:,}", f"{stored / raw:.3f}", f"{median(saves):.2f}", f"{median(loads):.2f}", "yes"


def _named(weights: dict[str, torch.Tensor], optimizer: torch.optim.AdamW) -> State:
    """The optimizer's state by the weights' names, as trainers store it."""
    state = optimizer.state_dict()["state"]
    return {name: state[number] for number, name in enumerate(weights) if number in state}  # the pooler has no gradient


def _tensors(state: State) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in state.values():
        found += _tensors(value) if isinstance(value, dict) else [value]
    return found


def _like(state: State) -> State:
    return {key: _like(value) if isinstance(value, dict) else torch.empty_like(value) for key, value in state.items()}


def _fill(state: State) -> None:
    """Something that no checkpoint holds, so that a load that does nothing is found out."""
    for tensor in _tensors(state):
        tensor.view(-1).view(torch.uint8).fill_(0xA5)


def _compare(expected: State, found: State) -> None:
    for left, right in zip(_tensors(expected), _tensors(found), strict=True):
        if left.dtype != right.dtype or _bits(left) != _bits(right):
            raise SystemExit("a tensor came back with other bits")


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


if __name__ == "__main__":
    main()
