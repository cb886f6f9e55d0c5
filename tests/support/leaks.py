"""What a save or load must leave as it was, however it ends."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def _threads() -> set[str]:
    """Names of the threads that are dcpx's, but for its shared pool, which stays."""
    found = {thread.name for thread in threading.enumerate()}
    return {name for name in found if name.startswith("dcpx") and not name.startswith("dcpx_")}


def _files() -> set[str]:
    """What the open file descriptors refer to, pipes and sockets apart."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:  # that of the listing itself
            continue
    return {target for target in found if target.startswith("/") and not target.startswith(("/dev/", "/proc/"))}


@contextmanager
def nothing_left() -> Iterator[None]:
    """No thread and no open file more after this block than before, and the process's settings unchanged."""
    assert _threads() == set()
    files, collecting = _files(), gc.isenabled()
    crc32 = torch.serialization.get_crc32_options()
    try:
        yield
    finally:
        assert _threads() == set(), "a thread is left"
        assert _files() <= files, "a file is left open"
        assert gc.isenabled() == collecting
        assert torch.serialization.get_crc32_options() == crc32
