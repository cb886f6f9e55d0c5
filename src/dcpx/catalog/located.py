"""Where an error was: the file and the item that were being read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DcpxError, LoadError, Where

__all__ = ["located"]


@contextmanager
def located(file: str, item: str | None) -> Iterator[None]:
    """Errors of reading a file or, where it is named, an item: typed, and naming both.

    Only what has been found to be damage is called so, by a CorruptError; an error of any other kind is a LoadError.
    """
    try:
        yield
    except DcpxError as error:
        raise error.located(file, item) from error.__cause__
    except Exception as error:
        raise LoadError(f"{type(error).__name__}: {error}", Where(file, item)) from error
