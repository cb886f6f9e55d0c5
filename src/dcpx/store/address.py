"""What names a checkpoint: a local path."""

from __future__ import annotations

import os
import re

__all__ = ["check_path"]


def check_path(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for what is no path: the address of a store, which would name a local folder that nobody looks
    into, and an empty string, which would name the working directory."""
    name = os.fspath(path)
    if not name:
        raise ValueError("the checkpoint's path is empty. Pass '.' if it is to lie in the working directory itself")
    # A pathlib.Path has made one slash of two.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/" + ("/" if isinstance(path, str) else ""), name):
        raise ValueError(
            f"{name!r} is no local path. For other stores use DCP's own functions with torch's "
            "FsspecWriter(url, _extensions=[dcpx.Pack()]), and with reader = FsspecReader(url) after "
            "reader.transforms.extension_registry = dcpx.default_registry()"
        )
