"""Where an error was: blocks whose errors are dcpx's own, and name the file and the item that the block is about.

    with reading(file, item): ...    what isn't one of dcpx's errors becomes a LoadError
    with writing(file, item): ...    what isn't one of dcpx's errors becomes a SaveError
    with naming(file, item): ...     what isn't one of dcpx's errors passes as it is
    with extension_errors(): ...     what an extension says of the bytes that it reads becomes a CorruptError

An error keeps what it names already: where such blocks are nested, the innermost one knows best.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import CorruptError, DcpxError, LoadError, SaveError, Where

__all__ = ["error_in", "extension_errors", "naming", "reading", "writing"]


def error_in(error: Exception, kind: type[DcpxError], file: str | None, item: str | None) -> DcpxError:
    """The error as one of dcpx's that names file and item, with its cause: of its own class, or else a `kind`."""
    if isinstance(error, DcpxError):
        found = error.located(file, item)
        found.__cause__ = error.__cause__
    else:
        found = kind(f"{type(error).__name__}: {error}", Where(file, item))
        found.__cause__ = error
    return found


class naming:  # noqa: N801 (a context manager; a class costs a tenth of what a generator does)
    """A block about a file, an item of it, or both: its DcpxErrors name them.

    `file` is its place, or a function that is asked for it after an error, where the block itself opens the file.
    """

    __slots__ = ("_file", "_item")

    def __init__(self, file: str | Callable[[], str] | None = None, item: str | None = None) -> None:
        self._file = file
        self._item = item

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, DcpxError):
            self._raise(error, DcpxError)

    def _raise(self, error: Exception, kind: type[DcpxError]) -> None:
        file = self._file() if callable(self._file) else self._file
        found = error_in(error, kind, file, self._item)
        raise found from found.__cause__


class reading(naming):  # noqa: N801
    """A block that reads: its errors name file and item.

    Only what has been found to be damage is called so, by a CorruptError; an error of one of the classes `foreign`, by
    default of any other, is a LoadError.
    """

    __slots__ = ("_foreign",)

    def __init__(
        self,
        file: str | Callable[[], str] | None = None,
        item: str | None = None,
        foreign: type[Exception] = Exception,
    ) -> None:
        super().__init__(file, item)
        self._foreign = foreign

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (DcpxError, self._foreign)):
            self._raise(error, LoadError)


class writing(naming):  # noqa: N801
    """A block that writes: its errors name file and item.

    An error of one of the classes `foreign` becomes a SaveError: by default what the system says. A block that runs
    what others wrote, such as an extension, passes Exception.
    """

    __slots__ = ("_foreign",)

    def __init__(
        self,
        file: str | Callable[[], str] | None = None,
        item: str | None = None,
        foreign: type[Exception] = OSError,
    ) -> None:
        super().__init__(file, item)
        self._foreign = foreign

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (DcpxError, self._foreign)):
            self._raise(error, SaveError)


class extension_errors:  # noqa: N801
    """A block that reads through extensions, which say by a ValueError or EOFError that the bytes are damaged: these
    become a CorruptError."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (ValueError, EOFError)) and not isinstance(error, DcpxError):
            raise CorruptError(f"an extension can't read the item: {type(error).__name__}: {error}") from error
