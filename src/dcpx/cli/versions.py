"""What a report of a fault should begin with: the versions and the machine that dcpx runs on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from .. import __version__, kernels
from ..parallel import worker_count
from ..registry import default_registry

__all__ = ["print_versions"]

_PACKAGES = (
    "torch",
    "numpy",
    "zstandard",
    "xxhash",
    "cryptography",
    "click",
    "fsspec",
    "obstore",
    "rich",
    "torchao",
    "safetensors",
)


def print_versions() -> None:
    """Print name and value of each, a line each."""
    system = platform.uname()
    facts = {
        "dcpx": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{system.system} {system.release} {system.machine}, {worker_count()} of {os.cpu_count()} cores",
        "instructions": next(filter(kernels.use_instructions, ("avx512", "avx2", "portable"))),
        "extensions": ", ".join(default_registry().names()),
        **{name: _version(name) for name in _PACKAGES},
    }
    for name, value in facts.items():
        print(f"{name + ':':14}{value}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
