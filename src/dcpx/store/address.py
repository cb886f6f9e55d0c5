"""What names a checkpoint, a local path, and the store that is opened for it."""

from __future__ import annotations

import os
import re

from .contract import Store
from .local import LocalStore

__all__ = ["check_path", "open_store"]


def open_store(path: str | os.PathLike[str], *, sync: bool = True) -> Store:
    """The store that a path names; nothing is looked at or made yet. With `sync` it keeps what it said is durable
    through a crash of the machine, without it nothing is. ValueError for what is no path, as by `check_path`."""
    check_path(path)
    return LocalStore(path, sync=sync)


def check_path(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for what is no path: the address of a store, which would name a local folder that nobody looks
    into, an empty string, which would name the working directory, and bytes."""
    name = os.fspath(path)
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"{name!r} is no path: it must be text, without NUL")
    if not name:
        raise ValueError("the checkpoint's path is empty. Pass '.' if it is to lie in the working directory itself")
    # A pathlib.Path has made one slash of two.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/" + ("/" if isinstance(path, str) else ""), name):
        raise ValueError(
            f"{name!r} is no local path. For other stores use DCP's own functions with torch's "
            "FsspecWriter(url, _extensions=[dcpx.Pack()]), and with reader = FsspecReader(url) after "
            "reader.transforms.extension_registry = dcpx.default_registry()"
        )
