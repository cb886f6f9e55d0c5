"""Files of real projects that are at hand: each is read, most without a problem, and in the time that it may take."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pagedex.languages.tables import language_of
from pagedex.model.facts import Facts

REPOSITORY = Path(__file__).resolve().parents[3]


def package(name: str) -> Path:
    """The folder of an installed package; skips the test where it isn't installed."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{name} isn't installed")
    return Path(next(iter(found.submodule_search_locations)))


def read_all(paths: list[Path]) -> Iterator[tuple[Path, Facts]]:
    if not paths:
        pytest.skip("no such files here")
    for path in sorted(paths):
        with path.open(encoding="utf-8", errors="replace", newline=None) as file:
            text = file.read()
        yield path, language_of(path.name, text.split("\n", 1)[0]).read(path.name, text)


def test_headers_of_torch() -> None:
    paths = [path for path in (package("torch") / "include" / "torch").rglob("*.h") if path.is_file()]
    begun = time.process_time()
    facts = [one for _, one in read_all(paths)]
    assert time.process_time() - begun < 60
    assert sum(len(one.definitions) for one in facts) > 10_000
    assert sum(not one.problems for one in facts) > 0.8 * len(facts)
    assert {one.language for one in facts} <= {"C", "C++"}


def test_kernels() -> None:
    facts = dict(read_all([*(REPOSITORY / "src" / "dcpx" / "kernels").rglob("*.[ch]pp")]))
    assert all(one.language == "C++" for one in facts.values())
    assert all(one.definitions for one in facts.values())


def test_documents() -> None:
    for path, facts in read_all([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")]):
        assert facts.definitions, path
        assert facts.problems == []
        # Each section's name stands in its line.
        lines = path.read_text(encoding="utf-8").split("\n")
        for one in facts.definitions:
            assert one.name.split()[0].strip("`*[") in lines[one.line - 1]


def test_scripts_of_the_themes() -> None:
    facts = [one for _, one in read_all([*package("sphinx").rglob("*.js"), *package("furo").rglob("*.js")])]
    assert any(one.definitions for one in facts)


def test_typescript_and_scripts_of_the_driver() -> None:
    root = package("playwright") / "driver" / "package"
    begun = time.process_time()
    facts = [one for _, one in read_all([*root.glob("types/*.d.ts"), *root.glob("lib/**/*.js")][:150])]
    assert time.process_time() - begun < 60
    assert sum(len(one.definitions) for one in facts) > 100
