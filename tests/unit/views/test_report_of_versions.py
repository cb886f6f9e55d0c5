"""`dcpx --version`, which a report of a fault should begin with, and what objects of dcpx look like in a log."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import dcpx


def test_it_names_the_versions_and_the_machine() -> None:
    ran = subprocess.run([sys.executable, "-m", "dcpx", "--version"], capture_output=True, text=True, check=True)
    facts = dict(line.split(":", 1) for line in ran.stdout.splitlines())
    assert facts["torch"].strip() == version("torch")
    assert platform.python_version() in facts["python"]
    assert "stream.pack@dcpx" in facts["extensions"]
    assert facts["instructions"].strip() in ("avx512", "avx2", "portable")
    assert not ran.stderr


@pytest.mark.parametrize(
    "text",
    [
        "Pack()",
        "Pack(codec='zstd', level='small', chunk_size=4096)",
        "ZStandard(level=5, threads=2)",
        "Chain()",
        "Chain(Pack(codec='raw'), ZStandard(level=3, threads=0))",
    ],
)
def test_an_extension_is_shown_as_what_makes_it(text: str) -> None:
    assert repr(eval(text, {name: getattr(dcpx, name) for name in ("Pack", "ZStandard", "Chain")})) == text


def test_a_policy_is_shown() -> None:
    assert repr(dcpx.Pack(policy=max)) == "Pack(policy=<built-in function max>)"


def test_a_registry_is_shown_by_its_names() -> None:
    assert repr(dcpx.ExtensionRegistry()).startswith("<ExtensionRegistry of stream.chain@dcpx, stream.pack@dcpx")


def test_writers_and_readers_are_shown_with_their_place(tmp_path: Path) -> None:
    assert repr(dcpx.Writer(tmp_path)) == f"Writer({str(tmp_path)!r}, pack=Pack())"
    assert repr(dcpx.Reader(tmp_path)) == f"Reader({str(tmp_path)!r})"
