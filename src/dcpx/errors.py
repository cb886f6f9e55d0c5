"""The errors of dcpx: few classes, one for each thing a caller can do about it.

    DcpxError
      CorruptError        the bytes are damaged: restore them from another copy (also a ValueError)
        TruncatedError    ... and they end too early: the write never finished (also an EOFError)
        MissingFileError  ... and one of the checkpoint's files is gone (also a FileNotFoundError)
        LostPointerError  ... and only `.metadata` is gone: rebuild it from the manifest
      UnsupportedError    from a newer dcpx, or with a part that is missing here: upgrade or install it (ValueError)
      LimitError          well-formed, but larger than the caller allows: raise the limit if it is trusted (ValueError)
      TrustError          readable, but less protected than the caller requires (ValueError)
      ExtensionError      an extension is unknown, misnamed or of the wrong kind: install or register it (ValueError)
      SaveError           a save failed and published nothing new: mend the cause and save again (RuntimeError)
      LoadError           a load failed for a reason outside the stored bytes, such as another shape (RuntimeError)
        NotFoundError     ... because there is no checkpoint: begin without one (also a FileNotFoundError)
        ReplacedError     ... because other saves replaced the checkpoint again and again: load again

What is no error yet, but will be one if nothing is done, is a DcpxWarning.

Every argument is positional and picklable, so that an error crosses process boundaries whole.
"""

from __future__ import annotations

import errno
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

__all__ = [
    "CorruptError",
    "DcpxError",
    "DcpxWarning",
    "ExtensionError",
    "LimitError",
    "LoadError",
    "LostPointerError",
    "MissingFileError",
    "NotFoundError",
    "ReplacedError",
    "SaveError",
    "TruncatedError",
    "TrustError",
    "UnsupportedError",
    "Where",
    "portable_errors",
]


@dataclass(frozen=True)
class Where:
    """The place an error speaks of; what isn't known stays None.

    `offset` counts bytes from the start of the stored item, `chunk` counts the frame's chunks from 0, `rank` is the
    process that failed where several work together.
    """

    file: str | None = None
    item: str | None = None
    offset: int | None = None
    chunk: int | None = None
    rank: int | None = None

    def __str__(self) -> str:
        named = (
            ("rank", self.rank),
            ("file", self.file),
            ("item", self.item),
            ("byte", self.offset),
            ("chunk", self.chunk),
        )
        return ", ".join(f"{name} {value!r}" for name, value in named if value is not None)


class DcpxError(Exception):
    """Base of all errors of dcpx: `cause` says what happened, `where` in which bytes, `remedy` what to do."""

    default_remedy = ""

    def __init__(self, cause: str, where: Where | None = None, remedy: str | None = None) -> None:
        self.cause = cause
        self.where = Where() if where is None else where
        self.remedy = self.default_remedy if remedy is None else remedy
        super().__init__(cause, self.where, self.remedy)

    def __str__(self) -> str:
        place = str(self.where)
        text = f"{self.cause} ({place})" if place else self.cause
        return f"{text}. {self.remedy}" if self.remedy else text

    def located(self, file: str | None = None, item: str | None = None, rank: int | None = None) -> DcpxError:
        """The same error, naming file, item and rank where it didn't yet; raised by whoever knows them."""
        known = self.where
        file = file if known.file is None else known.file
        item = item if known.item is None else known.item  # which may be the empty name
        rank = rank if known.rank is None else known.rank
        where = replace(known, file=file, item=item, rank=rank)
        return type(self)(self.cause, where, self.remedy).with_traceback(self.__traceback__)

    def with_others(self, count: int, one: str, many: str) -> DcpxError:
        """The same error, saying that `count` others were lost behind it, "1 more `one`" or "2 more `many`"."""
        if count == 0:
            return self
        cause = f"{self.cause} (and {count} more {one if count == 1 else many})"
        return type(self)(cause, self.where, self.remedy).with_traceback(self.__traceback__)


class CorruptError(DcpxError, ValueError):
    """Stored bytes don't say what they must: a flipped bit, a swapped item, another format."""

    default_remedy = "Restore the file from another copy, or load another checkpoint"


class TruncatedError(CorruptError, EOFError):
    """Stored bytes end before their end was reached."""


class MissingFileError(CorruptError, FileNotFoundError):
    """A file that the checkpoint consists of isn't there."""

    errno = errno.ENOENT


class LostPointerError(CorruptError):
    """A whole checkpoint is there, but for its `.metadata`."""

    default_remedy = "Rebuild it with dcpx.restore_pointer(path), or copy the checkpoint again with its hidden file"


class UnsupportedError(DcpxError, ValueError):
    """Well-formed, but this version or installation can't read it."""

    default_remedy = "Upgrade dcpx"


class LimitError(DcpxError, ValueError):
    """Well-formed, but beyond a limit the caller set."""

    default_remedy = "Raise the limit if you trust where this checkpoint comes from"


class TrustError(DcpxError, ValueError):
    """Readable, but without the protection that the caller requires."""

    default_remedy = "Load a checkpoint that has it, or don't require it if you trust where this one comes from"


class ExtensionError(DcpxError, ValueError):
    """An extension can't be named, found or applied."""


class SaveError(DcpxError, RuntimeError):
    """A save failed and published nothing; what it was to replace is as it was."""

    default_remedy = "Mend the cause and save again"


class LoadError(DcpxError, RuntimeError):
    """A load failed; the target may be partly filled."""

    default_remedy = "Mend the cause and load again"


class NotFoundError(LoadError, FileNotFoundError):
    """There is no checkpoint."""

    default_remedy = "Check the path; a save that failed leaves no metadata"
    errno = errno.ENOENT


class ReplacedError(LoadError):
    """The checkpoint was replaced while it was being read, and files of it are gone."""

    default_remedy = "Load again"


class DcpxWarning(UserWarning):
    """Something that was done as asked, but that its user should know of: a value that may not come back as it is."""


@contextmanager
def portable_errors(kind: type[DcpxError]) -> Iterator[None]:
    """Errors that leave this block can be unpickled; one that can't becomes a `kind` that says the same.

    DCP sends every rank's error to the others; one that can't be rebuilt there breaks the collective of all ranks.
    """
    try:
        yield
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 (anything may happen in a foreign class)
            raise kind(f"{type(error).__name__}: {error}") from error
        raise
