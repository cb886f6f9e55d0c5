"""Lightning Fabric with FSDP2 (`ModelParallelStrategy`), which saves by `checkpoint_id=` and a file beside it."""

import lightning
import torch
from lightning.fabric.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from training import EVERY, FOLDER, STEPS, batch, model, tell

import dcpx

dcpx.install()


def parallelize(module, mesh):
    for part in (*module, module):
        fully_shard(part, mesh=mesh["data_parallel"])
    return module


strategy = ModelParallelStrategy(parallelize, data_parallel_size=2, tensor_parallel_size=1)
fabric = lightning.Fabric(accelerator="cpu", devices=2, strategy=strategy)
fabric.launch()
net = fabric.setup(model())
optimizer = fabric.setup_optimizers(torch.optim.AdamW(net.parameters(), lr=0.01))
state = {"model": net, "optimizer": optimizer, "step": 0}
path = FOLDER / "checkpoint"
if (path / ".metadata").exists():
    fabric.load(path, state)
for step in range(state["step"] + 1, STEPS + 1):
    loss = net(batch(step)).square().mean()
    fabric.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    tell(step, loss)
    if step % EVERY == 0:
        state["step"] = step
        fabric.save(path, state)  # the same path again and again
