"""`dcpx.__version__`: known without an installation, and what the manifest and the installation say."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dcpx


def test_the_installation_says_the_same() -> None:
    assert dcpx.__version__ == importlib.metadata.version("dcpx")


def test_a_save_needs_no_distribution_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    for module in [one for name, one in sys.modules.items() if name.startswith("dcpx") and hasattr(one, "version")]:
        monkeypatch.setattr(module, "version", version)
    dcpx.save({"w": torch.ones(2)}, tmp_path)
    (manifest,) = tmp_path.glob("*.manifest.json")
    assert f'"{dcpx.__version__}"' in json.dumps(json.loads(manifest.read_text()))


def test_the_version_needs_neither_torch_nor_metadata() -> None:
    code = "import sys, dcpx; dcpx.__version__; assert not {'torch', 'importlib.metadata'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
