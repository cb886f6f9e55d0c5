"""What several rooms of the tests share: the installed plug-in package."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dcpx import StreamTransformExtension, registry
from tests.support.s3 import Proxy, s3_server

pytest.register_assert_rewrite("dcpx.testing")


@dataclass(frozen=True)
class PlugIn:
    """The installed package dcpx-test-plugin: where it lies, and its classes."""

    path: Path
    rot13: type[StreamTransformExtension]
    xor: type[StreamTransformExtension]
    crc32: type[StreamTransformExtension]


@pytest.fixture(scope="session")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlugIn]:
    """tests/plugin, really installed, so that its entry points are found as those of any package are."""
    source = tmp_path_factory.mktemp("plugin-source") / "plugin"
    shutil.copytree(Path(__file__).parent / "plugin", source)  # setuptools builds inside the source
    target = tmp_path_factory.mktemp("plugin-target")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)
    sys.path.append(str(target))
    importlib.invalidate_caches()
    registry._plug_ins.cache_clear()
    package = "dcpx_test_plugin"
    classes = [
        getattr(importlib.import_module(f"{package}.{name.lower()}"), name) for name in ("Rot13", "Xor", "Crc32")
    ]
    yield PlugIn(target, *classes)
    sys.path.remove(str(target))
    importlib.invalidate_caches()
    registry._plug_ins.cache_clear()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The endpoint of a real S3 server."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def proxy(s3: str) -> Iterator[Proxy]:
    """A proxy before the S3 server, which breaks what it is asked to break, and counts."""
    with Proxy(s3) as found:
        yield found
