"""What is promised of the wheels agrees wherever it is said, and the script that tries them passes here. `make wheels`
builds them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from wheels import emulated
from wheels.__main__ import ARCHES, WHEELS
from wheels.commands import CommandError, run
from wheels.smoke import LICENCES
from wheels.zig import environment

ROOT = Path(__file__).parents[2]


def settings() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_guide_names_each_wheel():
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    assert re.findall(r"`(cp\d+-\w+)-manylinux_2_28` \| x86-64, aarch64", page) == list(WHEELS)


def test_cibuildwheel_builds_the_same_wheels():
    build = re.search(r"^build = \[(.+)\]$", settings(), re.MULTILINE)
    assert build is not None
    assert re.findall(r'"(cp\d+)-manylinux_\*"', build[1]) == [tag.partition("-")[0] for tag in WHEELS]
    arches = re.search(r"^archs = \[(.+)\]$", settings(), re.MULTILINE)
    assert arches is not None
    assert tuple(re.findall(r'"(\w+)"', arches[1])) == ARCHES


def test_the_stable_abi_begins_where_the_last_wheel_does():
    (stable,) = (tag.partition("-")[0] for tag in WHEELS if tag.endswith("-abi3"))
    assert f'wheel.py-api = "{stable}"' in settings()
    assert WHEELS[f"{stable}-abi3"][0][0] == f"3.{stable[3:]}"


def test_every_python_that_is_promised_has_a_wheel_that_is_tried_with_it():
    page = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    promised = re.search(r"CPython 3\.(\d+) to 3\.(\d+)", page)
    assert promised is not None
    tried = [version for _, users in WHEELS.values() for version in users]
    assert tried == [f"3.{minor}" for minor in range(int(promised[1]), int(promised[2]) + 1)]
    assert set(emulated.PYTHONS) <= set(tried)


def test_every_licence_is_looked_for():
    assert {path.name for path in ROOT.glob("LICENSE*")} == LICENCES


def test_one_symbol_is_exported():
    exported = (ROOT / "src/dcpx/kernels/exported.map").read_text()
    assert exported.split() == "{ global: PyInit__native; local: *; };".split()


@pytest.mark.parametrize("arch", ARCHES)
def test_the_compiler_is_told_what_to_build(arch: str, tmp_path: Path):
    made = environment(Path("/a folder/python"), arch, tmp_path / "tools")
    for name in ("CC", "CXX"):
        script = Path(made[name])
        assert script.stat().st_mode & stat.S_IXUSR
        text = script.read_text()
        assert text.startswith("#!/bin/sh\nexec '/a folder/python' -m ziglang ")
        assert f"-target {arch}-linux-gnu.2.28 " in text
        assert "-fno-sanitize=undefined" in text
        assert "-mcpu=native" not in text
    assert f"-DCMAKE_SYSTEM_PROCESSOR={arch}" in made["CMAKE_ARGS"]


def test_a_command_that_fails_says_how():
    with pytest.raises(CommandError, match=r"ended with 3:\nwhy"):
        run(sys.executable, "-c", "import sys; print('why'); sys.exit(3)")


def test_the_smoke_script_passes_with_what_is_installed(tmp_path: Path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DCPX"))}
    command = [sys.executable, "-I", str(ROOT / "wheels/smoke.py")]
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dcpx works with CPython ")
