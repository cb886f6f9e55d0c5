"""`latest`: the newest whole checkpoint below a directory."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..catalog.names import METADATA, is_pointer
from ..errors import DcpxError, LoadError, NotFoundError, Where
from ..store.address import StorageOptions, is_address, normal_path, shown_path
from .opened import Opened, open_checkpoint
from .verify import verify

__all__ = ["Latest", "latest"]

_NUMBER = re.compile(r"\d{1,18}")

_MOST_LEVELS = 8
"""Directories within directories that are looked into."""


@dataclass(frozen=True)
class Latest:
    """`path` is that of the newest whole checkpoint, None if there is none; `step` is its step where one is said.
    `passed_over` are newer ones that aren't whole, each with what is wrong, the newest first."""

    path: str | None
    step: int | None = None
    passed_over: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; docs/look.md has the schema."""
        passed_over = [{"path": path, "error": error} for path, error in self.passed_over]
        return {"schema": "dcpx.latest/1", "path": self.path, "step": self.step, "passed_over": passed_over}


def latest(
    directory: str | os.PathLike[str], *, quick: bool = False, storage_options: StorageOptions | None = None
) -> Latest:
    """The newest whole checkpoint at or below `directory`, which is verified, or only looked at with `quick`.

    The newest is the one with the highest step: the `step` of what the user saved with it, or the last number in its
    name; where none has one, the one saved last. Raises NotFoundError if there is no such directory, UnsupportedError
    for an address, whose store can't be looked through, and LoadError where it can't be read.
    """
    if is_address(directory):
        raise LoadError("a store's address can't be looked through", Where(shown_path(directory)), "Name a checkpoint")
    root = os.fspath(normal_path(directory))
    if not os.path.isdir(root):
        raise NotFoundError("there is no such directory", Where(root))
    found: list[tuple[tuple[int, str, float], str, str]] = []
    passed_over: list[tuple[str, str]] = []
    for path in _places(root):
        try:
            found.append((_order(path, open_checkpoint(path, storage_options=storage_options)), path, ""))
        except DcpxError as error:
            found.append((_order(path, None), path, str(error)))
    for (step, _, _), path, wrong in sorted(found, reverse=True):
        if not wrong:
            report = verify(path, quick=quick, storage_options=storage_options)
            if report.ok:
                return Latest(path, step if step >= 0 else None, passed_over)
        passed_over.append((path, wrong or str(report).splitlines()[0]))
    return Latest(None, None, passed_over)


def _places(root: str) -> list[str]:
    """The directories at and below `root` that hold a checkpoint, or the part of one."""
    found = []
    pending = [(root, 0)]
    while pending:
        path, level = pending.pop()
        try:
            with os.scandir(path) as entries:
                listed = list(entries)
        except OSError as error:
            if path == root:
                raise LoadError(f"the directory can't be read: {error}", Where(path)) from error
            continue
        if any(is_pointer(entry.name) for entry in listed):
            found.append(path)
        elif level < _MOST_LEVELS:
            pending += [(entry.path, level + 1) for entry in listed if entry.is_dir(follow_symlinks=False)]
    return found


def _order(path: str, opened: Opened | None) -> tuple[int, str, float]:
    """Step, time of the save, and time of the pointer, by which the newest is found."""
    manifest = None if opened is None else opened.pointers[0].pointed.manifest
    step = None if manifest is None else manifest.user.get("step")
    if not isinstance(step, int) or isinstance(step, bool):
        numbers = _NUMBER.findall(os.path.basename(os.path.abspath(path)))
        step = int(numbers[-1]) if numbers else -1
    try:
        modified = os.stat(os.path.join(path, METADATA)).st_mtime
    except OSError:
        modified = 0.0
    return step, "" if manifest is None else manifest.created, modified
