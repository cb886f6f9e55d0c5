"""The commands as they are typed: what they say, and their exit status."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
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
        (place / "live-out" / "way-out").symlink_to("/etc/hostname")
        for path, host, status in (
            ("/../../etc/passwd", "localhost", 404),
            ("/%2e%2e/%2e%2e/etc/passwd", "localhost", 404),
            ("/a.py%00", "localhost", 404),
            ("/a.py_docs.html", "somebody.example", 421),
            ("/a.py_docs.html", "[", 421),
            ("/way-out", "localhost", 404),
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


def test_control_characters_reach_no_terminal(place: Path) -> None:
    write(
        place / "escapes",
        {
            "a.md": "# head \x1b[2Jing\n\ntext \x1b]52;c;eA==\x07\n",
            "b.py": 'def f(x="\x1b]0;title\x07"):  # \x9b2J\n    """Does \x1b[31m."""\n',
        },
    )
    run("build", "escapes", "-o", "escapes-out", cwd=place)
    for words in (("show", "a.md"), ("show", "b.py"), ("search", "head"), ("check", "escapes")):
        done = run(*words, "-o", "escapes-out", cwd=place)
        assert not {"\x1b", "\x07", "\x9b"} & set(done.stdout + done.stderr), words


def test_show_stays_in_the_output(place: Path) -> None:
    write(place / "elsewhere", {"x_docs.md": "a secret\n"})
    for path in ("../elsewhere/x", str(place / "elsewhere" / "x")):
        assert "secret" not in run("show", path, "-o", "out", cwd=place, status=2).stdout


def test_a_page_that_was_damaged(place: Path) -> None:
    run("build", "r", "-o", "damaged", cwd=place)
    (place / "damaged" / "src" / "store.py_docs.md").write_bytes(b"\xff\xfe")
    assert "build again" in run("show", "src/store.py", "-o", "damaged", cwd=place, status=2).stderr
    assert "build again" in run("check", "r", "-o", "damaged", cwd=place, status=1).stdout


def test_an_output_behind_a_link_of_the_repositorys(place: Path) -> None:
    write(place / "linked", {"a.py": "x = 1\n"})
    (place / "victim").mkdir()
    (place / "linked" / "pagedex-out").symlink_to("../victim")
    (place / "linked" / "deep").mkdir()
    (place / "linked" / "deep" / "link").symlink_to("../../victim")
    for out in ("pagedex-out", "deep/link/out"):
        done = run("build", "linked", "-o", f"linked/{out}", cwd=place, status=2)
        assert "link of the repository" in done.stderr
    assert not list((place / "victim").iterdir())
    (place / "mine").symlink_to("victim")  # the user's own link is the user's
    run("build", "linked", "-o", "mine", cwd=place)
    assert (place / "victim" / "index.html").exists()


def test_a_cache_of_another_shape(place: Path) -> None:
    run("build", "r", "-o", "shaped", "--cache", "shapes", cwd=place)
    (database,) = (place / "shapes").glob("*.sqlite")
    expected = contents(place / "shaped")
    for value in (zlib.compress(b"[1]"), zlib.compress(b"3"), "text", zlib.compress(b'{"of": 1}')):
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE said SET value = ?", (value,))
        connection.close()
        run("build", "r", "-o", "shaped", "--cache", "shapes", cwd=place)
        assert contents(place / "shaped") == expected


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_ended_build_leaves_no_process(number: signal.Signals, place: Path) -> None:
    write(place / "long", {f"m{at}.py": f"def f{at}(): return f{at}()\n" * 10 for at in range(600)})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = f"long-{number}"
    command = [sys.executable, "-m", "pagedex", "build", "long", "-o", out, "--cache", out + "-c", "--processes", "2"]
    with subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as one:
        deadline = time.monotonic() + 50
        while not list((place / out).glob("*.html")) and time.monotonic() < deadline:
            time.sleep(0.005)
        one.send_signal(number)
        one.communicate(timeout=20)  # which returns once nobody holds the pipe any more
        assert one.returncode == -number


def test_a_name_that_is_defined_again_and_again(place: Path) -> None:
    write(place / "again", {"a.py": "def f(): f()\n" * 300, "b.py": "class A(A): pass\n" * 300})
    run("build", "again", "-o", "again-out", "--form", "markdown", cwd=place)
    assert "Defined 300 times" in (place / "again-out" / "a.py_docs.md").read_text()
    assert sum(file.stat().st_size for file in (place / "again-out").glob("*.md")) < 3 << 20
