"""Who is writing: what the file beside an unfinished save says, and whether that process still runs."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from ..errors import LimitError
from ..store.contract import Store

__all__ = ["OWNER_SIZE", "Owner", "now"]

OWNER_SIZE = 4096
"""Bytes that an owner's file may have."""


class Owner(NamedTuple):
    """The process that began a save. `system` is the boot and the process namespace that `pid` is a number of, `ticks`
    when it began to run there; both are empty where there is no /proc. `host` and `started` are for people."""

    host: str
    pid: int
    system: str
    ticks: str
    started: str

    @classmethod
    def this(cls) -> Owner:
        """The calling process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, _system(), _ticks(pid), now())

    def pack(self) -> bytes:
        """The file's content."""
        return json.dumps(self._asdict()).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> Owner | None:
        """The owner that a file names; None if it names none, as after a crash of the machine."""
        try:
            fields = json.loads(data)
            owner = cls(*(fields[name] for name in cls._fields))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return owner if tuple(map(type, owner)) == (str, int, str, str, str) and owner.pid > 0 else None

    @classmethod
    def read(cls, store: Store, name: str) -> Owner | None:
        """The owner that a file names; None if there is no such file, or none that says it."""
        try:
            return cls.parse(store.read(name, OWNER_SIZE))
        except (OSError, LimitError):
            return None

    def is_running(self) -> bool | None:
        """Whether the process still runs; None where that can't be seen from here, as of another machine's."""
        if not self.system or not self.ticks or self.system != _system():
            return None
        return self.ticks == _ticks(self.pid)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _system() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _ticks(pid: int) -> str:
    """When a process began to run, after the boot; empty if it doesn't run."""
    try:
        # A process may call itself anything, even what is no text.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
