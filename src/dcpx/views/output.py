"""A file that a view writes: there whole or not at all."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import SaveError, Where

__all__ = ["new_file"]


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` at the end of the block, or is gone with its error. Where a link
    leads, the file that it leads to is replaced; a device or a pipe is written to. SaveError where it can't be done."""
    target = Path(os.path.realpath(path))
    try:
        try:
            regular = stat.S_ISREG(target.stat().st_mode)
        except FileNotFoundError:
            regular = True
        if not regular:
            with target.open("wb") as file:
                yield file
            return
        temporary = target.with_name(f".{uuid.uuid4()}{target.suffix}")
        try:
            with temporary.open("xb") as file:
                yield file
            temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        text = error.strerror or str(error)
        raise SaveError(f"the file can't be written: {text}", Where(os.fspath(path))) from error
