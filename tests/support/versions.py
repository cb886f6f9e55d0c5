"""Marks of tests that hold only on some versions of torch, each with its reason."""

from __future__ import annotations

import pytest

from dcpx.dcp.private import HAS_RANK_LOCAL

__all__ = ["rank_local", "without_rank_local"]

rank_local = pytest.mark.skipif(not HAS_RANK_LOCAL, reason="before torch 2.9 DCP doesn't save without collectives")
without_rank_local = pytest.mark.skipif(HAS_RANK_LOCAL, reason="from torch 2.9 on DCP saves without collectives")
