"""What a disk may hold after a power loss, modelled from the log of the calls that were made until then.

The model is POSIX's, which promises less than most file systems keep: a file's data survive once the file was fsynced,
its name once the directory was. Of what is newer each change to a directory may survive or not, whatever its age, and
data may be gone, there, zeros, or there in part.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path, PurePath

from tests.fault.shim import Call

__all__ = ["Disk", "Image"]

Image = dict[str, bytes]
"""What a disk holds: the content of every file by its path."""

_PAGE = 4096
_REMAINS = 5
_MOST_PENDING = 10  # changes of which every subset is tried


@dataclass(eq=False)
class _File:
    """A file, under whatever name: what it reads, and what of that is on the disk."""

    content: bytes = b""
    durable: bytes = b""

    def remains(self) -> list[bytes]:
        """What may be found of it after a power loss, in _REMAINS ways."""
        if self.content == self.durable:
            return [self.content] * _REMAINS
        chance = random.Random(len(self.content))
        pages = [
            (self.content if chance.random() < 0.5 else self.durable)[at : at + _PAGE].ljust(_PAGE, b"\0")
            for at in range(0, len(self.content), _PAGE)
        ]
        torn = b"".join(pages)[: len(self.content)]
        return [self.durable, self.content, self.content[: len(self.content) // 2], bytes(len(self.content)), torn]


@dataclass
class _Change:
    """A change to a directory: `path` now means `file`, or nothing; a move takes `source` away in the same step."""

    path: str
    file: _File | None
    source: str | None = None

    def apply(self, names: dict[str, _File]) -> None:
        if self.source is not None:
            names.pop(self.source, None)
        if self.file is None:
            names.pop(self.path, None)
        else:
            names[self.path] = self.file


_DIRECTORY = _File()


@dataclass
class Disk:
    """The files below `root`, as the calls applied leave them."""

    root: str
    names: dict[str, _File] = field(default_factory=dict)
    durable: dict[str, _File] = field(default_factory=dict)
    pending: list[_Change] = field(default_factory=list)
    descriptors: dict[int, _File | str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Disk:
        """The files that are there, all of them durable."""
        disk = cls(str(root))
        for path in root.rglob("*"):
            content = b"" if path.is_dir() else path.read_bytes()
            disk.names[str(path)] = _DIRECTORY if path.is_dir() else _File(content, content)
        disk.durable = dict(disk.names)
        return disk

    def apply(self, call: Call) -> None:
        """Do what a call of the log did."""
        if not call.error:
            {
                "open": self._open,
                "write": self._write,
                "truncate": self._truncate,
                "fsync": self._fsync,
                "close": lambda call: self.descriptors.pop(call.descriptor),
                "mkdir": lambda call: self._change(_Change(call.path, _DIRECTORY)),
                "unlink": lambda call: self._change(_Change(call.path, None)),
                "link": lambda call: self._change(_Change(call.target, self.names[call.path])),
                "rename": lambda call: self._change(_Change(call.target, self.names[call.path], call.path)),
            }.get(call.kind, lambda call: None)(call)

    def image(self) -> Image:
        """What is seen as long as the power stays on."""
        return {path: file.content for path, file in self.names.items() if file is not _DIRECTORY}

    def images_after_power_loss(self) -> Iterator[Image]:
        """What may be found afterwards."""
        assert len(self.pending) <= _MOST_PENDING
        changed = [change.file for change in self.pending if change.file is not None]
        remains = {file: file.remains() for file in {*self.durable.values(), *changed}}
        for kept in product((False, True), repeat=len(self.pending)):
            names = dict(self.durable)
            for change, is_kept in zip(self.pending, kept, strict=True):
                if is_kept:
                    change.apply(names)
            files = {path: file for path, file in names.items() if self._is_reachable(path, names)}
            for way in range(_REMAINS):
                yield {path: remains[file][way] for path, file in files.items()}

    def _is_reachable(self, path: str, names: dict[str, _File]) -> bool:
        parents = (str(parent) for parent in PurePath(path).parents if len(str(parent)) > len(self.root))
        return names[path] is not _DIRECTORY and all(names.get(parent) is _DIRECTORY for parent in parents)

    def _change(self, change: _Change) -> None:
        change.apply(self.names)
        self.pending.append(change)

    def _open(self, call: Call) -> None:
        known = self.names.get(call.path)
        if known is _DIRECTORY or call.path == self.root:
            self.descriptors[call.descriptor] = call.path
            return
        if known is None:
            assert call.flags & os.O_CREAT
            known = _File()
            self._change(_Change(call.path, known))
        if call.flags & os.O_TRUNC:
            known.content = b""
        self.descriptors[call.descriptor] = known

    def _write(self, call: Call) -> None:
        file = self.descriptors[call.descriptor]
        assert isinstance(file, _File)
        end = call.offset + len(call.data)
        file.content = file.content[: call.offset].ljust(call.offset, b"\0") + call.data + file.content[end:]

    def _truncate(self, call: Call) -> None:
        file = self.descriptors[call.descriptor]
        assert isinstance(file, _File)
        file.content = file.content[: call.offset].ljust(call.offset, b"\0")

    def _fsync(self, call: Call) -> None:
        target = self.descriptors[call.descriptor]
        if isinstance(target, _File):
            target.durable = target.content
            return
        done = [change for change in self.pending if os.path.dirname(change.path) == target]
        self.pending = [change for change in self.pending if change not in done]
        for change in done:
            change.apply(self.durable)
