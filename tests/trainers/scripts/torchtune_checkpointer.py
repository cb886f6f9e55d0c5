"""torchtune's DistributedCheckpointer, which names `FileSystemWriter` with its own arguments; with the word `async` it
saves in the background, as torchtune's recipes let it."""

import sys

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import _init_optim_state, set_state_dict
from torch.distributed.fsdp import fully_shard
from torchtune.training import DistributedCheckpointer
from training import EVERY, FOLDER, STEPS, batch, model, tell

import dcpx

dcpx.install()
dist.init_process_group("gloo")
IN_BACKGROUND = "async" in sys.argv

net = model()
for part in (*net, net):
    fully_shard(part)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
(FOLDER / "run").mkdir(exist_ok=True)
# A group of its own: the steps go on in the other one while it saves.
checkpointer = DistributedCheckpointer(str(FOLDER), str(FOLDER / "run"), process_group=dist.new_group(backend="gloo"))
begun = 0
if checkpointer._get_latest_intermediate_checkpoint():
    _init_optim_state(optimizer)
    state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "steps": 0}
    state = checkpointer.load_checkpoint(state)
    set_state_dict(net, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    begun = state["steps"]
for step in range(begun + 1, STEPS + 1):
    loss = net(batch(step)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    tell(step, loss)
    if step % EVERY == 0:
        state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "steps": step}
        checkpointer.save_checkpoint(state, epoch=step, save_async=IN_BACKGROUND and step < STEPS)
dist.destroy_process_group()
