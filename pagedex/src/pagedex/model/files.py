"""The files of a repository, as they were read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache


class FileKind(str, Enum):
    """How much of a file was read."""

    TEXT = "text"
    BINARY = "binary"
    HUGE = "huge"
    LINK = "link"
    UNREADABLE = "unreadable"


@dataclass(slots=True)
class SourceFile:
    """One file: ``path`` from the repository's root with ``/``, ``size`` in bytes, ``digest`` a BLAKE2b of the content
    (of the target's name for a symbolic link; empty where nothing was read), ``lines`` the number of lines of a text.

    Names that aren't UTF-8 are held as Python holds them, with surrogates; ``display`` is for the eye.
    """

    path: str
    size: int
    kind: FileKind
    digest: str = ""
    encoding: str = ""
    lines: int = 0
    executable: bool = False
    note: str = ""  # why it wasn't read, or how: "Latin-1", "symbolic link to x"
    test: bool = False
    first_line: str = ""  # of a text, where it names an interpreter: "#!/bin/sh"

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def folder(self) -> str:
        """The folder's path, ``""`` for the root."""
        return self.path.rpartition("/")[0]

    @property
    def display(self) -> str:
        return display(self.path)


@lru_cache(maxsize=1 << 17)
def display(path: str) -> str:
    """A path as text that every encoding and every page can hold: what isn't printable is escaped."""
    if path.isprintable():
        return path
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in path)


def _escaped(letter: str) -> str:
    code = ord(letter)
    # Surrogates of this range stand for one byte that isn't UTF-8.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else letter.encode("unicode_escape").decode("ascii")
