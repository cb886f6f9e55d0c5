"""Composer's Trainer with FSDP2, whose checkpoints have stock DCP's names: it looks for `__0_0.distcp` after a save."""

import torch
import torch.distributed as dist
import torchvision_on_cpu  # noqa: F401
from composer import Callback, ComposerModel, Trainer
from composer.utils import FSDP2Config
from composer.utils.dist import get_sampler
from training import EVERY, FOLDER, STEPS, batch, model, tell

import dcpx

dcpx.install(names="stock")


class Model(ComposerModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = model()

    def forward(self, data):
        return self.net(data)

    def loss(self, outputs, data):
        return outputs.square().mean()


class Tell(Callback):
    def batch_end(self, state, logger) -> None:
        tell(int(state.timestamp.batch), state.loss)


dist.init_process_group("gloo")
rows = torch.cat([batch(step) for step in range(2 * STEPS)])  # each rank's sampler takes every second one
data = torch.utils.data.DataLoader(rows, batch_size=8, sampler=get_sampler(rows, shuffle=False))
net = Model()
trainer = Trainer(
    model=net,
    optimizers=torch.optim.AdamW(net.parameters(), lr=0.01),
    train_dataloader=data,
    max_duration=f"{STEPS}ba",
    device="cpu",
    parallelism_config={"fsdp": FSDP2Config()},
    callbacks=[Tell()],
    run_name="run",
    save_folder=str(FOLDER / "run"),
    save_interval=f"{EVERY}ba",
    autoresume=True,
    progress_bar=False,
)
trainer.fit()
trainer.close()
dist.destroy_process_group()
