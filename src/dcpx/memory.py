"""How much memory there is to take."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

__all__ = ["available_memory"]

_READ_AGAIN = 1.0
"""Seconds for which what is available counts as the same."""

_last_read: tuple[float, int] | None = None


def available_memory() -> int:
    """Bytes that this process may still take without making the system swap or end it, about."""
    global _last_read
    now = time.monotonic()
    if _last_read is None or now - _last_read[0] > _READ_AGAIN:
        _last_read = now, _available()
    return _last_read[1]


def _available() -> int:
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) << 10)
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        found.append(int(limit[0]) - int(used[0]))
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY and (sizes := _lines("/proc/self/statm")):
        found.append(most - int(sizes[0].split()[0]) * resource.getpagesize())
    return max(min(found), 0)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
