"""A loop of one's own with FSDP2, which calls dcpx itself."""

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from training import EVERY, FOLDER, STEPS, batch, model, tell

import dcpx

dist.init_process_group("gloo")
net = model()
for part in (*net, net):
    fully_shard(part)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)


def state_of(step):
    weights, moments = get_state_dict(net, optimizer)
    return {"model": weights, "optimizer": moments, "step": step}


state = state_of(step=0)
complete = [path.parent for path in FOLDER.glob("step-*/.metadata")]  # a save that was killed has none
if complete:
    dcpx.load(state, max(complete, key=lambda path: int(path.name.removeprefix("step-"))))
    set_state_dict(net, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])

for step in range(state["step"] + 1, STEPS + 1):
    loss = net(batch(step)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    tell(step, loss)
    if step % EVERY == 0:
        dcpx.save(state_of(step), FOLDER / f"step-{step}", overwrite=True)
dist.destroy_process_group()
