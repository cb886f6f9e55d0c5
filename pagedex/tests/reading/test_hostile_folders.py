"""Repositories that would have a reader run, open or wait for something, by git's files and by ignore rules."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from pagedex.errors import PagedexError
from pagedex.reading.tree import Selection, read_tree


def git(folder: Path, *command: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_no_missing_object_is_fetched(repository: Path, tmp_path: Path) -> None:
    trap, caught = tmp_path / "trap.sh", tmp_path / "caught"
    trap.write_text(f"#!/bin/sh\ntouch '{caught}'\n")
    trap.chmod(0o755)
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": str(tmp_path / "nothing"),
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": str(trap),
        "protocol.allow": "always",
        "protocol.file.allow": "always",
    }.items():
        git(repository, "config", name, value)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True).stdout.strip()
    (repository / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    tree = read_tree(str(repository), Selection())
    assert [file.path for file in tree.files] == ["a.py"]
    assert not caught.exists()


@pytest.mark.parametrize("name", ["../a", "/etc", ".git", "x//y", "./xy", ".GIT"])
def test_an_index_that_leads_elsewhere(name: str, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("outside = 1\n")
    plain = "q" * len(name)
    (repository / plain).write_text("y = 1\n")
    git(repository, "add", plain)
    index = repository / ".git" / "index"
    content = index.read_bytes()[:-20].replace(plain.encode(), name.encode())
    index.write_bytes(content + hashlib.sha1(content, usedforsecurity=False).digest())
    tree = read_tree(str(repository), Selection())
    assert name not in [file.path for file in tree.files]
    assert not any(file.path.startswith((".git", "..", "/")) for file in tree.files)


@pytest.mark.parametrize("rule", ["[z-a]", "!", "\\", "*a" * 11 + "*b"])
def test_a_rule_that_can_not_be_followed(rule: str, tmp_path: Path) -> None:
    (tmp_path / ("a" * 40 + ".py")).write_text("x = 1\n")
    (tmp_path / "left.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text(f"# a comment\n{rule}\nleft.py\n")
    tree = read_tree(str(tmp_path), Selection())
    assert [file.path for file in tree.files] == [".gitignore", "a" * 40 + ".py"], "the other rules hold"
    assert any("can't be followed" in note for note in tree.notes)
    with pytest.raises(PagedexError, match="no pattern"):
        read_tree(str(tmp_path), Selection(exclude=(rule,)))


def test_a_file_that_can_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    looked = os.lstat

    def lstat(path: str, *more: object, **options: object) -> os.stat_result:
        if str(path).endswith("a.py"):
            raise PermissionError(13, "Permission denied")
        return looked(path)

    monkeypatch.setattr(os, "lstat", lstat)
    notes = read_tree(str(tmp_path), Selection()).notes
    assert notes == ["'a.py' can't be looked at, or is gone"]
