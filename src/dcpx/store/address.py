"""What names a checkpoint, a local path or a store's address, and the store that is opened for it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from .contract import Store
from .local import LocalStore
from .masked import masked

__all__ = ["StorageOptions", "check_path", "is_address", "normal_path", "open_store", "shown_path"]

StorageOptions: TypeAlias = Mapping[str, Any]
"""What a store's client is to be told beside the address: its endpoint, credentials, time limits."""


def open_store(
    path: str | os.PathLike[str],
    *,
    sync: bool = True,
    storage_options: StorageOptions | None = None,
    through_fsspec: bool = False,
) -> Store:
    """The store that a path or an address names; nothing is looked at or made yet. With `sync` it keeps what it said is
    durable through a crash of the machine, without it a local directory doesn't; other stores always do. With
    `through_fsspec` every other store is reached through fsspec, whose options the `storage_options` are then.

    ValueError for what is no path or a wrong option, as by `check_path`; UnsupportedError where the package isn't
    installed that knows such a store; OSError where it is one that is asked at once, and can't be reached.
    """
    check_path(path, storage_options)
    scheme, rest = _parts(path)
    if scheme in _LOCAL:
        return LocalStore(rest, sync=sync)
    options = dict(storage_options or {})
    # What only some need is imported when they need it.
    if scheme in _OBJECTS and not through_fsspec:
        from .objects import ObjectStore

        return ObjectStore(str(path), options)
    from .remote import RemoteStore

    return RemoteStore(str(path), options)


_LOCAL = ("", "file", "local")
_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "memory")
"""Schemes of the stores that keep objects and can publish one on a condition."""

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z][A-Za-z0-9+.-]+)*"  # fsspec chains them: simplecache::ftp
_ADDRESS = re.compile(rf"({_SCHEME})://(.*)", re.DOTALL)
_FLATTENED = re.compile(rf"{_SCHEME}:/")
"""An address of which pathlib.Path has made one slash of two."""


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether it is the address of a store, and no local path."""
    return isinstance(path, str) and _parts(path)[0] not in _LOCAL


def normal_path(path: str | os.PathLike[str]) -> str | Path:
    """A local path as a Path, and a store's address as it is."""
    return str(path) if is_address(path) else Path(_parts(path)[1])


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path or an address as it may be shown to anybody: without the password that it may hold."""
    return masked(str(path))


def _parts(path: str | os.PathLike[str]) -> tuple[str, str]:
    """The scheme of an address, in small letters, and what a local path is; no scheme for what is no address."""
    found = _ADDRESS.fullmatch(path) if isinstance(path, str) else None
    if found is None:
        return "", os.fspath(path)
    scheme, rest = found[1].lower(), found[2]
    if scheme in _LOCAL:
        rest = re.sub(r"^localhost(?=/)", "", rest, flags=re.IGNORECASE)
    return scheme, unquote(rest) if scheme == "file" else rest


def check_path(path: str | os.PathLike[str], storage_options: StorageOptions | None = None) -> None:
    """Raise ValueError for what is no path or address: an empty string, which would name the working directory, bytes,
    an address that was made a pathlib.Path, which would name a local folder that nobody looks into, and one of another
    host's files, or with control characters, which clients drop; and for options that are no dictionary, or of a local
    path, which has none."""
    name = os.fspath(path)
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"{name!r} is no path: it must be text, without NUL")
    if not name:
        raise ValueError("the checkpoint's path is empty. Pass '.' if it is to lie in the working directory itself")
    scheme, rest = _parts(path)
    if not scheme and _FLATTENED.match(name):
        raise ValueError(
            f"{shown_path(name)!r} is no local path, and no address, which has two slashes. Pass one as a string: "
            "a pathlib.Path makes one of them"
        )
    if scheme and not rest.strip("/"):
        raise ValueError(f"{shown_path(name)!r} names no place: after {scheme}:// there must be one")
    if scheme and scheme in _LOCAL and ("\0" in rest or not rest.startswith("/")):
        remedy = f"Pass {scheme}:// and the whole path from its first slash on, such as {scheme}:///run"
        raise ValueError(f"{name!r} is no file of this host. {remedy}")
    if scheme and scheme not in _LOCAL and re.search(r"[\x00-\x1f\x7f]", rest):
        raise ValueError(f"{shown_path(name)!r} is no address of one line: it has a control character")
    if storage_options is not None and not _are_options(storage_options):
        kind = type(storage_options).__name__
        raise ValueError(f"storage_options must be a dictionary of options by their names, not of type {kind}")
    if scheme in _LOCAL and storage_options:
        raise ValueError("storage_options are for a store's address, such as s3://bucket/run: a local path has none")


def _are_options(given: object) -> bool:
    return isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
