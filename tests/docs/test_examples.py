"""The examples of the README and the guides, run as they stand there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dcpx

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_ABORTED_AT_THE_END = "terminate called without an active exception"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    return _BLOCK.findall((ROOT / page).read_text())


def block(page: str, begin: str) -> str:
    (found,) = [text for text in blocks(page) if text.startswith(begin)]
    return found


def run(folder: Path, *command: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    # Gloo's threads may abort a process that has come to its end: what it was to do is compared, and done.
    ended = "torch.distributed.run" in command and _ABORTED_AT_THE_END in ran.stderr
    assert ran.returncode == 0 or ended, ran.stdout[-3000:] + ran.stderr[-3000:]
    return ran.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_is_python_and_names_what_there_is(page: Path) -> None:
    for text in _BLOCK.findall(page.read_text()):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dcpx":
                assert hasattr(dcpx, node.attr), node.attr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_first_script_trains_and_resumes_on_another_number_of_processes(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(block("README.md", "# train.py"))
    two = run(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py")
    assert re.findall(r"step (\d+):", two) == ["5", "10"]
    one = run(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "train.py")
    assert re.findall(r"step (\d+):", one) == ["15", "20"]
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", two + one)]
    assert losses == sorted(losses, reverse=True)
    assert dcpx.verify(tmp_path / "checkpoints" / "20").ok


def test_the_first_pieces_work_with_dcps_own_functions(tmp_path: Path) -> None:
    """One after another, on one state; what they load is compared."""
    pieces = block("README.md", "import torch.distributed.checkpoint as dcp")
    (tmp_path / "pieces.py").write_text(
        "import torch, dcpx\n"
        'state = {"w": torch.arange(3000.0), "step": 7}\n'
        f"{pieces}\n"
        "assert missing == {}, missing\n"
        'assert torch.equal(state["w"], torch.arange(3000.0)), state\n'
        'assert state["step"] == 7, state\n'
    )
    run(tmp_path, "pieces.py")


def test_the_example_of_an_extension_passes_the_contract(tmp_path: Path) -> None:
    (tmp_path / "your_package.py").write_text(block("docs/extensions.md", "# your_package.py"))
    (tmp_path / "test_your_package.py").write_text(block("docs/extensions.md", "# test_your_package.py"))
    said = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_your_package.py")
    assert re.search(r"\d\d passed", said)
    assert "failed" not in said
    use = block("docs/extensions.md", "registry = dcpx.ExtensionRegistry()")
    (tmp_path / "use.py").write_text(
        "import torch, dcpx\nfrom your_package import Rot13\n"
        'path, state = "ckpt", {"w": torch.ones(9)}\n'
        f"{use}\n"
        "assert torch.equal(state['w'], torch.ones(9))\n"
    )
    run(tmp_path, "use.py")


def test_the_way_to_other_stores(tmp_path: Path) -> None:
    use = block("README.md", "from torch.distributed.checkpoint._fsspec_filesystem")
    (tmp_path / "use.py").write_text(
        "import torch, dcpx\nimport torch.distributed.checkpoint as dcp\n"
        f'url, state = "file://{tmp_path}/ckpt", {{"w": torch.arange(9.0)}}\n'
        + use.replace("reader = Fs", 'state["w"].zero_()\nreader = Fs')
        + 'assert torch.equal(state["w"], torch.arange(9.0))\n'
    )
    run(tmp_path, "use.py")
