"""What uses a definition, held against lists that were made by reading: of a small repository written to be difficult,
and of torch's ``distributed`` package."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from pagedex.model.ties import Repository
from tests.support.reading import python_repository, site_packages_of

HERE = Path(__file__).parent
LISTS: dict[str, Any] = json.loads((HERE / "used_by.json").read_text())
TORCH = "2.13.0"


@lru_cache(maxsize=2)
def repository(root: str) -> Repository:
    if root == "fixture":
        return python_repository(HERE / "fixture")
    try:
        installed = version("torch").partition("+")[0]
    except PackageNotFoundError:
        installed = "no torch"
    folder = site_packages_of("torch")
    if installed != TORCH or folder is None:
        pytest.skip(f"the list is of torch {TORCH}; here is {installed}")
    return python_repository(folder, only=("torch/distributed",))


def uses(one: dict[str, Any]) -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]:
    """The sure uses and the others."""
    found = repository(one["root"])
    (file,) = (index for index, file in enumerate(found.files) if file.path == one["file"])
    facts = found.facts[file]
    assert facts is not None
    qualname = one["qualname"].replace(".<locals>", "")
    (definition,) = (
        index
        for index, candidate in enumerate(facts.definitions)
        if candidate.qualname == qualname and candidate.line == one["line"]
    )
    all_uses = found.uses[file].get(definition, [])
    sure = Counter((found.files[use.file].path, use.line) for use in all_uses if use.sure)
    maybe = Counter((found.files[use.file].path, use.line) for use in all_uses if not use.sure)
    return sure, maybe


def listed(one: dict[str, Any], what: str) -> Counter[tuple[str, int]]:
    return Counter((path, line) for path, line in one.get(what, ()))


@pytest.mark.parametrize("root", ["fixture", "torch/distributed"])
def test_recall_and_precision(root: str) -> None:
    wanted, found = 0, 0
    missed: list[tuple[str, tuple[str, int]]] = []
    mistaken: list[tuple[str, tuple[str, int]]] = []
    for one in LISTS["definitions"]:
        if one["root"] == root:
            sure, _ = uses(one)
            want = listed(one, "sure")
            wanted, found = wanted + want.total(), found + sure.total()
            missed += [(one["qualname"], use) for use in want - sure]
            mistaken += [(one["qualname"], use) for use in sure - want - listed(one, "debatable")]
    assert wanted > 100
    assert 1 - len(missed) / wanted >= 0.99, missed
    assert 1 - len(mistaken) / found >= 0.99, mistaken


@pytest.mark.parametrize("root", ["fixture", "torch/distributed"])
def test_what_cannot_be_told_is_a_maybe(root: str) -> None:
    for one in LISTS["definitions"]:
        if one["root"] == root:
            sure, maybe = uses(one)
            assert not listed(one, "maybe") - maybe, one["qualname"]
            assert not (listed(one, "maybe") & sure) - listed(one, "sure"), one["qualname"]
