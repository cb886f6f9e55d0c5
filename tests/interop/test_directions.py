"""Every writer with every reader, on a training job's state: modules, optimizers, nested values, aliases, Stateful."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint import _extension as torchs

import dcpx
from dcpx import Chain, Pack, ZStandard, default_registry
from tests.support.tensors import DTYPES, LAYOUTS, bits, random_tensor, weights

pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")


def stock(*extensions: Any, threads: int = 1) -> Callable[[Path], FileSystemWriter]:
    chosen: Any = list(extensions) or None
    return lambda path: FileSystemWriter(path, _extensions=chosen, thread_count=threads, sync_files=False)


def own(pack: Any, **options: Any) -> Callable[[Path], FileSystemWriter]:
    return lambda path: dcpx.Writer(path, pack=pack, sync_files=False, **options)


WRITERS: dict[str, Callable[[Path], FileSystemWriter]] = {
    "stock": stock(),
    "stock, zstd": stock(torchs.ZStandard()),
    "stock, zstd, two threads": stock(torchs.ZStandard(), threads=2),
    "stock, pack": stock(Pack()),
    "stock, pack then zstd": stock(Pack(), torchs.ZStandard()),
    "dcpx, pack": own(Pack()),
    "dcpx, pack, small": own(Pack(level="small", chunk_size=4096), threads=3, budget=1 << 16),
    "dcpx, raw": own(Pack("raw"), single_file_per_rank=False),
    "dcpx, zstd": own(ZStandard()),
    "dcpx, plain": own(None),
    "dcpx, chain": own(Chain(Pack(), ZStandard())),
}
READERS: dict[str, Callable[[Path], Any]] = {
    "stock": lambda path: FileSystemReader(path, _extension_registry=default_registry()),  # type: ignore[arg-type]
    "dcpx": dcpx.Reader,
    "dcpx, little memory": lambda path: dcpx.Reader(path, threads=3, budget=1),
}
# The stock reader undoes several extensions in the wrong order.
UNREADABLE = {("stock, pack then zstd", "stock")}
PAIRS = [(writer, reader) for writer in WRITERS for reader in READERS if (writer, reader) not in UNREADABLE]


class Network(torch.nn.Module):
    """With tied weights, buffers of several dtypes, and a parameter of no elements."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(300, 64)
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.BatchNorm1d(96), torch.nn.Linear(96, 64))
        self.head = torch.nn.Linear(64, 300, bias=False)
        self.head.weight = self.embed.weight
        self.none = torch.nn.Parameter(torch.empty(0, 7))
        self.register_buffer("mask", torch.rand(50) > 0.5)
        self.register_buffer("table", torch.randn(40, 30).bfloat16())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.layers(self.embed(tokens)))
        return result


class Loop:
    """Stateful in DCP's sense: a tensor, a random generator and plain values."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seen = torch.full((17,), seed, dtype=torch.int64)
        self.history = [0.5 * seed, -0.0, float("inf")]

    def state_dict(self) -> dict[str, Any]:
        return {"chance": self.chance.getstate(), "seen": self.seen, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.chance.setstate(state["chance"])
        self.seen, self.history = state["seen"], state["history"]


def job(seed: int) -> dict[str, Any]:
    """A state of the same structure and other values for every seed."""
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1 / (1 + seed), amsgrad=True)
    for _ in range(2):
        network(torch.randint(0, 300, (8,))).sum().backward()
        optimizer.step()
    shared = weights(torch.float32, (200, 300), seed)
    small = {
        f"{name} {layout}": LAYOUTS[layout](random_tensor(dtype, (7, 11), seed + number))
        for number, (name, dtype) in enumerate(DTYPES.items())
        for layout in ("contiguous", "transposed", "narrowed")
    }
    return {
        "model": network.state_dict(),
        "parameters": list(network.parameters()),
        "optimizer": optimizer.state_dict(),
        "loop": Loop(seed),
        "tensors": {
            **small,
            "shared": shared,
            "rows of it": shared[20:90],
            "columns of it": shared[:, 7:100],
            "turned": shared.t(),
            "scalar": torch.tensor(seed + 0.25),
            "empty": torch.zeros(3, 0, 2),
            "large": weights(torch.bfloat16, (1100, 1024), seed),
            "large, turned": weights(torch.float32, (700, 600), seed).t(),
            "zeros": torch.zeros(400_000),
            "channels last": weights(torch.float32, (2, 3, 8, 9), seed).to(memory_format=torch.channels_last),
            "conjugated": random_tensor(torch.complex64, (30, 40), seed).conj(),
        },
        "nested": [{"a": (seed, None, "é")}, [torch.arange(5) + seed, [torch.ones(2) * seed]]],
        "text": f"step {seed}",
        "blob": bytes([seed]) * 70_000,
    }


def flat(value: Any, name: str = "state") -> dict[str, Any]:
    """Every leaf by its path; tensors as dtype, shape and bits."""
    if isinstance(value, Loop):
        return flat(value.state_dict(), name)
    if isinstance(value, torch.Tensor):
        return {name: (value.dtype, tuple(value.shape), bits(value))}
    if isinstance(value, dict) and value:
        return {path: one for key in value for path, one in flat(value[key], f"{name}.{key}").items()}
    if isinstance(value, list) and value:
        return {path: one for key, item in enumerate(value) for path, one in flat(item, f"{name}.{key}").items()}
    return {name: repr(value)}


SAVED, OTHER = 1, 2


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return flat(job(SAVED))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The checkpoint of a writer, written when it is first asked for."""
    root = tmp_path_factory.mktemp("directions")

    def find(writer: str) -> Path:
        path = root / writer
        if not path.exists():
            dcp.save(job(SAVED), storage_writer=WRITERS[writer](path))
        return path

    return find


@pytest.mark.parametrize(("writer", "reader"), PAIRS, ids=[" to ".join(pair) for pair in PAIRS])
def test_every_writer_with_every_reader(
    writer: str, reader: str, written: Callable[[str], Path], expected: dict[str, Any]
):
    state = job(OTHER)
    before = flat(state)
    dcp.load(state, storage_reader=READERS[reader](written(writer)))
    found = flat(state)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert sum(before[name] != expected[name] for name in expected) > 100, "there was nothing to load"


@pytest.mark.parametrize("writer", WRITERS)
def test_a_part_of_the_state(writer: str, written: Callable[[str], Path], expected: dict[str, Any]):
    """What isn't asked for isn't touched."""
    state = {"tensors": {"large, turned": torch.zeros(600, 700), "scalar": torch.tensor(0.0)}, "text": None}
    dcpx.load(state, written(writer))
    assert flat(state) == {name: one for name, one in expected.items() if name in flat(state)}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_model_and_its_optimizer_go_on(writer: str, written: Callable[[str], Path]):
    """The tied weight is still one tensor, and what was loaded is what the module uses."""
    network = Network()
    state = {"model": network.state_dict()}
    dcpx.load(state, written(writer))
    assert network.head.weight is network.embed.weight
    assert bits(network.head.weight) == bits(job(SAVED)["model"]["embed.weight"])
    assert bool(torch.isfinite(network(torch.arange(5)).sum()))
