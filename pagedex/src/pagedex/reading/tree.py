"""The files of a repository: those that git tracks, or all of a folder but what its ignore rules leave out.

Nothing outside the root is opened: symbolic links are named and never followed, neither as files nor as folders on the
way.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pathspec

from pagedex.errors import PagedexError
from pagedex.model.files import FileKind, SourceFile
from pagedex.reading import git
from pagedex.reading.customs import is_test
from pagedex.reading.text import Text, decode, line_count

# Never part of what a folder documents, whatever its ignore rules say.
_NEVER = frozenset(
    {".git", ".hg", ".svn", ".jj", "__pycache__", "node_modules", ".venv", ".tox", ".mypy_cache", ".ruff_cache"}
)
_LONGEST_FIRST_LINE = 200


@dataclass(slots=True)
class Selection:
    """Which files: below ``only`` (paths or patterns as in .gitignore; empty: all), not ``exclude``, not below the
    output's folder. Text files above ``largest`` bytes are named and not read."""

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    largest: int = 8 << 20
    output: str = ""  # absolute


@dataclass(slots=True)
class Tree:
    """``files`` in the order of their paths; ``notes`` are lines for the summary. ``package`` is the name of the root's
    folder where it is a Python package itself, so that its files import one another by that name."""

    root: str
    revision: str
    files: list[SourceFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_tree(root: str, selection: Selection) -> Tree:
    """The repository's files, each read once for its digest.

    Raises:
        PagedexError: ``root`` isn't a folder that can be read.
    """
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        raise PagedexError(f"{root!r} isn't a folder: give the folder of a repository")
    tree = Tree(root, "")
    by_git, paths = _listed(tree, selection)
    differs = by_git.staged
    links = _Links(root)
    for path in paths:
        mode, blob = by_git.files.get(path, ("", ""))
        found = _read_file(root, path, mode, blob, selection.largest, links)
        if found is None:
            said = "is tracked by git and isn't there" if by_git.files else "can't be looked at, or is gone"
            tree.notes.append(f"{path!r} {said}")
            differs = True
            continue
        file, same = found
        differs |= not same
        tree.files.append(file)
    if tree.revision and differs:
        tree.revision += "-dirty"
    return tree


def _listed(tree: Tree, selection: Selection) -> tuple[git.Tracked, list[str]]:
    """What git says, and the paths that are wanted, in order."""
    by_git = git.tracked(tree.root)
    if isinstance(by_git, git.Tracked) and by_git.odd:
        tree.notes.append(f"{by_git.odd} entries of git's index name no file of the folder, and are left out")
    if isinstance(by_git, str):
        if by_git:
            reason = by_git.splitlines()[0]
            tree.notes.append(f"git couldn't tell the tracked files, so all of the folder is taken: {reason}")
        by_git = git.Tracked("")
    if by_git.files:
        tree.revision = by_git.commit
    paths = by_git.files or _walk(tree.root, tree.notes)
    wanted = _Wanted(tree.root, selection)
    return by_git, sorted(path for path in paths if wanted(path))


def signature(root: str, selection: Selection) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file that a tree would have, none of them opened: whether to read it again."""
    tree = Tree(os.path.realpath(root), "")
    found = {}
    for path in _listed(tree, selection)[1]:
        try:
            status = os.lstat(os.path.join(tree.root, path))
        except OSError:
            continue
        found[path] = (status.st_size, status.st_mtime_ns)
    return found


def read_text(root: str, file: SourceFile) -> Text | None:
    """The text of a file of the tree; None where it isn't text, or can't be read any more."""
    if file.kind is not FileKind.TEXT:
        return None
    content = _content(os.path.join(root, file.path))
    return None if isinstance(content, str) else decode(content)


class _Wanted:
    def __init__(self, root: str, selection: Selection) -> None:
        only = rules_of([f"/{one.strip('/')}" for one in selection.only], _refuse)
        self._only = only if selection.only else None
        self._exclude = rules_of(selection.exclude, _refuse)
        inside = os.path.relpath(os.path.realpath(selection.output), root) if selection.output else ".."
        self._output = "" if inside == "." or inside.split(os.sep)[0] == ".." else inside.replace(os.sep, "/") + "/"

    def __call__(self, path: str) -> bool:
        if self._output and path.startswith(self._output):
            return False
        if self._only is not None and not self._only.match_file(path):
            return False
        return not self._exclude.match_file(path)


_MOST_STARS = 4
"""Wildcards within a part of a rule: each more takes the matching of a long name two hundred times as long."""

_MOST_IN_ALL = 8


def rules_of(lines: Sequence[str], unusable: Callable[[str], None]) -> pathspec.GitIgnoreSpec:
    """The rules in these lines. One that is malformed, or could take for ever to match, is told to ``unusable``."""
    good = []
    for line in lines:
        stars = [len(re.findall(r"\*+|\[", part)) for part in line.split("/")]
        try:
            if max(stars) > _MOST_STARS or sum(stars) > _MOST_IN_ALL:
                raise ValueError
            pathspec.GitIgnoreSpec.from_lines([line]).match_file("a")
            good.append(line)
        except Exception:  # noqa: BLE001 (re.error, and pathspec's own, of which there are several)
            if not line.startswith("#"):
                unusable(line)
    return pathspec.GitIgnoreSpec.from_lines(good)


def _refuse(rule: str) -> None:
    raise PagedexError(f"{rule!r} is no pattern that can be followed: write it as in .gitignore, with few wildcards")


class _Links:
    """Whether a folder on a path is a symbolic link, each asked for once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, bool] = {"": False}

    def above(self, path: str) -> bool:
        folder = path.rpartition("/")[0]
        if folder not in self._known:
            self._known[folder] = self.above(folder) or os.path.islink(os.path.join(self._root, folder))
        return self._known[folder]


def _read_file(
    root: str, path: str, mode: str, blob: str, largest: int, links: _Links
) -> tuple[SourceFile, bool] | None:
    """The file, and whether it is what git has of it (true where git isn't asked); None where there is none."""
    full = os.path.join(root, path)
    file = SourceFile(path, 0, FileKind.UNREADABLE, test=is_test(path))
    if links.above(path):
        file.note = "behind a symbolic link, which isn't followed"
        return file, False
    try:
        status = os.lstat(full)
    except OSError:
        return None
    if mode == git.SUBMODULE:
        file.note = "a submodule: a repository of its own"
        return file, True
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(full)
        file.kind, file.note = FileKind.LINK, f"symbolic link to {target}"
        file.digest = _digest(os.fsencode(target))
        return file, not blob or git.blob_hash(os.fsencode(target), blob) == blob
    if not stat.S_ISREG(status.st_mode):
        file.note = "not a regular file"
        return file, not blob
    file.size, file.executable = status.st_size, bool(status.st_mode & stat.S_IXUSR)
    if status.st_size > largest:
        file.kind = FileKind.HUGE
        file.note = f"larger than {largest} bytes, so it wasn't read"
        return file, True
    content = _content(full)
    if isinstance(content, str):
        file.note = content
        return file, True
    file.size, file.digest = len(content), _digest(content)
    text = decode(content)
    if text is None:
        file.kind = FileKind.BINARY
        file.note = "binary"
    else:
        file.kind, file.encoding, file.note, file.lines = FileKind.TEXT, text.encoding, text.note, line_count(text.text)
        if text.text.startswith("#!"):
            file.first_line = text.text.partition("\n")[0][:_LONGEST_FIRST_LINE]
    return file, not blob or git.blob_hash(content, blob) == blob


def _content(full: str) -> bytes | str:
    """A regular file's bytes, or why they can't be read. A link that took its place since is not followed."""
    try:
        descriptor = os.open(full, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        return f"can't be read: {error.strerror}"
    with open(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "not a regular file"
        try:
            return opened.read()
        except OSError as error:
            return f"can't be read: {error.strerror}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=20).hexdigest()


def _walk(root: str, notes: list[str]) -> Iterator[str]:
    """Paths of the files below a folder that no .gitignore on the way leaves out, without following links."""
    waiting: list[tuple[str, tuple[tuple[str, pathspec.GitIgnoreSpec], ...]]] = [("", ())]
    while waiting:
        folder, rules = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            notes.append(f"the folder {folder!r} can't be read: {error.strerror}")
            continue
        if any(entry.name == ".gitignore" and entry.is_file(follow_symlinks=False) for entry in entries):
            content = _content(os.path.join(root, folder, ".gitignore"))
            text = None if isinstance(content, str) else decode(content)
            if text is not None:
                name = f"{folder}/.gitignore" if folder else ".gitignore"

                def note(rule: str, name: str = name) -> None:
                    notes.append(f"{name!r}: the rule {rule[:80]!r} can't be followed, and is left out")

                rules = (*rules, (folder, rules_of(text.text.split("\n"), note)))
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name in _NEVER or _ignored(path, is_folder, rules):
                continue
            if is_folder:
                waiting.append((path, rules))
            else:
                yield path


def _ignored(path: str, is_folder: bool, rules: tuple[tuple[str, pathspec.GitIgnoreSpec], ...]) -> bool:
    # The deepest file that says anything of the path decides, as with git.
    for folder, spec in reversed(rules):
        below = path[len(folder) + 1 :] if folder else path
        said = spec.check_file(below + "/" if is_folder else below).include
        if said is not None:
            return said
    return False
