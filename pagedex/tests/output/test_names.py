"""Names in the output: valid, unique, and found from one another."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagedex.output import names

part = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: text not in (".", "..")
)
odd = st.sampled_from(
    ["index.html", "doc.md", "x_docs.md", "x_docs.md_dir", "_pagedex", "llms.txt", "n" * 250, "é" * 127]
)
paths = st.lists(part | odd, min_size=1, max_size=4).map("/".join)


@given(st.lists(paths, min_size=2, max_size=6, unique=True))
def test_no_two_pages_have_one_name(found: list[str]) -> None:
    files = {posixpath.normpath(path) for path in found}
    folders = {path[:at] for path in files for at in range(len(path)) if path[at] == "/"} | {""}
    files -= folders  # a path is a file or a folder
    pages = [names.of_file(path, kind, form) for path in files for kind in ("docs", "kw") for form in ("md", "html")]
    pages += [
        names.of_folder_page(path, page, form)
        for path in folders
        for page in ("index", "doc", "sub")
        for form in ("md",)
    ]
    assert len(set(pages)) == len(pages)
    # None is a folder of another.
    above = {page[:at] for page in pages for at in range(len(page)) if page[at] == "/"}
    assert not above & set(pages)


@given(paths)
def test_a_name_can_be_a_file(path: str) -> None:
    for one in names.of_file(path, "docs", "html").split("/"):
        assert 0 < len(os.fsencode(one)) <= 255


@given(paths, paths)
def test_an_address_leads_from_page_to_page(start: str, target: str) -> None:
    here, there = names.of_file(start, "docs", "html"), names.of_file(target, "kw", "html")
    address = names.relative(here, there)
    assert address.isascii()
    assert not set(address) & set("<>\"'`#?%()[] \\") - {"%"}
    assert ":" not in address
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(here), os.fsdecode(unquote_to_bytes(address))))
    assert reached == posixpath.normpath(there)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(b"caf\xe9.py")
    name = names.of_file(path, "docs", "html")
    (tmp_path / name).write_text("x")
    assert os.fsdecode(unquote_to_bytes(names.encoded(name))) == name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("", ""),
        ("a/b", "a/b"),
        ("index.html", "index.html_dir"),
        ("index.html_dir", "index.html_dir_dir"),
        ("a/x.py_kw.md/b", "a/x.py_kw.md_dir/b"),
        ("_pagedex", "_pagedex_dir"),
        ("index.htm", "index.htm"),
    ],
)
def test_folders_that_are_called_like_pages(folder: str, name: str) -> None:
    assert names.of_folder(folder) == name
