"""What several rooms of the tests share: the installed plug-in package, an S3 server, and which files begin first."""

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

LONGEST = [
    "fault/test_failing_calls.py",
    "fault/test_all_bits.py",
    "trainers/test_trainings.py",
    "browser/test_report.py",
    "fault/test_power_loss.py",
    "stores/test_faults.py",
    "cli/test_cat.py",
    "property/test_float.py",
    "trainers/test_install.py",
    "fault/test_checkpoint_bits.py",
    "cli/test_changing.py",
    "fault/test_object_bombs.py",
    "cli/test_looking.py",
    "unit/catalog/test_limits.py",
    "unit/views/test_verify.py",
    "interop/test_directions.py",
    "fault/test_killed.py",
    "unit/catalog/test_shapes.py",
    "background/test_async_save.py",
    "stores/test_checkpoints.py",
    "property/test_whatever_saves_loads.py",
    "cli/test_verify.py",
    "unit/loading/test_budget.py",
    "unit/catalog/test_leftovers_of_crashes.py",
    "unit/api/test_forks.py",
]
"""The files that take longest, in that order: one that began as the last would leave the other workers without work."""


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    # With --dist loadfile, files are handed out as they come, and not by the number of their tests.
    if getattr(config.option, "loadscopereorder", False):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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
