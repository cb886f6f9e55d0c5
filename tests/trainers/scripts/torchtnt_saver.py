"""TorchTNT's DistributedCheckpointSaver, which names `FsspecWriter` for local paths as well."""

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torchtnt.framework.callbacks import DistributedCheckpointSaver
from torchtnt.framework.train import train
from torchtnt.framework.unit import TrainUnit
from training import EVERY, FOLDER, STEPS, batch, model, tell

import dcpx

dcpx.install()
dist.init_process_group("gloo")


class Unit(TrainUnit[int]):
    def __init__(self) -> None:
        super().__init__()
        net = model()
        for part in (*net, net):
            fully_shard(part)
        self.net = net
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)

    def train_step(self, state, data: int) -> None:
        step = self.train_progress.num_steps_completed + 1
        loss = self.net(batch(step)).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        tell(step, loss)


unit = Unit()
saver = DistributedCheckpointSaver(str(FOLDER / "run"), save_every_n_train_steps=EVERY)
DistributedCheckpointSaver.restore_from_latest(str(FOLDER / "run"), unit)
begun = unit.train_progress.num_steps_completed
train(unit, list(range(STEPS - begun)), max_epochs=1, callbacks=[saver])
dist.destroy_process_group()
