"""What the tests with real faults share: the shim, and the process that forks a child for every case."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fault.checkpoints import memory, save_old
from tests.fault.fork_server import ForkServer
from tests.fault.shim import build_shim


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Forks children under the shim."""
    with ForkServer(build_shim(tmp_path_factory.mktemp("shim"))) as server:
        yield server


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the state `old`, to be copied."""
    path = tmp_path_factory.mktemp("old") / "checkpoint"
    save_old(path)
    return path


@pytest.fixture
def scratch() -> Iterator[Path]:
    with memory() as directory:
        yield directory


@pytest.fixture
def quiet() -> Iterator[None]:
    """DCP logs some lines a load, which pytest would collect: a third of the time of a test of thousands of loads."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
