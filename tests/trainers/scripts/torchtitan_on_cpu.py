"""torchtitan knows no CPU. Imported before it, this answers what it asks of a GPU, and leaves out the part of it that
needs Triton. What it calls `set_timeout` is an inner function of torch 2.13."""

import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
import torchtitan.tools.utils

torchtitan.tools.utils.device_type = "cpu"
torchtitan.tools.utils.get_local_device = lambda: torch.device("cpu")
torchtitan.tools.utils.device_module = MagicMock(
    current_device=lambda: 0,
    get_device_name=lambda device: "CPU",
    get_device_properties=lambda device: SimpleNamespace(total_memory=1 << 30),
    memory_stats=lambda device: {},
)
sys.modules["torchtitan.distributed.minimal_async_ep"] = MagicMock()
if not hasattr(torch.distributed, "set_timeout"):
    torch.distributed.set_timeout = torch.distributed.distributed_c10d._set_pg_timeout
