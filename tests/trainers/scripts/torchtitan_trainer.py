"""torchtitan's Trainer on a model of our own, whose CheckpointManager saves by `checkpoint_id=` and removes old
checkpoints. With the word `async` it saves in the background."""

import sys
from dataclasses import dataclass

import torch
import torchtitan_on_cpu  # noqa: F401
from torch.distributed.fsdp import fully_shard
from torchtitan.components.checkpointer import CheckpointManager
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.loss import CrossEntropyLoss
from torchtitan.components.metrics import MetricsProcessor
from torchtitan.components.optimizer import LRSchedulersContainer, default_adamw
from torchtitan.components.tokenizer import BaseTokenizer
from torchtitan.config import DebugConfig, TrainingConfig
from torchtitan.models.common.embedding import Embedding
from torchtitan.models.common.linear import Linear
from torchtitan.protocols import BaseModel
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.trainer import Trainer
from training import EVERY, FOLDER, RANK, STEPS, tell

import dcpx

dcpx.install()
WORDS, WIDTH = 61, 37


class Net(BaseModel):
    @dataclass(kw_only=True, slots=True)
    class Config(BaseModel.Config):
        def update_from_config(self, *, config, **others):
            pass

        def get_nparams_and_flops(self, model, seq_len):
            return sum(part.numel() for part in model.parameters()), 1

    def __init__(self, config):
        super().__init__()
        start = {"weight": torch.nn.init.normal_}
        self.words = Embedding.Config(num_embeddings=WORDS, embedding_dim=WIDTH, param_init=start).build()
        self.out = Linear.Config(in_features=WIDTH, out_features=WORDS, param_init=start).build()

    def forward(self, words):
        return self.out(self.words(words))


def shard(net, *, parallel_dims, **others):
    for part in (net.words, net.out, net):
        fully_shard(part, mesh=parallel_dims.get_mesh("dp_shard"))
    return net


class Words(BaseDataLoader):
    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        pass

    def __init__(self, config, *, seq_len, local_batch_size, **others):
        self.shape = local_batch_size, seq_len + 1
        self.seen = 0

    def __iter__(self):
        while True:
            self.seen += 1
            words = torch.randint(WORDS, self.shape, generator=torch.Generator().manual_seed(1000 * RANK + self.seen))
            yield {"input": words[:, :-1]}, words[:, 1:]

    def state_dict(self):
        return {f"seen by {RANK}": self.seen}

    def load_state_dict(self, state):
        self.seen = state[f"seen by {RANK}"]


class NoTokenizer(BaseTokenizer):
    @dataclass(kw_only=True, slots=True)
    class Config(BaseTokenizer.Config):
        pass

    def __init__(self, config, **others):
        pass

    def encode(self, *arguments, **options):
        raise NotImplementedError

    decode = get_vocab_size = encode


class Metrics(MetricsProcessor):
    @dataclass(kw_only=True, slots=True)
    class Config(MetricsProcessor.Config):
        pass

    def log(self, step, loss, *others, **more):
        tell(step, torch.tensor(loss, dtype=torch.float64))


checkpoints = CheckpointManager.Config(
    enable=True,
    folder="run",
    interval=EVERY,
    enable_first_step_checkpoint=True,
    keep_latest_k=2,
    last_save_model_only=False,
    async_mode="async" if "async" in sys.argv else "disabled",
)
trainer = Trainer.Config(
    model_spec=ModelSpec("small", "small", Net.Config(), shard, None, None, None),
    loss=CrossEntropyLoss.Config(),
    tokenizer=NoTokenizer.Config(),
    dataloader=Words.Config(),
    optimizer=default_adamw(lr=0.01),
    lr_scheduler=LRSchedulersContainer.Config(warmup_steps=2),
    training=TrainingConfig(local_batch_size=8, seq_len=16, steps=STEPS, disable_cuda_graphs=True),
    debug=DebugConfig(seed=0),
    metrics=Metrics.Config(log_freq=1),
    checkpoint=checkpoints,
    dump_folder=str(FOLDER),
).build()
trainer.train()
trainer.close()
torch.distributed.destroy_process_group()
