"""Lightning's Trainer with FSDP2 (`ModelParallelStrategy`), whose ModelCheckpoint saves by `checkpoint_id=`."""

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from training import EVERY, FOLDER, STEPS, batch, model, tell

import dcpx

dcpx.install()


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = model()

    def configure_model(self):
        for part in (*self.net, self.net):
            fully_shard(part, mesh=self.device_mesh["data_parallel"])

    def training_step(self, data):
        step = self.global_step + 1
        loss = self.net(batch(step)).square().mean()
        tell(step, loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.net.parameters(), lr=0.01)


saver = ModelCheckpoint(FOLDER / "run", every_n_train_steps=EVERY, save_top_k=-1, save_last=True)
trainer = lightning.Trainer(
    accelerator="cpu",
    devices=2,
    strategy=ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1),
    max_steps=STEPS,
    callbacks=[saver],
    logger=False,
    use_distributed_sampler=False,
    enable_progress_bar=False,
)
trainer.fit(Module(), range(STEPS), ckpt_path="last")
