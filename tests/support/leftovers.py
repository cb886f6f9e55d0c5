"""What dead saves leave, made by hand, and how the tests look at a directory."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import torch

import dcpx
from dcpx.catalog.names import manifest_name, owner_name, save_of, temporary_name
from dcpx.catalog.owner import Owner

DAY = 86400.0


def state(number: int) -> dict[str, Any]:
    return {"weights": torch.full((300_000,), float(number)), "object": ("saved", number)}


def loaded(path: Path, **options: Any) -> int:
    found = state(0)
    dcpx.load(found, path, **options)
    number: int = found["object"][1]
    assert torch.equal(found["weights"], state(number)["weights"])
    return number


def names(path: Path) -> set[str]:
    return set(os.listdir(path))


def age(path: Path, seconds: float) -> None:
    """All files were last written to so long ago."""
    for file in path.iterdir():
        found = file.lstat()
        os.utime(file, (found.st_atime - seconds, found.st_mtime - seconds), follow_symlinks=False)


def save_id(path: Path) -> str:
    (found,) = {save_of(name) for name in os.listdir(path)} - {None}
    return str(found)


@functools.cache
def dead() -> Owner:
    """A process of this machine that has ended."""
    script = "import sys; from dcpx.catalog.owner import Owner; sys.stdout.buffer.write(Owner.this().pack())"
    owner = Owner.parse(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)
    assert owner is not None
    return owner


def elsewhere() -> Owner:
    """A process of another machine."""
    return Owner.this()._replace(host="elsewhere", system="another boot")


def leave(path: Path, owner: Owner | bytes | None, *, parts: int = 2) -> str:
    """What a save of `parts` files leaves that dies before its commit."""
    path.mkdir(exist_ok=True)
    save = str(uuid.uuid4())
    for number in range(parts):
        (path / f"{save}__{number}_0.distcp").write_bytes(bytes(100))
    (path / manifest_name(save)).write_bytes(b"{")
    (path / temporary_name(save, ".metadata")).write_bytes(b"\x80")
    if owner is not None:
        (path / owner_name(save)).write_bytes(owner if isinstance(owner, bytes) else owner.pack())
    return save
