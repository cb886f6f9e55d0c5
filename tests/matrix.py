"""The suite's quick part on every torch and Python that dcpx promises, each really installed: `make matrix`.

    python tests/matrix.py [VERSION ...]

Pairs of a Python, found as `python3.X` on PATH, and a torch from the package index, one after another: each in a
virtual environment of its own, of up to 8 GB, which is removed afterwards. With versions, of torch or of Python, only
the pairs that have one of them. Ends with a table, and with an error if anything failed or nothing ran. A pair that
isn't to be had here is skipped, and the table says why.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

# Every torch with a Python of its time, every Python with a torch that is made for it.
PAIRS = [
    ("3.10", "2.7.1"),
    ("3.12", "2.9.1"),
    ("3.12", "2.11.0"),
    ("3.11", "2.13.0"),
    ("3.11", "2.14.1"),
    ("3.12", "2.15.0"),
    ("3.13", "2.15.0"),
    ("3.14", "2.15.0"),
]

# What stays out: many processes, faults and crashes, which take long and know nothing of torch's versions.
QUICK = ["tests/golden", "tests/interop", "tests/unit", "tests/property", "tests/vectors"]

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


class Result(NamedTuple):
    """How one pair went, and what there is to say of it."""

    state: str
    detail: str


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    print(f"$ {' '.join(map(str, command))}", flush=True)
    return subprocess.run(
        list(map(str, command)), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def interpreter(version: str) -> str | None:
    """The command of this Python, if there is one that runs."""
    found = shutil.which(f"python{version}")
    return found if found and run(found, "-c", "import venv, ensurepip").returncode == 0 else None


def last_line(output: str, pattern: str = r"\S") -> str:
    lines = [line.strip(" =") for line in output.splitlines() if re.search(pattern, line)]
    return lines[-1] if lines else "no output"


def try_pair(python: str, torch: str, folder: Path) -> Result:
    found = interpreter(python)
    if found is None:
        return Result(SKIPPED, f"no python{python} on PATH")
    if (made := run(found, "-m", "venv", folder)).returncode:
        return Result(SKIPPED, last_line(made.stdout))
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
    if (installed := run(*pip, f"torch=={torch}")).returncode:
        return Result(SKIPPED, f"torch can't be installed: {last_line(installed.stdout, '^ERROR')}")
    if (installed := run(*pip, f"torch=={torch}", ".[test]")).returncode:
        print(installed.stdout)
        return Result(FAILED, f"dcpx can't be installed: {last_line(installed.stdout, '^ERROR')}")
    tests = run(folder / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *QUICK)
    print(tests.stdout if tests.returncode else last_line(tests.stdout), flush=True)
    return Result(PASSED if tests.returncode == 0 else FAILED, last_line(tests.stdout, r"\d (passed|failed|error)"))


def main() -> int:
    wanted = set(sys.argv[1:])
    pairs = [pair for pair in PAIRS if not wanted or wanted & set(pair)]
    results: list[tuple[str, str, Result]] = []
    for python, torch in pairs:
        begin = time.monotonic()
        print(f"\n== CPython {python}, torch {torch}", flush=True)
        with tempfile.TemporaryDirectory(prefix="dcpx-matrix-") as folder:
            result = try_pair(python, torch, Path(folder))
        print(f"{result.state} after {time.monotonic() - begin:.0f} s: {result.detail}", flush=True)
        results.append((python, torch, result))
    print("\n| CPython | torch | |\n| --- | --- | --- |")
    for python, torch, result in results:
        print(f"| {python} | {torch} | {result.state}: {result.detail} |")
    states = {result.state for _, _, result in results}
    return 1 if FAILED in states or PASSED not in states else 0


if __name__ == "__main__":
    sys.exit(main())
