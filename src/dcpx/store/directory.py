"""The entries of a local directory: a file is moved to a new one at once, and they are made durable."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress

__all__ = ["exchange", "move_to_new", "sync_directory"]

_REFUSALS = frozenset(
    getattr(errno, name)
    for name in ("EACCES", "EBADF", "EINVAL", "EISDIR", "ENOSYS", "ENOTSUP", "ENOTTY", "EOPNOTSUPP", "EPERM")
)
"""What a system says of a call that it doesn't have, or doesn't allow: nothing was done, and nothing is broken."""


def move_to_new(source: str, target: str) -> None:
    """Rename a file unless the target exists, which is FileExistsError: in one step where the system has one, else by
    a link, else by looking before."""
    for move in (_rename_to_new, _link_to_new):
        try:
            return move(source, target)
        except OSError as error:
            if error.errno not in {*_REFUSALS, errno.EMLINK}:
                raise
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)


def exchange(one: str, other: str) -> None:
    """Let two entries of a directory have each other's names: in one step where the system has one, else there is a
    moment without `other`."""
    try:
        return _rename(one, other, _RENAME_EXCHANGE)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
    aside = f"{one}-aside"
    os.rename(other, aside)
    os.rename(one, other)
    os.rename(aside, one)


def _rename_to_new(source: str, target: str) -> None:
    _rename(source, target, _RENAME_NOREPLACE)


def _rename(source: str, target: str, how: int) -> None:
    if _renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
    if _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), how) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _link_to_new(source: str, target: str) -> None:
    os.link(source, target)
    with suppress(OSError):  # it is in place: a second name does no harm
        os.unlink(source)


_AT_FDCWD, _RENAME_NOREPLACE, _RENAME_EXCHANGE = -100, 1, 2
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory's entries durable, on a file system that has a call for that."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
