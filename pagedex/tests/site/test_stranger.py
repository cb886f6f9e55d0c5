"""A stranger's walk, as the README tells it: from a question about torch's checkpoint package to lines that answer it.

Who reads the descriptors, and what happens to a truncated stream?
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.folders import document
from tests.support.reading import site_packages_of

CHECKPOINT = "torch/distributed/checkpoint"
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where torch is installed, and the pages of its checkpoint package."""
    root = site_packages_of("torch")
    if root is None:
        pytest.skip("torch isn't installed")
    out = tmp_path_factory.mktemp("stranger") / "out"
    document(root, out, only=(CHECKPOINT,))
    return root, out


def pagedex(*words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pagedex", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_by_command(built: tuple[Path, Path]) -> None:
    root, out = built
    # Who reads the descriptors? A search by the word, and one definition looks like it.
    found = pagedex("search", "descriptor", "list", "-o", str(out))
    first = found.split("\n")[0]
    place = re.fullmatch(rf"({CHECKPOINT}/_extension\.py):(\d+): method ExtensionRegistry\.from_descriptor_list", first)
    assert place, found
    lines = (root / place[1]).read_text().split("\n")
    assert "def from_descriptor_list" in lines[int(place[2]) - 1]
    # Its page says who calls it: one place, in the reader.
    shown = pagedex("show", f"{place[1]}:ExtensionRegistry.from_descriptor_list", "-o", str(out))
    used = re.search(r"\*\*Used in code\*\* at 1 place of \[`([^`]+)`\].*?\[(\d+)\].*?`([\w.]+)`", shown)
    assert used, shown
    assert (used[1], used[3]) == (f"{CHECKPOINT}/filesystem.py", "_StorageReaderTransforms.transform_load_stream")
    lines = (root / used[1]).read_text().split("\n")
    assert "from_descriptor_list(transform_descriptors)" in lines[int(used[2]) - 1]
    # And that is called by the reader, once a stored item.
    shown = pagedex("show", f"{used[1]}:{used[3]}", "-o", str(out))
    assert "FileSystemReader." in shown
    # What happens to a truncated stream? The registry's one codec reads it in readinto.
    found = pagedex("search", "zstandard readinto", "-o", str(out))
    assert re.search(rf"{CHECKPOINT}/_extension\.py:\d+: method ZStandard\.transform_from\.Reader\.readinto", found)
    shown = pagedex("show", f"{CHECKPOINT}/_extension.py:readinto", "-o", str(out))
    first_line, last_line = map(int, re.search(r"Lines (\d+) to (\d+)", shown).groups())  # type: ignore[union-attr]
    body = "\n".join((root / CHECKPOINT / "_extension.py").read_text().split("\n")[first_line - 1 : last_line])
    # It asks for input, and hands whatever comes to the decompressor: no end, no size and no checksum is looked at.
    assert "self.input.read" in body
    assert "decompress" in body
    assert "raise" not in body
    assert "**Raises**" not in shown


def test_in_the_browser(built: tuple[Path, Path], opened: Any) -> None:
    _, out = built
    page = opened((out / "index.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("descriptor list")
    page.wait_for_selector("#hits a:has-text('from_descriptor_list')")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"_extension\.py_docs\.html#d-ExtensionRegistry\.from_descriptor_list$"))
    page.click("a:has-text('_StorageReaderTransforms.transform_load_stream') >> nth=0")
    page.wait_for_url(re.compile(r"filesystem\.py_docs\.html#d-_StorageReaderTransforms\.transform_load_stream$"))
    page.go_back()
    line = page.get_attribute("p:has-text('filesystem.py') a[href*='filesystem.py_docs.html#L']", "href")
    page.goto((out / CHECKPOINT / line).as_uri().replace("%23", "#"))
    number = line.rpartition("#")[2]
    assert re.match(r"L\d+$", number)
    assert page.is_visible(f"#{number}")


def test_the_readme_tells_this_walk() -> None:
    text = README.read_text()
    for step in ("pagedex search descriptor list", "from_descriptor_list", "transform_load_stream", "readinto"):
        assert step in text, step
