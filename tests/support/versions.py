"""Marks of tests that hold only on some versions or builds of torch, each with its reason."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from dcpx.dcp.private import HAS_RANK_LOCAL

__all__ = ["gloo", "rank_local", "without_rank_local"]

gloo = pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo")
rank_local = pytest.mark.skipif(not HAS_RANK_LOCAL, reason="before torch 2.9 DCP doesn't save without collectives")
without_rank_local = pytest.mark.skipif(HAS_RANK_LOCAL, reason="from torch 2.9 on DCP saves without collectives")
