"""The commands as they are typed: what they say, and their exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from pagedex import __version__
from tests.support.folders import contents, write

FILES: dict[str, str | bytes] = {
    "src/store.py": (
        '"""Where things lie."""\n\n\n'
        'class Store:\n    """Holds."""\n\n    def open(self): pass\n\n\ndef bare(): pass\n'
    ),
    "tests/test_store.py": "from store import Store\n\ndef test_open():\n    Store().open()\n",
}


def run(*words: str | Path, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "XDG_CACHE_HOME": str(cwd / "cache"),
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-m", "pagedex", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository ``r`` and its pages ``out``."""
    folder = tmp_path_factory.mktemp("commands")
    write(folder / "r", FILES)
    said = run("build", "r", "-o", "out", "--name", "demo", cwd=folder).stdout
    assert "2 files (2 text), 2 read anew" in said
    assert said.endswith("out/index.html\n")
    return folder


def test_help_has_examples(place: Path) -> None:
    said = run("--help", cwd=place).stdout
    assert all(command in said for command in ("build", "search", "show", "check", "serve"))
    for command in ("build", "search", "show", "check", "serve"):
        assert f"pagedex {command}" in run(command, "--help", cwd=place).stdout
    assert run("--version", cwd=place).stdout == f"pagedex {__version__}\n"


def test_search(place: Path) -> None:
    assert run("search", "Store", cwd=place, status=2).stderr.startswith("pagedex: 'pagedex-out")
    lines = run("search", "Store", "-o", "out", cwd=place).stdout.split("\n")
    assert lines[0] == "src/store.py:4: class Store"
    assert run("search", "Sotre", "-o", "out", cwd=place).stdout.startswith("src/store.py:4: class Store")
    first = json.loads(run("search", "open", "-o", "out", "--json", "--limit", "1", cwd=place).stdout)
    assert first == {"title": "Store.open", "kind": "method", "path": "src/store.py", "line": 7}
    assert run("search", "qqqqqqq", "-o", "out", cwd=place, status=1).stdout == ""


def test_show(place: Path) -> None:
    page = run("show", "src/store.py", "-o", "out", cwd=place).stdout
    assert page.startswith("# Documentation: `src/store.py`")
    part = run("show", "src/store.py:Store", "-o", "out", cwd=place).stdout
    assert "Store.open" in part
    assert "`bare`" not in part
    assert run("show", "src/store.py:open", "-o", "out", cwd=place).stdout.count("#####") <= 1
    assert "has no page of 'x.py'" in run("show", "x.py", "-o", "out", cwd=place, status=2).stderr
    assert "defines no 'x'" in run("show", "src/store.py:x", "-o", "out", cwd=place, status=2).stderr


def test_check(place: Path) -> None:
    said = run("check", "r", "-o", "out", cwd=place).stdout
    assert "src/store.py:10: function bare has no docstring" in said
    assert "src/store.py:7: method Store.open has no docstring" in said
    assert "0 broken; 2 public definitions without a docstring" in said
    run("check", "r", "-o", "out", "--strict", cwd=place, status=1)
    assert "build it first" in run("check", "r", "-o", "nowhere", cwd=place, status=2).stderr


def test_check_finds_what_is_broken(place: Path) -> None:
    run("build", "r", "-o", "torn", cwd=place)
    (place / "torn/src/store.py_kw.html").unlink()
    page = place / "torn/src/store.py_docs.html"
    page.write_text(page.read_text().replace('id="L4"', 'id="L4x"'))
    said = run("check", "r", "-o", "torn", cwd=place, status=1).stdout
    assert "store.py_kw.html: no such file" in said
    assert "no place 'L4' in the page" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["build", "none"], "isn't a folder"),
        (["build", "r/src/store.py"], "isn't a folder"),
        (["build", "r", "-o", "r"], "would cover the repository"),
        (["build", "r", "-o", "."], "would cover the repository"),
        (["build", "r", "-o", "cache"], "didn't write"),
        (["build", "r", "-o", "o", "--form", "pdf"], "there is no form 'pdf'"),
        (["build", "r", "-o", "o", "--source-url", "javascript:x"], "begins with https://"),
        (["build", "r", "-o", "o", "--link", "x"], "--link is TEXT=ADDRESS"),
        (["serve", "r", "-o", "o2", "--port", "1000000"], "port"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(place: Path, words: list[str], says: str) -> None:
    error = run(*words, cwd=place, status=2).stderr
    assert says in error


def test_addresses_of_citations(place: Path) -> None:
    run("build", "r", "-o", "hosted", "--form", "markdown", "--source-url", "https://h/{path}#L{line}", cwd=place)
    assert "(https://h/src/store.py#L4)" in (place / "hosted/src/store.py_docs.md").read_text()
    assert not list((place / "hosted").rglob("*.html"))


def test_where_the_locale_is_plain(place: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    write(place / "odd", {"é.py": "ß = 1\n", "bad.py": "def (\n"})
    command = [sys.executable, "-m", "pagedex", "build", "odd", "-o", "odd-out", "--cache", "c", "-v"]
    done = subprocess.run(command, cwd=place, capture_output=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (place / "odd-out" / "é.py_docs.html").is_file()


def test_ended_in_the_middle_and_built_again(place: Path) -> None:
    write(place / "many", {f"m{at}.py": f"def f{at}(): return f{at}()\n" * 10 for at in range(600)})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pagedex", "build", "many", "-o", "many-out", "--cache", "c"]
    started = subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not list((place / "many-out").glob("*.html")) and time.monotonic() < deadline:
        time.sleep(0.005)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=30)
    assert started.returncode == 130, errors
    assert b"Traceback" not in errors
    run("build", "many", "-o", "many-out", "--cache", "c", cwd=place)
    run("build", "many", "-o", "many-new", "--cache", "c", cwd=place)
    assert contents(place / "many-out") == contents(place / "many-new")


def test_serve(place: Path) -> None:
    write(place / "live", {"a.py": "first = 1\n"})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pagedex", "serve", "live", "-o", "live-out", "--port", "0", "--cache", "c"]
    with subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        address = started.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        assert b"first" in urlopen(f"{address}a.py_docs.html").read()
        for path, host, status in (
            ("/../../etc/passwd", "localhost", 404),
            ("/%2e%2e/%2e%2e/etc/passwd", "localhost", 404),
            ("/a.py%00", "localhost", 404),
            ("/a.py_docs.html", "somebody.example", 421),
            ("/a.py_docs.html", "localhost", 200),
        ):
            connection = HTTPConnection(urlsplit(address).netloc)
            connection.request("GET", path, headers={"Host": host})
            assert connection.getresponse().status == status, (path, host)
            connection.close()
        write(place / "live", {"a.py": "second = 2\n"})
        assert "files written" in started.stdout.readline()
        assert b"second" in urlopen(f"{address}a.py_docs.html").read()
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=20) == 0
