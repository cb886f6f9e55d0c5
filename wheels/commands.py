"""Running commands, and the Pythons and virtual environments that they run in."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

__all__ = ["FAILURES", "CommandError", "MissingError", "interpreter", "kept", "run", "virtual"]


class CommandError(Exception):
    """A command failed; its output is the message."""


class MissingError(CommandError):
    """Something isn't on this machine, and can't be brought."""


FAILURES = (CommandError, OSError)


def run(*command: str | Path, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """What the command printed. `environment` is added to this process' own."""
    words = [str(word) for word in command]
    begin = time.monotonic()
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(f"$ {' '.join(words)}   # {time.monotonic() - begin:.0f} s", flush=True)
    if done.returncode:
        raise CommandError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


@cache
def interpreter(version: str) -> Path | None:
    """The Python of this version, on PATH or among pyenv's, if there is one that runs."""
    named = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for found in [*([Path(named)] if named else []), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]:
        if subprocess.run([found, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
            return found
    return None


def virtual(folder: Path, python: Path, *packages: str | Path) -> Path:
    """The Python of a new virtual environment with these packages."""
    shutil.rmtree(folder, ignore_errors=True)
    run(python, "-m", "venv", folder)
    made = folder / "bin/python"
    if packages:
        run(made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return made


def kept(folder: Path, python: Path, *packages: str) -> Path:
    """The same, or the one that is there and made of the same: what Zig keeps is for one installation."""
    note = folder / "made-of.txt"
    wanted = "\n".join([str(python), *packages])
    if not note.is_file() or note.read_text() != wanted:
        virtual(folder, python, *packages)
        note.write_text(wanted)
    return folder / "bin/python"
