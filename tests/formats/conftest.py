"""What every test of the formats wants."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from dcpx.formats import weights


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TypedStorage|torch.distributed is|The given buffer")
        yield


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PART", 10_000)
