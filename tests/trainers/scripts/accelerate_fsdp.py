"""Accelerate's functions for FSDP checkpoints, which name `FileSystemWriter` and `FileSystemReader`."""

import json

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import load_fsdp_model, load_fsdp_optimizer, save_fsdp_model, save_fsdp_optimizer
from torch.distributed.fsdp import fully_shard
from training import EVERY, FOLDER, RANK, STEPS, batch, model, tell

import dcpx

dcpx.install()
PartialState(cpu=True)  # which makes the gloo group


class Accelerator:
    """What those functions ask of one: Accelerate itself has no FSDP on the CPU."""

    process_index, num_processes, is_main_process = RANK, 2, RANK == 0
    is_fsdp2 = True
    distributed_type = "FSDP"

    def wait_for_everyone(self):
        dist.barrier()


plugin = FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="SHARDED_STATE_DICT")
net = model()
for part in (*net, net):
    fully_shard(part)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
newest = FOLDER / "newest.json"
begun = json.loads(newest.read_text()) if newest.exists() else 0
accelerator = Accelerator()
if begun:
    load_fsdp_model(plugin, accelerator, net, str(FOLDER / f"step-{begun}"))
    load_fsdp_optimizer(plugin, accelerator, optimizer, net, str(FOLDER / f"step-{begun}"))
for step in range(begun + 1, STEPS + 1):
    loss = net(batch(step)).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    tell(step, loss)
    if step % EVERY == 0:
        save_fsdp_model(plugin, accelerator, net, str(FOLDER / f"step-{step}"))
        save_fsdp_optimizer(plugin, accelerator, optimizer, net, str(FOLDER / f"step-{step}"))
        if RANK == 0:
            newest.write_text(json.dumps(step))
        dist.barrier()
dist.destroy_process_group()
