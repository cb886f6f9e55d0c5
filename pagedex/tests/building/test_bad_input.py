"""Files as they are found in the world: each gets its page, what couldn't be read is said, and nothing runs."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pagedex.checking.links import check_links
from tests.support.folders import document, write

TRAP = "<script>alert(1)</script><img src=x onerror=alert(1)> ]]> --> </pre></code> '\" &lt; {{ 7*7 }}"
MARKDOWN = "``` \n~~~\n# Not a heading\n| a | b |\n---\n[x](javascript:alert(1)) ![y](http://evil/z.png)\n<details>"

FILES: dict[str, str | bytes] = {
    "broken.py": "def good(): pass\n\ndef bad(:\n  x\n\nclass After: pass\n",
    "latin.py": b"# -*- coding: latin-1 -*-\ncaf\xe9 = 'd\xe9j\xe0 vu'\n",
    "latin.txt": b"d\xe9j\xe0 vu\n",
    "utf.txt": b"\xc3\xa9 and \xff\xfe broken\n",
    "circle/__init__.py": "from circle.a import x\n",
    "circle/a.py": "from circle.b import *\nfrom circle import x\n",
    "circle/b.py": "from circle.a import *\nx = 1\n",
    "имена.py": "класс = 1\nclass Größe:\n    def 名前(self): pass\n",
    "a b.py": "import math\nspace = 1\n",
    'it\'s "quoted".py': "quoted = 1\n",
    "x#y%20z?.py": "hash = 1\n",
    "<b>.py": "class Bold: pass\n",
    "back\\slash.py": "x = 1\n",
    "new\nline.py": "x = 1\n",
    "&amp;.md": "# A & B <c>\n\n[a link](a%20b.py)\n",
    "trap.py": f'"""{TRAP}\n\n{MARKDOWN}\n"""\n\nclass Trap:\n    """{TRAP}"""\n    x = {TRAP!r}\n',
    "trap.md": f"# {TRAP}\n\n{MARKDOWN}\n\n## {TRAP}\n",
    "trap.c": f"/* {TRAP} */\nint main(void) {{ return 0; }} // {TRAP}\n",
    "minified.js": "var a=1;" + "function f(b){return b+1};" * 40_000,
    "long.py": "\n".join(f"def function_{index}(x):\n    return function_{index // 2}(x)" for index in range(10_000)),
    "index.html": "<h1>its own</h1>",
    "index.md": "# Its own\n",
    "doc/sub.md": "x",
    "index.html.d/x.txt": "x",
    "_pagedex/site.js": "x",
    "llms.txt": "x",
    "x.py_docs.md/y.txt": "a folder with the name of a page\n",
    "x.py": "x = 1\n",
    "deep/" * 30 + "file.txt": "x",
    "n" * 250 + ".txt": "long name\n",
    " ": "its name is a blank",
    "-o.txt": "its name looks like an option",
    "CON": "its name is a device elsewhere",
    "A.py": "x = 1\n",
    "empty": "",
    "no_end.py": "x = 1",
    "crlf.py": "x = 1\r\ny = 2\r\n",
    "form_feed.py": "x = 1\n\x0c\ny = '\x0b\x1c\u2028'\nz = y\n",
    "nul_late.txt": "x" * 9000 + "\0",
    "surrogate.json": '{"a": "\\ud800"}\n',
}


class Shape(HTMLParser):
    """Scripts, event handlers and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(f"{tag} {name}={value}")
            if name in ("href", "src", "action", "data"):
                self.addresses.append(value or "")
                if tag == "script":
                    self.scripts.append(value or "")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    folder = tmp_path_factory.mktemp("bad")
    root, out = write(folder / "root", FILES), folder / "out"
    secret = write(folder / "secret", {"secret.txt": "do not show this"})
    os.symlink(secret / "secret.txt", root / "link.txt")
    os.symlink(secret, root / "link_to_folder")
    os.symlink("self", root / "self")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"caf\xe9.py")).write_text("x = 1\n")
    summary = document(root, out)
    return root, out, summary.lines(every=True)


def test_every_link_leads_somewhere(built: tuple[Path, Path, list[str]]) -> None:
    root, out, _ = built
    checked = check_links(str(out), str(root))
    assert checked.broken == []
    assert checked.pages > 2 * len(FILES)


def test_the_summary_says_what_was_read_in_part(built: tuple[Path, Path, list[str]]) -> None:
    said = "\n".join(built[2])
    for line in (
        "broken.py:3: lines 3 to 5 don't parse as Python",
        "latin.txt: not UTF-8; read as Latin-1",
        "utf.txt: broken UTF-8: 2 places",
        "link.txt: symbolic link to",
        "pipe: not a regular file",
    ):
        assert line in said


def test_no_script_runs_and_nothing_is_fetched(built: tuple[Path, Path, list[str]]) -> None:
    for path in sorted(built[1].rglob("*.html")):
        shape = Shape()
        shape.feed(path.read_text())
        assert shape.handlers == [], path
        assert not {"img", "iframe", "object", "embed", "form", "base"} & set(shape.tags) - {"form"}, path
        assert all(script.split("/")[-2] == "_pagedex" for script in shape.scripts), path
        assert not [one for one in shape.addresses if one.lower().startswith(("javascript:", "data:"))], path


def test_what_lies_outside_is_not_shown(built: tuple[Path, Path, list[str]]) -> None:
    assert not [path for path in built[1].rglob("*") if path.is_file() and b"do not show this" in path.read_bytes()]


def test_templates_of_a_file_are_text(built: tuple[Path, Path, list[str]]) -> None:
    text = (built[1] / "trap.py_docs.html").read_text()
    assert "{{ 7*7 }}" in text
    assert "<script>alert" not in text


def test_a_repository_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    assert document(tmp_path / "root", tmp_path / "out").files == 0
    assert (tmp_path / "out" / "index.html").is_file()
