"""What is found, and that the browser finds the same as the command."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from pagedex.errors import PagedexError
from pagedex.model.ties import Repository
from pagedex.search.index import SCRIPTS, Index, build_index, default_page, from_scripts, to_scripts
from pagedex.search.ranking import Hit, search
from tests.support.reading import python_repository, site_packages_of

FIXTURE = Path(__file__).parents[1] / "resolving" / "fixture"


@pytest.fixture(scope="module")
def small() -> Index:
    return build_index(python_repository(FIXTURE), default_page)


@pytest.fixture(scope="module")
def torch() -> Index:
    folder = site_packages_of("torch")
    if folder is None:
        pytest.skip("torch isn't installed")
    return build_index(python_repository(folder, only=("torch/distributed/checkpoint",)), default_page)


def shown(hits: list[Hit]) -> list[tuple[str, str]]:
    return [(hit.kind, hit.title) for hit in hits]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("Tree", ("class", "Tree")),
        ("tree", ("class", "Tree")),
        ("Engine.run", ("method", "Engine.run")),
        ("engine run", ("method", "Engine.run")),
        ("Engnie", ("class", "Engine")),
        ("make_counter", ("function", "make_counter")),
        ("makecounter", ("function", "make_counter")),
        ("counter", ("function", "make_counter")),
        ("pipeline.py", ("file", "src/orchard/pipeline.py")),
    ],
)
def test_first_hits(small: Index, query: str, first: tuple[str, str]) -> None:
    assert shown(search(small, query))[0] == first


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("ZStandard", ("class", "ZStandard")),
        ("zstandard", ("variable", "zstandard")),
        ("get_descriptor", ("method", "Extension.get_descriptor")),
        ("from_descriptor_list", ("method", "ExtensionRegistry.from_descriptor_list")),
        ("extnsion registry", ("class", "ExtensionRegistry")),
        ("StreamTransfromExtension", ("class", "StreamTransformExtension")),
        ("filesystemwriter write_data", ("method", "_FileSystemWriter.write_data")),
    ],
)
def test_first_hits_in_torch(torch: Index, query: str, first: tuple[str, str]) -> None:
    assert shown(search(torch, query))[0] == first


def test_a_name_and_a_word_of_its_file(torch: Index) -> None:
    # No definition is called so: one is found by its name and by what is said in its file.
    hits = search(torch, "zstd compression")
    assert hits[0].path == "torch/distributed/checkpoint/_extension.py"


def test_where_nothing_matches_all_words_some_are_enough(torch: Index) -> None:
    hits = search(torch, "zstd truncated")
    assert hits[0].path == "torch/distributed/checkpoint/_extension.py"
    assert search(torch, "zstd qqqqqqqqqqqqqq") == search(torch, "zstd")


def test_definitions_come_before_uses_and_these_before_words(torch: Index) -> None:
    kinds = [hit.kind for hit in search(torch, "descriptor", 200)]
    first = {kind: kinds.index(kind) for kind in ("method", "used", "words")}
    assert 0 == first["method"] < first["used"] < first["words"]


def test_every_hit_leads_to_its_line(small: Index) -> None:
    found = python_repository(FIXTURE)
    for query in ("Tree", "run", "weight", "orchard", "json", "fast"):
        for hit in search(small, query, 100):
            lines = (FIXTURE / hit.path).read_text().split("\n")
            if hit.kind not in ("file", "words"):
                assert hit.title.rpartition(".")[2] in lines[hit.line - 1]
    assert len(found.files) == len(small.files)


def test_nothing_is_found(small: Index) -> None:
    for query in ("", "  ", "...", "qqqqqqqqqqqq", "qqqqqqqqqqqq zzzzzzzzzz"):
        assert search(small, query) == []
    assert search(small, "tree", 0) == []


def test_scripts_hold_the_index(small: Index) -> None:
    scripts = to_scripts(small)
    assert from_scripts(scripts.__getitem__) == small
    assert scripts == to_scripts(small)
    assert all(b"<" not in content for content in scripts.values())


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: b"alert(1)",
        lambda text: text.replace(b"pagedex/search/1", b"pagedex/search/9"),
        lambda text: text.replace(b'"d_file":[0', b'"d_file":[99999'),
        lambda text: text.replace(b'"d_parent":[-1', b'"d_parent":[5'),
        lambda text: text.replace(b'"d_name":[', b'"d_name":[[],'),
    ],
)
def test_a_damaged_script_is_refused(small: Index, change) -> None:  # type: ignore[no-untyped-def]
    scripts = to_scripts(small)
    damaged = {**scripts, SCRIPTS[0]: change(scripts[SCRIPTS[0]])}
    assert damaged != scripts
    with pytest.raises(PagedexError, match="build again"):
        from_scripts(damaged.__getitem__)


_IN_NODE = """
const fs = require("fs");
const [program, folder, ...scripts] = process.argv.slice(1);
const search = require(program);
for (const name of scripts) (0, eval)(fs.readFileSync(`${folder}/${name}`, "utf8"));
const queries = JSON.parse(fs.readFileSync(0, "utf8"));
const found = queries.map((query) => search.search(query, 40).map((hit) =>
  [hit.title, hit.kind, hit.path, hit.line, hit.address, hit.score]));
process.stdout.write(JSON.stringify(found));
"""


def queries_of(index: Index, count: int) -> list[str]:
    """Queries as people type them: names, their beginnings and parts, mistyped, several, and words."""
    draw = random.Random(7)
    names = [*index.names, *index.used_names, *index.stems]
    found = [
        "",
        "a",
        "Z",
        "tree",
        "zstd truncated",
        "Engine.run",
        "descriptor list",
        "é",
        "a b c d e f g h i j",
        "src/x",
    ]
    for _ in range(count):
        name = draw.choice(names)
        kind = draw.randrange(5)
        if kind == 0:
            name = name[: draw.randint(1, len(name))]
        elif kind == 1 and len(name) > 4:
            at = draw.randrange(len(name) - 1)
            name = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
        elif kind == 2:
            name = f"{name} {draw.choice(names)}"
        elif kind == 3:
            name = name.lower().replace("_", " ")
        found.append(name)
    return found


@pytest.mark.parametrize("which", ["small", "torch"])
def test_the_browser_finds_the_same(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    index: Index = request.getfixturevalue(which)
    node = shutil.which("node")
    if node is None:
        assert os.environ.get("CI") != "true", "node is needed for this test"
        pytest.skip("node isn't installed")
    for name, content in to_scripts(index).items():
        (tmp_path / name).write_bytes(content)
    program = tmp_path / "search.js"
    program.write_bytes((files("pagedex.output") / "assets" / "search.js").read_bytes())
    queries = queries_of(index, 150)
    ran = subprocess.run(
        [node, "-e", _IN_NODE, "--", str(program), str(tmp_path), *SCRIPTS],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for query, there in zip(queries, json.loads(ran.stdout), strict=True):
        here = [[hit.title, hit.kind, hit.path, hit.line, hit.address, hit.score] for hit in search(index, query, 40)]
        assert there == here, query


def test_odd_names_have_their_addresses() -> None:
    repository: Repository = python_repository(FIXTURE)
    index = build_index(
        repository, lambda path: f"x/{path}.html", lambda path: "../guide.html" if "report" in path else ""
    )
    assert len(index.addresses) == len(index.files)
    hit = next(hit for hit in search(index, "report") if hit.kind == "file")
    assert hit.address == "../guide.html"
