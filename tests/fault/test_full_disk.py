"""A real file system that is full, a page earlier or later: the save raises, and what was there stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fault.checkpoints import STATES, found, names, save_old

import dcpx
from dcpx import SaveError

PAGE = os.sysconf("SC_PAGE_SIZE")


class SmallDisk:
    """A tmpfs, mounted at `path`, that has as much room as is said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mount("size=64m")
        (path / "filler").write_bytes(bytes(PAGE))  # a size of 0 would be no limit

    @property
    def used(self) -> int:
        """Bytes of all files, each a whole number of pages."""
        state = os.statvfs(self.path)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def leave(self, pages: int) -> None:
        """Make the disk so small, or so large, that this is free."""
        self._mount(f"remount,size={self.used + pages * PAGE}")

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        disk = SmallDisk(tmp_path)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("before", ["none", "old"])
def test_a_disk_that_is_full(before: str, threads: int, disk: SmallDisk):
    path = disk.path / "checkpoint"
    if before == "old":
        save_old(path)
    size, kept = _pages_of_a_save(disk), names(path)
    # The last pages one by one: there the small files are written, the data are all stored.
    for free in (0, 1, 2, size // 2, *range(size - 5, size)):
        disk.leave(free)
        with pytest.raises(SaveError, match="No space left on device"):
            dcpx.save(STATES["new"], path, overwrite=before == "old", threads=threads)
        assert found(path) == before
        assert names(path) == kept
    disk.leave(size)
    dcpx.save(STATES["new"], path, overwrite=before == "old", threads=threads)
    assert found(path) == "new"


def _pages_of_a_save(disk: SmallDisk) -> int:
    """What the state `new` takes while it is being saved: its files, and that of the save's owner."""
    before = disk.used
    dcpx.save(STATES["new"], disk.path / "other")
    pages = (disk.used - before) // PAGE
    shutil.rmtree(disk.path / "other")
    return pages + 1
