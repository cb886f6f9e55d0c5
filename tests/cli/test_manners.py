"""The habits of a command: help, errors in a line, colours, closed pipes, interrupts, and what it may not leave."""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest
import torch

import dcpx
from tests.cli.conftest import COMMAND, Run

COMMANDS = ["cat", "convert", "diff", "estimate", "inspect", "latest", "recode", "report", "stats", "verify"]


def test_help(run: Run):
    shown = run("--help").stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    for name in COMMANDS:
        shown = run(name, "--help").stdout
        assert f"dcpx {name} " in shown, "an example"


def test_versions(run: Run):
    shown = run("--version").stdout
    assert {"dcpx", "python", "system", "torch", "numpy"} <= {line.partition(":")[0] for line in shown.splitlines()}
    assert subprocess.run([sys.executable, "-m", "dcpx", "--version"], capture_output=True, text=True).stdout == shown


@pytest.mark.parametrize("arguments", [["inspect"], ["nonsense"], ["inspect", "x", "--sort", "no"], ["verify", "--no"]])
def test_wrong_arguments(arguments: list[str], run: Run):
    done = run(*arguments, status=2)
    assert "Error: " in done.stderr
    assert done.stdout == ""


def test_errors_are_one_line_and_debug_shows_more(tmp_path: Path, environment: dict[str, str]):
    command = [sys.executable, str(COMMAND), "inspect", str(tmp_path / "none")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    done = subprocess.run([*command, "--debug"], env=environment, capture_output=True, text=True)
    assert "Traceback" in done.stderr
    assert "NotFoundError" in done.stderr


def in_terminal(command: list[str], environment: dict[str, str], columns: int) -> str:
    """What it prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(60) == 0
    return shown.decode()


def test_colours_on_a_terminal_only(saved: Path, run: Run, environment: dict[str, str]):
    command = [sys.executable, str(COMMAND), "inspect", str(saved / "step-1")]
    assert "\x1b[1m" in in_terminal(command, {**environment, "TERM": "xterm"}, 100)
    assert "\x1b" not in in_terminal(command, {**environment, "TERM": "xterm", "NO_COLOR": "1"}, 100)
    assert "\x1b" not in run("inspect", saved / "step-1").stdout


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_narrow_terminal(columns: int, saved: Path, environment: dict[str, str]):
    for more in ([], ["--items"]):
        command = [sys.executable, str(COMMAND), "inspect", str(saved / "step-1"), *more]
        shown = in_terminal(command, {**environment, "TERM": "xterm", "NO_COLOR": "1"}, columns).splitlines()
        table = shown[shown.index("") + 1 :]
        assert max(map(len, table)) <= columns
        assert table[0].startswith("name")
        assert len(table) > 3


def test_a_closed_pipe(saved: Path, environment: dict[str, str]):
    command = f"{sys.executable} {COMMAND} inspect {saved / 'step-1'} --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert done.stdout.split() in (["{141"], ["{0"]), "small output may have gone before"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, str(COMMAND), "inspect", str(saved / "step-1")], env=environment, stdout=writing, stderr=-1
    )
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_full_disk_at_standard_output(saved: Path, environment: dict[str, str]):
    with open("/dev/full", "wb") as full:
        command = [sys.executable, str(COMMAND), "inspect", str(saved / "step-1"), "--json"]
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt(saved: Path, environment: dict[str, str], tmp_path: Path):
    os.mkfifo(tmp_path / ".metadata")  # which nobody writes to, so that reading it waits
    process = subprocess.Popen(
        [sys.executable, str(COMMAND), "inspect", str(tmp_path)], env=environment, stdout=-1, stderr=-1, text=True
    )
    time.sleep(1.5)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode in (130, 2), "2 where what is no file is refused at once"
    assert "Traceback" not in err


def test_completion(environment: dict[str, str]):
    variables = {**environment, "_DCPX_COMPLETE": "bash_complete", "COMP_WORDS": "dcpx ver", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, str(COMMAND)], env=variables, capture_output=True, text=True)
    assert "verify" in done.stdout


def test_a_store_s_options(run: Run):
    done = run("inspect", "s3://bucket/x", "--storage", "nonsense", status=2)
    assert "isn't KEY=VALUE" in done.stderr


def test_json_is_ascii(saved: Path, run: Run):
    for arguments in (["inspect", saved / "step-1"], ["verify", saved / "step-1"], ["stats", saved / "step-1"]):
        shown = run(*arguments, "--json").stdout
        assert shown.isascii()
        assert json.loads(shown)["schema"].startswith("dcpx.")


@pytest.mark.parametrize(
    ("closed", "arguments", "status"),
    [
        (">&-", ["verify", "{}"], 0),
        ("2>&-", ["verify", "{}"], 0),
        (">&-", ["inspect", "{}"], 0),
        (">&-", ["cat", "{}", "model.scale", "-o", "-"], 0),
        ("2>&-", ["verify", "{}/nowhere"], 2),
        ("", ["--debug", "verify", "{}/nowhere"], 2),
    ],
)
def test_closed_streams(closed: str, arguments: list[str], status: int, saved: Path, environment: dict[str, str]):
    told = " ".join(arguments).format(saved / "step-1")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {COMMAND} {told} {closed}"], env=environment, capture_output=True
    )
    assert done.returncode == status, done.stderr


def test_an_encoding_that_lacks_letters(tmp_path: Path, run: Run):
    dcpx.save({"日本語": torch.ones(3)}, tmp_path / "c", sync=False)
    for command in ("inspect", "stats"):
        shown = run(
            command, tmp_path / "c", *["--items"] * (command == "inspect"), variables={"PYTHONIOENCODING": "ascii"}
        )
        assert "\\u65e5" in shown.stdout


def test_completion_of_paths(environment: dict[str, str]):
    variables = {**environment, "_DCPX_COMPLETE": "bash_complete", "COMP_WORDS": "dcpx inspect ru", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, str(COMMAND)], env=variables, capture_output=True, text=True)
    assert done.stdout.strip() == "file,ru"


def test_an_interrupt_while_a_module_is_imported(saved: Path, environment: dict[str, str], tmp_path: Path):
    """An extension module that is interrupted says so by an ImportError."""
    (tmp_path / "numpy.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n"
        "    raise ImportError('cannot load module more than once per process')\n"
    )
    variables = {**environment, "PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}"}
    command = [sys.executable, str(COMMAND), "stats", str(saved / "step-1")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
