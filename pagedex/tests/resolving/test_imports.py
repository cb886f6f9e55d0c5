"""Where imports, includes and links lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagedex.model.facts import Facts, Import, Reference
from pagedex.model.files import FileKind, SourceFile
from pagedex.model.ties import Place, Repository
from pagedex.resolving.paths import Paths
from tests.support.reading import python_repository


def repository(folder: Path, files: dict[str, str]) -> Repository:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return python_repository(folder)


def leads(found: Repository, path: str) -> list[str]:
    index = [one.path for one in found.files].index(path)
    return [found.files[one.file].path if one.file >= 0 else f"<{one.outside}>" for one in found.imports[index]]


def test_a_source_folder_and_its_tests(tmp_path: Path) -> None:
    found = repository(
        tmp_path,
        {
            "src/pack/__init__.py": "from pack.inner import mod\nfrom . import inner\nfrom .inner.mod import thing\n",
            "src/pack/inner/__init__.py": "import os.path\nimport pack.inner.mod as m\nfrom ... import nothing\n",
            "src/pack/inner/mod.py": "from ..inner import mod\nthing = 1\n",
            "tests/test_pack.py": (
                "import pack\nimport helpers\nfrom tests import helpers\nfrom pack import thing, inner\n"
            ),
            "tests/helpers.py": "",
            "other/helpers.py": "",
        },
    )
    assert leads(found, "src/pack/__init__.py") == [
        "src/pack/inner/mod.py",
        "src/pack/inner/__init__.py",
        "src/pack/inner/mod.py",
    ]
    assert leads(found, "src/pack/inner/__init__.py") == ["<os.path>", "src/pack/inner/mod.py", "<...>"]
    assert leads(found, "src/pack/inner/mod.py") == ["src/pack/inner/mod.py"]
    assert leads(found, "tests/test_pack.py") == [
        "src/pack/__init__.py",
        "tests/helpers.py",
        "tests/helpers.py",
        "src/pack/__init__.py",
        "src/pack/inner/__init__.py",
    ]


def test_a_root_that_is_a_package_itself(tmp_path: Path) -> None:
    root = tmp_path / "inner"
    found = repository(
        root,
        {
            "__init__.py": "from outer.inner import a\n",
            "a.py": "from outer.inner.b import f\nimport outer.other\n",
            "b.py": "def f(): pass\n",
        },
    )
    assert leads(found, "__init__.py") == ["a.py"]
    assert leads(found, "a.py") == ["b.py", "<outer.other>"]
    assert [use.file for use in found.uses[2][0]] == [1]


def test_a_stub_stands_for_native_code(tmp_path: Path) -> None:
    files = {
        "p/__init__.py": "",
        "p/_native.pyi": "def fast() -> int: ...\n",
        "p/a.py": "from p._native import fast\nfast()\n",
    }
    found = repository(tmp_path, files)
    assert leads(found, "p/a.py") == ["p/_native.pyi"]
    assert [use.line for use in found.uses[1][0]] == [1, 2]


def test_circles_have_an_end(tmp_path: Path) -> None:
    found = repository(
        tmp_path,
        {
            "a.py": "from b import x as y\nfrom b import *\nclass A(B): pass\n",
            "b.py": (
                "from a import y as x\nfrom a import *\nclass B(A): pass\nz = z\n"
                "def f(): return g()\ndef g(): return f()\nf().h\n"
            ),
        },
    )
    assert leads(found, "a.py") == ["b.py", "b.py"]
    assert found.bases[Place(0, 0)][0].place == Place(1, 0)


@pytest.mark.parametrize("upwards", [False, True])
def test_a_long_line_of_classes(tmp_path: Path, upwards: bool) -> None:
    order = range(2000) if upwards else reversed(range(2000))
    text = "".join(f"class C{at}(C{at + 1}):\n    def m(self): return super().m()\n" for at in order)
    found = repository(tmp_path, {"a.py": text})
    assert len(found.bases) == 2000
    # What is far away is looked up as far as anybody writes by hand.
    assert len(found.overrides) > 1900


def test_inheritance(tmp_path: Path) -> None:
    found = repository(
        tmp_path,
        {
            "base.py": (
                "class Base:\n    def run(self): ...\n    def stop(self): ...\nclass Mixin:\n    def stop(self): ...\n"
            ),
            "sub.py": (
                "import base\nclass Sub(base.Mixin, base.Base):\n    def run(self): ...\n    def stop(self): ...\n"
            ),
        },
    )
    definitions = {one.qualname: index for file in found.facts if file for index, one in enumerate(file.definitions)}
    sub = Place(1, definitions["Sub"])
    assert [one.text for one in found.bases[sub]] == ["base.Mixin", "base.Base"]
    assert found.subclasses[Place(0, definitions["Base"])] == [sub]
    assert found.overrides[Place(1, definitions["Sub.run"])] == [Place(0, definitions["Base.run"])]
    assert found.overrides[Place(1, definitions["Sub.stop"])] == [Place(0, definitions["Mixin.stop"])]
    assert found.overridden[Place(0, definitions["Mixin.stop"])] == [Place(1, definitions["Sub.stop"])]


def test_mentions_do_not_depend_on_the_order_of_files_in_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        f"m{index}.py": f"from m{(index + 1) % 9} import f as g\ndef f() -> 'K': return g()\nclass K: x = 1\nf().x\n"
        for index in range(9)
    }
    found = repository(tmp_path, files)
    again = python_repository(tmp_path)
    assert found.mentions == again.mentions
    assert any(found.mentions)


@pytest.mark.parametrize(
    ("language", "importer", "module", "leads_to"),
    [
        ("C++", "src/a.cpp", "b.hpp", "src/b.hpp"),
        ("C++", "src/a.cpp", "lib/c.h", "include/lib/c.h"),
        ("C++", "src/a.cpp", "vector", ""),
        ("C", "src/a.c", "../include/lib/c.h", "include/lib/c.h"),
        ("JavaScript", "web/a.js", "./b", "web/b.ts"),
        ("TypeScript", "web/a.ts", "./b.js", "web/b.ts"),
        ("TypeScript", "web/a.ts", "./kit", "web/kit/index.ts"),
        ("JavaScript", "web/a.js", "react", ""),
        ("Rust", "r/src/lib.rs", "crate::x::y::Z", "r/src/x/y.rs"),
        ("Rust", "r/src/x/y.rs", "super::w", "r/src/x/w.rs"),
        ("Rust", "r/src/lib.rs", "std::io", ""),
        ("Java", "j/A.java", "org.x.B", "j/src/org/x/B.java"),
        ("Go", "g/a.go", "fmt", ""),
    ],
)
def test_other_languages(language: str, importer: str, module: str, leads_to: str) -> None:
    names = (
        "src/b.hpp include/lib/c.h web/b.ts web/kit/index.ts r/src/x/y.rs r/src/x/w.rs j/src/org/x/B.java "
        "src/a.cpp src/a.c web/a.js web/a.ts r/src/lib.rs j/A.java g/a.go"
    ).split()
    files = [SourceFile(name, 0, FileKind.TEXT) for name in names]
    found = Paths(files).imported(names.index(importer), Facts(language, "text"), Import(1, module))
    assert (names[found] if found >= 0 else "") == leads_to


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("b.md", "docs/b.md"),
        ("b.md#part", "docs/b.md"),
        ("../README.md", "README.md"),
        ("/README.md", "README.md"),
        ("sub", "docs/sub/index.md"),
        ("a%20b.md", "docs/a b.md"),
        ("#here", ""),
        ("https://example.org/b.md", ""),
        ("mailto:a@b", ""),
        ("../../etc/passwd", ""),
        ("http://[broken", ""),
        ("", ""),
    ],
)
def test_links_of_documents(target: str, leads_to: str) -> None:
    names = ["docs/a.md", "docs/b.md", "README.md", "docs/sub/index.md", "docs/a b.md"]
    files = [SourceFile(name, 0, FileKind.TEXT) for name in names]
    found = Paths(files).referred(0, Reference(1, "x", target))
    assert (names[found] if found >= 0 else "") == leads_to
