"""`latest`: the newest whole checkpoint below a directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..catalog.names import is_pointer
from ..errors import DcpxError, NotFoundError, Where
from ..located import reading
from ..store.address import StorageOptions, check_path, is_address, normal_path, open_store, shown_path
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
    name; where none has one, the one saved last. `directory` may be a store's address. Raises NotFoundError if there is
    no such place, or nothing in it, LoadError where it can't be read, and ValueError for wrong arguments.
    """
    check_path(directory, storage_options)
    found: list[tuple[tuple[int, str, float], str, str]] = []
    passed_over: list[tuple[str, str]] = []
    for path, wrong in _places(directory, storage_options):
        opened = None
        if not wrong:
            try:
                opened = open_checkpoint(path, storage_options=storage_options)
            except DcpxError as error:
                wrong = str(error)
        found.append((_order(path, opened), path, wrong))
    for (step, _, _), path, wrong in sorted(found, reverse=True):
        if not wrong:
            report = verify(path, quick=quick, storage_options=storage_options)
            if report.ok:
                return Latest(path, step if step >= 0 else None, passed_over)
        passed_over.append((shown_path(path), wrong or str(report).splitlines()[0]))
    return Latest(None, None, passed_over)


def _places(root: str | os.PathLike[str], options: StorageOptions | None) -> Iterator[tuple[str, str]]:
    """The places at and below `root` that hold a checkpoint, or the part of one, and those that can't be looked into,
    with the reason."""
    first = os.fspath(normal_path(root))
    pending = [(first, 0)]
    seen: set[str] = set()
    while pending:
        path, level = pending.pop()
        if not is_address(path):
            if (real := os.path.realpath(path)) in seen:  # links may lead anywhere
                continue
            seen.add(real)
        try:
            with reading(shown_path(path), foreign=OSError):
                store = open_store(path, storage_options=options)
                names = store.names()
                if any(map(is_pointer, names)):
                    yield path, ""
                    continue
                folders = store.folders() if level < _MOST_LEVELS else []
        except (DcpxError, ValueError) as error:
            if path == first:
                raise
            yield path, str(error)
            continue
        if path == first and not names and not folders and not os.path.isdir(path):
            raise NotFoundError("there is no such directory", Where(shown_path(path)))
        pending += [(f"{path.rstrip('/')}/{name}", level + 1) for name in folders]


def _order(path: str, opened: Opened | None) -> tuple[int, str, float]:
    """Step, time of the save, and time of the pointer, by which the newest is found."""
    manifest = None if opened is None else opened.pointers[0].pointed.manifest
    step = None if manifest is None else manifest.user.get("step")
    if isinstance(step, str) and _NUMBER.fullmatch(step):
        step = int(step)
    if not isinstance(step, int) or isinstance(step, bool):
        numbers = _NUMBER.findall(os.path.basename(os.path.abspath(path)))
        step = int(numbers[-1]) if numbers else -1
    modified = 0.0
    if opened is not None:
        name = opened.pointers[0].name
        with suppress(OSError):
            modified = opened.store.entries(lambda one: one == name)[name].modified
    return step, "" if manifest is None else manifest.created, modified
