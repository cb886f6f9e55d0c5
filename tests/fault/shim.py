"""Faults at the system call: the Python side of shim.c, for a process that was started with it preloaded."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["KINDS", "Call", "Calls", "Fault", "Hit", "armed", "build_shim", "read_log"]

# Both as in shim.c.
KINDS = ("open", "read", "write", "fsync", "rename", "unlink", "mkdir", "truncate", "close", "stat", "list", "link")
_ACTIONS = ("pass", "fail", "fail after", "short", "kill", "kill after", "tear")

_RECORD = struct.Struct("=iiiiqqQQ")
_FOR_GOOD = 2**62


@dataclass(frozen=True)
class Fault:
    """What happens to `times` calls of `kinds`, from the one of this `number` on, 1 being the first; `for_good` to all
    that follow.

    `fail` with `error`, or `fail after` it was done all the same; `short` reads or writes half; `kill` the process
    before the call, `kill after` it, or `tear`: kill it when half of a write is done.
    """

    action: str
    kinds: tuple[str, ...] = KINDS
    number: int = 1
    times: int = 1
    for_good: bool = False
    error: int = errno.EIO


class Hit(NamedTuple):
    """A call that met the fault: its kind, the path of its file and the flags that this was opened with; `moved` says
    whether a rename had begun before."""

    kind: str
    path: str
    flags: int
    moved: bool

    @property
    def is_read_only(self) -> bool:
        """Whether the call is about a file that is open for reading, and no directory."""
        plain = self.kind in ("open", "read", "close") and not self.flags & os.O_DIRECTORY
        return plain and self.flags & os.O_ACCMODE == os.O_RDONLY


@dataclass
class Calls:
    """How many calls of each kind there were, how many met the fault, and the first that did."""

    count: dict[str, int] = field(default_factory=dict)
    hits: int = 0
    hit: Hit | None = None


class Call(NamedTuple):
    """One call of a log. `path` is that of whatever is opened, renamed, removed or made; `error` is an errno or 0."""

    kind: str
    descriptor: int
    flags: int
    offset: int
    path: str
    target: str
    data: bytes
    error: int


def build_shim(directory: Path) -> Path:
    """Compile the shim into `directory`, with the C compiler that building dcpx takes."""
    library = directory / "shim.so"
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
    source = Path(__file__).with_name("shim.c")
    subprocess.run([*compiler.split(), *options, "-o", library, source, "-ldl"], check=True)
    return library


@contextmanager
def armed(directory: Path, fault: Fault | None = None, log: Path | None = None) -> Iterator[Calls]:
    """In this block calls on `directory`, which must be absolute and without links, and on what is below are counted,
    meet the fault, and go to the log. What is yielded is filled in at the end."""
    shim = ctypes.CDLL(None)
    for name in ("shim_calls", "shim_calls_before_hit", "shim_hits"):
        getattr(shim, name).restype = ctypes.c_long
    shim.shim_hit_path.restype = ctypes.c_char_p
    fault = fault or Fault("pass", ())
    mask = sum(1 << KINDS.index(kind) for kind in fault.kinds)
    end = _FOR_GOOD if fault.for_good else fault.number + fault.times - 1
    first, last = ctypes.c_long(fault.number), ctypes.c_long(end)
    descriptor = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    calls = Calls()
    shim.shim_arm(os.fsencode(directory), mask, first, last, _ACTIONS.index(fault.action), fault.error, descriptor)
    try:
        yield calls
    finally:
        shim.shim_disarm()
        calls.count = {kind: shim.shim_calls(number) for number, kind in enumerate(KINDS)}
        calls.hits = shim.shim_hits()
        if calls.hits:
            path, moved = os.fsdecode(shim.shim_hit_path()), shim.shim_calls_before_hit(KINDS.index("rename")) > 0
            calls.hit = Hit(KINDS[shim.shim_hit_kind()], path, shim.shim_hit_flags(), moved)
        if descriptor >= 0:
            os.close(descriptor)


def read_log(log: Path) -> list[Call]:
    """The calls of a log, in the order in which they happened."""
    content, position, found = log.read_bytes(), 0, []
    while position < len(content):
        kind, descriptor, flags, error, offset, _, first, second = _RECORD.unpack_from(content, position)
        position += _RECORD.size
        parts = content[position : position + first], content[position + first : position + first + second]
        position += first + second
        data, path = (parts[0], "") if KINDS[kind] == "write" else (b"", os.fsdecode(parts[0]))
        found.append(Call(KINDS[kind], descriptor, flags, offset, path, os.fsdecode(parts[1]), data, error))
    return found
