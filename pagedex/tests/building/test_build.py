"""Whole builds: the same bytes from the same files, only what changed, nothing outside the output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pagedex.building.folder import MANIFEST
from pagedex.checking.links import check_links
from pagedex.errors import PagedexError
from tests.support.folders import contents, document, write

FILES: dict[str, str | bytes] = {
    "README.md": "# Demo\n\nSee [the code](src/demo/core.py) and `Engine`.\n",
    "src/demo/__init__.py": "from demo.core import Engine as Engine\n",
    "src/demo/core.py": (
        '"""The engine."""\nimport os\n\nclass Engine:\n    """Runs."""\n    def run(self): return os.name\n'
    ),
    "tests/test_core.py": "from demo import Engine\n\ndef test_run():\n    assert Engine().run()\n",
    "data.bin": b"\0\1",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write(tmp_path / "repository", FILES)


def test_every_file_gets_its_pages(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = document(repository, out)
    assert summary.files == len(FILES)
    for name in FILES:
        for end in ("_docs.md", "_docs.html", "_docs.json", "_kw.md", "_kw.html"):
            assert (out / (name + end)).is_file(), name + end
    for folder in (".", "src", "src/demo", "tests"):
        for page in ("index", "doc", "sub"):
            assert (out / folder / f"{page}.md").is_file()
            assert (out / folder / f"{page}.html").is_file()
    assert (out / "llms.txt").is_file()
    checked = check_links(str(out), str(repository))
    assert checked.broken == []
    assert checked.citations > 20


def test_the_same_files_give_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    document(repository, tmp_path / "one" / "out", processes=1)
    document(repository, tmp_path / "two" / "out", processes=2)
    assert contents(tmp_path / "one" / "out") == contents(tmp_path / "two" / "out")


def test_a_second_build_writes_nothing(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = document(repository, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    second = document(repository, out)
    assert (second.written, second.analysed, second.removed) == (0, 0, 0)
    assert second.unchanged == first.written
    assert (second.files, second.definitions, second.mentions) == (first.files, first.definitions, first.mentions)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_change_writes_what_it_touches_and_gives_what_a_new_build_would(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document(repository, out)
    write(repository, {"data.txt": "alone\n", "tests/test_core.py": "import demo\n"})
    (repository / "data.bin").unlink()
    summary = document(repository, out)
    assert summary.analysed == 2
    assert 0 < summary.written < len(contents(out))
    assert not list(out.glob("data.bin*"))
    document(repository, tmp_path / "new")
    assert contents(out) == contents(tmp_path / "new")


def test_what_somebody_changed_in_the_output_is_written_again(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document(repository, out)
    was = contents(out)
    (out / "index.html").write_text("mine")
    (out / "README.md_docs.md").unlink()
    document(repository, out)
    assert contents(out) == was


def test_a_broken_cache_is_begun_anew(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document(repository, out)
    was = contents(out)
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"not a database" * 1000)
    document(repository, out)
    assert contents(out) == was


def test_an_output_inside_the_repository_is_not_documented(repository: Path, tmp_path: Path) -> None:
    out = repository / "pages"
    document(repository, out)
    document(repository, out)
    write(repository, {"new.txt": "x"})
    document(repository, out)
    assert not (out / "pages").exists()
    assert check_links(str(out), str(repository)).broken == []


def test_the_repository_is_never_an_output(repository: Path, tmp_path: Path) -> None:
    was = contents(repository)
    for out in (repository, tmp_path, repository / "src"):
        with pytest.raises(PagedexError):
            document(repository, out)
    assert contents(repository) == was


def test_a_folder_with_something_else_is_not_written_to(repository: Path, tmp_path: Path) -> None:
    out = write(tmp_path / "out", {"index.html": "mine"})
    with pytest.raises(PagedexError, match="didn't write"):
        document(repository, out)
    assert contents(out).keys() == {"index.html"}


@pytest.mark.parametrize("name", ["../outside.md", "/etc/outside.md", "a/../../outside.md", "./x", ""])
def test_a_forged_list_of_files_removes_nothing_outside(repository: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    document(repository, out)
    victim = write(tmp_path, {"outside.md": "mine"}) / "outside.md"
    said = (out / MANIFEST).read_text()
    (out / MANIFEST).write_text(said.replace('"files": [', f'"files": [\n"{name}",'))
    document(repository, out)
    assert victim.read_text() == "mine"


def test_a_link_in_the_output_leads_nothing_outside(repository: Path, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    document(repository, out)
    outside.mkdir()
    for path in sorted((out / "src").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (out / "src").rmdir()
    os.symlink(outside, out / "src")
    with pytest.raises(PagedexError, match="can't be files or links"):
        document(repository, out)
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_a_page_is_replaced(repository: Path, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    document(repository, out)
    was = contents(out)
    victim.write_text("mine")
    (out / "index.html").unlink()
    os.symlink(victim, out / "index.html")
    document(repository, out)
    assert victim.read_text() == "mine"
    assert contents(out) == was
