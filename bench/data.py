"""What the codec benchmark codes: real weights, a really trained optimizer's state, and data made to be hard."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from demo.minilm import weights
from torch.nn import functional as F  # noqa: N812 (the usual name)

from . import mpnet

Array = npt.NDArray[np.uint8]

STEPS = (200, 600)
"""After how many steps of training the optimizer's state is taken."""


@dataclass(frozen=True)
class Sample:
    """Tensors of one dtype as flat bytes, each array of shape [nbytes] and dtype uint8."""

    name: str
    dtype: str
    tensors: list[Array]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)


def samples(stops: Sequence[int] = STEPS) -> Iterator[Sample]:
    """All data sets, the same at every call, each when it is asked for; of the optimizer's states those after so many
    steps. Without the larger model's weights, where they weren't fetched, it says so."""
    model = list(weights().values())
    for name, dtype in (
        ("bf16", torch.bfloat16),
        ("f16", torch.float16),
        ("f32", torch.float32),
        ("fp8 e4m3", torch.float8_e4m3fn),
        ("fp8 e5m2", torch.float8_e5m2),
    ):
        yield _sample(f"MiniLM {name}", [tensor.to(dtype) for tensor in model])
    if larger := list(mpnet.weights().values()):
        yield _sample("mpnet bf16", [tensor.to(torch.bfloat16) for tensor in larger])
    else:
        print("without mpnet bf16: python -m bench.mpnet fetches its weights", file=sys.stderr)
    yield _sample("MiniLM int4 in bf16", [_rounded(tensor, 7).to(torch.bfloat16) for tensor in model])
    yield _sample("MiniLM int8 in f32", [_rounded(tensor, 127) for tensor in model])
    yield _sample("causal mask bf16", [torch.full((2048, 2048), -torch.inf, dtype=torch.bfloat16).triu(1)])
    for steps, (first, second) in trained_moments(stops):
        later = "" if steps == STEPS[0] else f", {steps:,} steps"
        yield _sample(f"AdamW m f32{later}", first)
        yield _sample(f"AdamW v f32{later}", second)
    rng = np.random.default_rng(0)
    size = 32 << 20
    nan = np.full(size // 4, np.nan, np.float32)
    yield from (
        Sample("random bytes", "bfloat16", [rng.integers(0, 256, size, np.uint8)]),
        Sample("zeros", "float32", [np.zeros(size, np.uint8)]),
        Sample("NaN-filled", "float32", [nan.view(np.uint8)]),
        Sample("sorted integers", "int32", [np.sort(rng.integers(0, 1 << 24, size // 4, np.int32)).view(np.uint8)]),
        Sample("sorted int64", "int64", [np.sort(rng.integers(0, 1 << 40, size // 8)).view(np.uint8)]),
        Sample("token ids", "int64", [_token_ids().view(np.uint8)]),
        Sample("position ids", "int64", [np.tile(np.arange(512), size // 4096).view(np.uint8)]),
        Sample("step counters", "int64", [np.full(4096, 200 + layer).view(np.uint8) for layer in range(64)]),
        Sample("padding mask", "bool", [_padding(rng, 4096, 512)]),
        Sample("dropout mask", "bool", [(rng.random(size) < 0.1).view(np.uint8)]),
    )


def trained_moments(stops: Sequence[int]) -> Iterator[tuple[int, tuple[list[torch.Tensor], list[torch.Tensor]]]]:
    """AdamW's first and second moments after each of so many steps of a character model on the standard library's
    source."""
    torch.manual_seed(0)
    text = _corpus()
    embed, rnn, head = (
        torch.nn.Embedding(128, 128),
        torch.nn.GRU(128, 320, 2, batch_first=True),
        torch.nn.Linear(320, 128),
    )
    parameters = [*embed.parameters(), *rnn.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    for step in range(1, stops[-1] + 1):
        starts = torch.randint(0, len(text) - 65, (16,))
        batch = torch.stack([text[start : start + 65] for start in starts.tolist()])
        scores = head(rnn(embed(batch[:, :-1]))[0])
        loss = F.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in stops:
            state = optimizer.state_dict()["state"].values()
            moments = ([entry[name].clone() for entry in state] for name in ("exp_avg", "exp_avg_sq"))
            yield step, (next(moments), next(moments))


def _rounded(tensor: torch.Tensor, most: int) -> torch.Tensor:
    """The tensor as it comes back from integers of at most `most`, of one scale."""
    scale = tensor.abs().max() / most
    return (tensor / scale).round() * scale


def _text(files: int) -> str:
    folder = Path(sysconfig.get_paths()["stdlib"])
    return "".join(file.read_text("utf-8", "replace") for file in sorted(folder.glob("*.py"))[:files])


def _corpus() -> torch.Tensor:
    return torch.tensor([min(ord(letter), 127) for letter in _text(60)])


def _token_ids() -> npt.NDArray[np.int64]:
    """The standard library's source as a tokenizer would number it: words and marks, the frequent ones first."""
    tokens = re.findall(r"\w+|[^\w\s]|\s+", _text(400))
    words, index, counts = np.unique(np.array(tokens, "U24"), return_inverse=True, return_counts=True)
    rank = np.empty(len(words), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(words))
    return rank[index]


def _padding(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A batch's mask: each row is 1 up to its length."""
    lengths = rng.integers(columns // 8, columns + 1, rows)
    return (np.arange(columns) < lengths[:, None]).reshape(-1).view(np.uint8)


def _sample(name: str, tensors: list[torch.Tensor]) -> Sample:
    flat = [tensor.detach().contiguous().view(-1).view(torch.uint8).numpy() for tensor in tensors]
    return Sample(name, str(tensors[0].dtype).removeprefix("torch."), flat)
