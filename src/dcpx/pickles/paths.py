"""pathlib's classes by the names that a pickle gives them."""

from __future__ import annotations

import os
import pathlib

__all__ = ["PATHS"]

# Paths of the other kind of system can be named here, not opened.
PATHS: dict[str, type[pathlib.PurePath]] = {
    "PurePosixPath": pathlib.PurePosixPath,
    "PureWindowsPath": pathlib.PureWindowsPath,
    "PosixPath": pathlib.PosixPath if os.name == "posix" else pathlib.PurePosixPath,
    "WindowsPath": pathlib.PureWindowsPath if os.name == "posix" else pathlib.WindowsPath,
}
