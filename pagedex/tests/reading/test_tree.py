"""Which files are read, and that nothing else is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pagedex.errors import PagedexError
from pagedex.model.files import FileKind, display
from pagedex.reading.tree import Selection, Tree, read_text, read_tree


def git(folder: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *command],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def paths(tree: Tree) -> list[str]:
    return [one.path for one in tree.files]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write(tmp_path, {"a.py": "x = 1\n", "b/c.txt": "text\n", ".gitignore": "*.log\n", "run.log": "1"})
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    return tmp_path


def test_git_says_which_files(repository: Path) -> None:
    write(repository, {"untracked.py": ""})
    tree = read_tree(str(repository), Selection())
    assert paths(tree) == [".gitignore", "a.py", "b/c.txt"]
    assert tree.revision == git(repository, "rev-parse", "HEAD")


def test_a_folder_of_a_repository_has_its_own_files(repository: Path) -> None:
    assert paths(read_tree(str(repository / "b"), Selection())) == ["c.txt"]


@pytest.mark.parametrize("stage", [False, True])
def test_what_differs_from_the_commit_is_said(repository: Path, stage: bool) -> None:
    write(repository, {"a.py": "x = 2\n"})
    if stage:
        git(repository, "add", ".")
    assert read_tree(str(repository), Selection()).revision == git(repository, "rev-parse", "HEAD") + "-dirty"


def test_a_tracked_file_that_is_gone_is_noted(repository: Path) -> None:
    (repository / "a.py").unlink()
    tree = read_tree(str(repository), Selection())
    assert paths(tree) == [".gitignore", "b/c.txt"]
    assert tree.notes == ["'a.py' is tracked by git and isn't there"]
    assert tree.revision.endswith("-dirty")


def test_nothing_that_the_repository_names_is_run(repository: Path) -> None:
    trap = repository / "trap"
    trap.write_text("#!/bin/sh\ntouch ran\ncat\n")
    trap.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py filter=trap diff=trap\n")
    for key in ("core.fsmonitor", "filter.trap.clean", "filter.trap.smudge", "diff.trap.textconv", "diff.external"):
        git(repository, "config", key, str(trap))
    write(repository, {"a.py": "x = 3\n"})
    read_tree(str(repository), Selection())
    assert not (repository / "ran").exists()


def test_a_git_variable_leads_nowhere_else(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch
) -> None:  # type: ignore[no-untyped-def]
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert "a.py" in paths(read_tree(str(repository), Selection()))


def test_without_git_ignore_rules_hold(tmp_path: Path) -> None:
    files = {
        ".gitignore": "*.log\n/build\n!keep.log\n",
        "a.py": "",
        "x.log": "",
        "keep.log": "",
        "build/out.txt": "",
        "sub/.gitignore": "secret\n",
        "sub/secret": "",
        "sub/build/in.txt": "",
        "__pycache__/a.pyc": "",
    }
    tree = read_tree(str(write(tmp_path, files)), Selection())
    assert paths(tree) == [".gitignore", "a.py", "keep.log", "sub/.gitignore", "sub/build/in.txt"]
    assert tree.revision == ""


def test_selection(tmp_path: Path) -> None:
    write(tmp_path, {"a/b.py": "", "a/c/d.py": "", "e.py": "", "out/x.md": "", "a/out.py": ""})
    assert paths(read_tree(str(tmp_path), Selection(only=("a",)))) == ["a/b.py", "a/c/d.py", "a/out.py"]
    assert paths(read_tree(str(tmp_path), Selection(exclude=("*.py",)))) == ["out/x.md"]
    assert "out/x.md" not in paths(read_tree(str(tmp_path), Selection(output=str(tmp_path / "out"))))


def test_links_are_named_and_never_followed(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = write(tmp_path_factory.mktemp("outside"), {"secret.py": "secret = 1\n"})
    os.symlink(outside / "secret.py", tmp_path / "file.py")
    os.symlink(outside, tmp_path / "folder")
    os.symlink("self", tmp_path / "self")
    tree = read_tree(str(tmp_path), Selection())
    assert paths(tree) == ["file.py", "folder", "self"]
    assert {one.kind for one in tree.files} == {FileKind.LINK}
    assert all(read_text(tree.root, one) is None for one in tree.files)


def test_a_tracked_file_behind_a_link_is_not_read(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = write(tmp_path_factory.mktemp("outside"), {"c.txt": "secret"})
    (repository / "b" / "c.txt").unlink()
    (repository / "b").rmdir()
    os.symlink(outside, repository / "b")
    tree = read_tree(str(repository), Selection())
    behind = next(one for one in tree.files if one.path == "b/c.txt")
    assert behind.kind is FileKind.UNREADABLE
    assert "isn't followed" in behind.note


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "unreadable").write_bytes(b"x")
    (tmp_path / "big.txt").write_bytes(b"x" * 100)
    (tmp_path / "zero.bin").write_bytes(b"a\0b")
    tree = read_tree(str(tmp_path), Selection(largest=50))
    said = {one.path: (one.kind, one.note) for one in tree.files}
    assert said["pipe"] == (FileKind.UNREADABLE, "not a regular file")
    assert said["big.txt"] == (FileKind.HUGE, "larger than 50 bytes, so it wasn't read")
    assert said["zero.bin"] == (FileKind.BINARY, "binary")


@pytest.mark.parametrize(
    ("content", "text", "encoding"),
    [
        (b"caf\xc3\xa9\r\nx\ry\n", "café\nx\ny\n", "utf-8"),
        (b"caf\xe9\n", "café\n", "latin-1"),
        (b"# coding: cp1252\nx = '\x80'\n", "# coding: cp1252\nx = '€'\n", "cp1252"),
        (b"\xc3\xa9 then \xff\n", "é then �\n", "utf-8"),
        ("é".encode("utf-16"), "é", "utf-16"),
        (b"\xef\xbb\xbfx\n", "x\n", "utf-8-sig"),
        (b"# coding: nonsense\n\xe9", "# coding: nonsense\né", "latin-1"),
        (b"# coding: rot13\n\xe9", "# coding: rot13\né", "latin-1"),
        (b"", "", "utf-8"),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, text: str, encoding: str) -> None:
    write(tmp_path, {"x.txt": content})
    tree = read_tree(str(tmp_path), Selection())
    read = read_text(tree.root, tree.files[0])
    assert read is not None
    assert (read.text, read.encoding) == (text, encoding)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9\n.txt")).write_text("x")
    tree = read_tree(str(tmp_path), Selection())
    assert tree.files[0].display == display(tree.files[0].path) == "caf\\xe9\\n.txt"
    assert read_text(tree.root, tree.files[0]) is not None


def test_a_root_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PagedexError, match="isn't a folder"):
        read_tree(str(tmp_path / "none"), Selection())
