"""What the codec benchmark codes: real weights, a really trained optimizer's state, and data made to be hard."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from demo.minilm import weights
from torch.nn import functional as F  # noqa: N812 (the usual name)

Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """Tensors of one dtype as flat bytes, each array of shape [nbytes] and dtype uint8."""

    name: str
    dtype: str
    tensors: list[Array]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)


def samples() -> list[Sample]:
    """All data sets, the same at every call."""
    model = list(weights().values())
    found = [
        _sample(f"MiniLM {name}", [tensor.to(dtype) for tensor in model])
        for name, dtype in (
            ("bf16", torch.bfloat16),
            ("f16", torch.float16),
            ("f32", torch.float32),
            ("fp8 e4m3", torch.float8_e4m3fn),
            ("fp8 e5m2", torch.float8_e5m2),
        )
    ]
    first, second = trained_moments()
    found += [_sample("AdamW m f32", first), _sample("AdamW v f32", second)]
    rng = np.random.default_rng(0)
    size = 32 << 20
    nan = np.full(size // 4, np.nan, np.float32)
    found += [
        Sample("random bytes", "bfloat16", [rng.integers(0, 256, size, np.uint8)]),
        Sample("zeros", "float32", [np.zeros(size, np.uint8)]),
        Sample("NaN-filled", "float32", [nan.view(np.uint8)]),
        Sample("sorted integers", "int32", [np.sort(rng.integers(0, 1 << 24, size // 4, np.int32)).view(np.uint8)]),
    ]
    return found


def trained_moments(steps: int = 200) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """AdamW's first and second moments after `steps` steps of a character model on the standard library's source."""
    torch.manual_seed(0)
    text = _corpus()
    embed, rnn, head = (
        torch.nn.Embedding(128, 128),
        torch.nn.GRU(128, 320, 2, batch_first=True),
        torch.nn.Linear(320, 128),
    )
    parameters = [*embed.parameters(), *rnn.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    for _ in range(steps):
        starts = torch.randint(0, len(text) - 65, (16,))
        batch = torch.stack([text[start : start + 65] for start in starts.tolist()])
        scores = head(rnn(embed(batch[:, :-1]))[0])
        loss = F.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = optimizer.state_dict()["state"].values()
    return [entry["exp_avg"] for entry in state], [entry["exp_avg_sq"] for entry in state]


def _corpus() -> torch.Tensor:
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = "".join(file.read_text("utf-8", "replace") for file in sorted(folder.glob("*.py"))[:60])
    return torch.tensor([min(ord(letter), 127) for letter in text])


def _sample(name: str, tensors: list[torch.Tensor]) -> Sample:
    flat = [tensor.detach().contiguous().view(-1).view(torch.uint8).numpy() for tensor in tensors]
    return Sample(name, str(tensors[0].dtype).removeprefix("torch."), flat)
