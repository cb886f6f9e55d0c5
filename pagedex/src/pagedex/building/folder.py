"""The output's folder: files appear whole, stay untouched where nothing changed, and lie inside it whatever is found
there."""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
from collections.abc import Iterable, Sequence

from pagedex.errors import PagedexError
from pagedex.output.names import RESERVED

MANIFEST = f"{RESERVED}/files.json"
_SCHEMA = "pagedex/files/1"
_LIKE_OURS = re.compile(
    r"(?:.+_(?:docs|kw)\.(?:md|html|json)|(?:index|doc|sub)\.(?:md|html|json)|llms\.txt)(?:\.[0-9a-f]+\.part)?"
)


class Folder:
    """``written`` and ``kept`` count files; names are relative, with ``/``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._real: set[str] = set()

    def begin(self, root: str) -> set[str]:
        """Makes the folder, and returns the names that an earlier build left in it.

        Raises:
            PagedexError: it is the repository itself or around it, holds something else, or can't be made.
        """
        here = os.path.realpath(self.path)
        if root == here or root.startswith(here.rstrip(os.sep) + os.sep):
            raise PagedexError(f"the output {self.path!r} would cover the repository: choose a folder of its own")
        if link := _link_below(root, os.path.abspath(self.path)):
            raise PagedexError(f"{link!r}, which leads to the output, is a link of the repository's: choose a folder")
        try:
            os.makedirs(self.path, exist_ok=True)
            names = os.listdir(self.path)
        except OSError as error:
            raise PagedexError(f"the output {self.path!r} can't be made: {error.strerror}") from error
        return self._before(names) if names else set()

    def start(self, before: set[str]) -> None:
        """Says that files will change: a build that is ended leaves a folder that the next one knows as its own."""
        self._say(before, complete=False)

    def _before(self, names: Sequence[str]) -> set[str]:
        try:
            with open(os.path.join(self.path, MANIFEST), encoding="utf-8") as opened:
                said = json.load(opened)
            if said.get("schema") != _SCHEMA:
                raise ValueError
            files = {str(name) for name in said["files"] if _is_inside(str(name))}
            return files if said["complete"] else files | self._pages()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PagedexError(
                f"the output {self.path!r} holds something that pagedex didn't write: "
                "choose an empty folder, or empty it"
            ) from error

    def write(self, name: str, content: bytes) -> bool:
        """Writes a file unless it holds ``content`` already; whether it was written.

        Raises:
            PagedexError: it can't be written, or would lie outside the folder.
        """
        full = self._full(name)
        # Two builds into one folder write the same, and not into one another's files.
        part = f"{full}.{os.getpid():x}.part"
        try:
            if _holds(full, content):
                return False
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)  # of a build that was ended
            with open(part, "xb") as opened:
                opened.write(content)
            os.replace(part, full)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise PagedexError(f"{full!r} can't be written: {error.strerror}") from error
        return True

    def state(self, name: str) -> list[int]:
        """A file's size and time of change, by which a later build sees that nobody touched it; [] where there is
        none."""
        try:
            status = os.lstat(os.path.join(self.path, name))
        except OSError:
            return []
        return [status.st_size, status.st_mtime_ns]

    def finish(self, before: set[str], now: Iterable[str]) -> int:
        """Removes what an earlier build left and this one didn't write, and writes the list of files. How many went."""
        names = sorted({*now, MANIFEST})
        gone = sorted(before - set(names))
        for name in gone:
            try:
                os.unlink(self._full(name))
            except (OSError, PagedexError):
                continue
            folder = posixpath.dirname(name)
            while folder:
                try:
                    os.rmdir(os.path.join(self.path, folder))
                except OSError:
                    break
                folder = posixpath.dirname(folder)
        self._say(names, complete=True)
        return len(gone)

    def _say(self, names: Iterable[str], complete: bool) -> None:
        said = {"schema": _SCHEMA, "complete": complete, "files": sorted(names)}
        self.write(MANIFEST, (json.dumps(said, indent=0) + "\n").encode())

    def _pages(self) -> set[str]:
        """What a build that was ended may have left: every file that is called like one of its own."""
        found = set()
        for folder, _, names in os.walk(self.path):
            below = os.path.relpath(folder, self.path).replace(os.sep, "/")
            for name in names:
                whole = name if below == "." else f"{below}/{name}"
                if _LIKE_OURS.fullmatch(name) or whole.startswith(f"{RESERVED}/"):
                    found.add(whole)
        return found

    def _full(self, name: str) -> str:
        """The path of a file, its folders made; none of them may be a link that leads elsewhere."""
        if not _is_inside(name):
            raise PagedexError(f"{name!r} isn't a name inside the output")
        folder = posixpath.dirname(name)
        if folder not in self._real:
            path = self.path
            for part in folder.split("/") if folder else ():
                path = os.path.join(path, part)
                try:
                    os.mkdir(path)
                except FileExistsError:
                    if os.path.islink(path) or not os.path.isdir(path):
                        raise PagedexError(
                            f"{path!r} is in the way: the output's folders can't be files or links"
                        ) from None
                except OSError as error:
                    raise PagedexError(f"{path!r} can't be made: {error.strerror}") from error
            self._real.add(folder)
        return os.path.join(self.path, name)


def _link_below(root: str, path: str) -> str:
    """A symbolic link below the repository's root that a path goes through; empty where there is none."""
    parts = [os.path.basename(path)]
    here = os.path.dirname(path)
    while here != os.path.dirname(here):
        if os.path.realpath(here) == root:
            break
        parts.append(os.path.basename(here))
        here = os.path.dirname(here)
    else:
        return ""
    for part in reversed(parts):
        here = os.path.join(here, part)
        if os.path.islink(here):
            return here
    return ""


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return bool(name) and not posixpath.isabs(name) and ".." not in parts and "." not in parts and "" not in parts


def _holds(full: str, content: bytes) -> bool:
    try:
        if os.path.islink(full) or os.path.getsize(full) != len(content):
            return False
        with open(full, "rb") as opened:
            return opened.read() == content
    except OSError:
        return False
