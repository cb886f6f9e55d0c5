"""What git says of a folder, asked so that nothing which the repository brings is run.

A repository's own configuration can name programs: hooks, a file system monitor, filters that turn a work tree's file
into what is stored. So only commands are used that read the index and the commit, with hooks and the monitor turned
off; what differs is found by hashing files here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotepath=false")
SUBMODULE = "160000"


@dataclass(slots=True)
class Tracked:
    """The files that git tracks below a folder: path from the folder -> (mode, blob's hash)."""

    commit: str  # empty before the first commit
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    staged: bool = False  # the index isn't what the commit holds
    odd: int = 0  # entries of the index that name no file below the folder


def tracked(folder: str) -> Tracked | str:
    """What git tracks below ``folder``, or why that can't be told ("" where it just isn't in a repository)."""
    listed = _git(folder, "ls-files", "-s", "-z")
    if isinstance(listed, str):
        return "" if "not a git repository" in listed else listed
    found = Tracked(commit="")
    for entry in listed.split(b"\0"):
        if entry:
            attributes, _, path = entry.partition(b"\t")
            mode, blob, _stage = attributes.decode("ascii").split()
            name = os.fsdecode(path)
            if _is_below(name):
                found.files[name] = (mode, blob)
            else:
                found.odd += 1
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not isinstance(commit, str):
        found.commit = commit.decode("ascii").strip()
        changed = _git(folder, "diff-index", "--cached", "--quiet", "HEAD", "--", ".")
        found.staged = isinstance(changed, str)
    return found


def _is_below(path: str) -> bool:
    """Whether it is a path that git itself would put into an index: a damaged or forged one may lead anywhere."""
    return all(part not in ("", ".", "..") and part.casefold() != ".git" for part in path.split("/"))


def blob_hash(content: bytes, like: str) -> str:
    """The hash under which git stores ``content``, by the algorithm that gave ``like``."""
    digest = hashlib.sha256() if len(like) == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest()


def _git(folder: str, *command: str) -> bytes | str:
    # Variables such as GIT_DIR, which git sets for its hooks, would lead to another repository than the folder's.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    # An object that a partial clone lacks would be fetched, by whatever program the repository names for it.
    environment |= {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *_SAFE, *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        return f"git can't be run: {error.strerror}"
    if done.returncode:
        return done.stderr.decode("utf-8", "replace").strip() or f"git {command[0]} failed"
    return done.stdout
