"""What a save writes by default loads by default, however large and however little of it is stored."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.metadata import MetadataIndex

import dcpx
from dcpx import LimitError, Limits
from dcpx.catalog import limits
from dcpx.catalog.manifest import Seal
from dcpx.catalog.metadata import load_metadata
from dcpx.saving.object_check import ObjectCheck
from tests.support.metadata import make_object

MIB = 1 << 20
REPLAY = np.concatenate([np.arange(100.0), np.zeros(10 * MIB)])


@pytest.mark.parametrize(
    ("value", "pack"),
    [
        (np.zeros(80 * MIB, np.uint8), dcpx.Pack()),
        (REPLAY, dcpx.ZStandard()),
        (bytes(70 * MIB), None),
        ([0] * 20_000_000, dcpx.Pack()),
    ],
    ids=["zeros", "a replay buffer", "bytes", "numbers"],
)
def test_mostly_zeros(value: Any, pack: Any, tmp_path: Path):
    dcpx.save({"x": (value,)}, tmp_path, pack=pack, strict=True)
    state: dict[str, Any] = {"x": None}
    dcpx.load(state, tmp_path)
    found = state["x"][0]
    assert np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value
    assert dcpx.verify(tmp_path).ok


def test_limits_of_the_caller_hold(tmp_path: Path):
    dcpx.save({"x": bytes(100 * MIB)}, tmp_path)
    for given in (Limits(object_size=99 * MIB), Limits(object_ratio=1024)):
        with pytest.raises(LimitError) as caught:
            dcpx.load({"x": None}, tmp_path, limits=given)
        assert caught.value.where.item == "x"
        assert "limits=dcpx.Limits(object_size=..., object_ratio=...)" in caught.value.remedy
    for name in ("total", "files"):
        with pytest.raises(LimitError, match=rf"limits=dcpx\.Limits\({name}=\.\.\.\)"):
            dcpx.load({"x": None}, tmp_path, limits=Limits(**{name: 0}))


def test_a_quarter_of_what_is_available(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "available_memory", lambda: 4096 * MIB)
    sealed, foreign = (make_object(MIB >> 10, seal=seal) for seal in (Seal("stored", "0" * 32), None))
    assert Limits().most_bytes(sealed) == 1024 * MIB
    assert Limits().most_bytes(foreign) == 64 * MIB
    assert Limits().most_bytes(make_object(MIB)) == 1024 * MIB
    assert Limits(object_size=9).most_bytes(sealed) == 9
    assert Limits(object_ratio=100_000).most_bytes(sealed) == 100_000 << 10
    monkeypatch.setattr(limits, "available_memory", lambda: 0)
    assert Limits().most_bytes(sealed) == 64 * MIB


def test_what_wouldnt_fit_is_said_when_saving(monkeypatch: pytest.MonkeyPatch):
    class Planner:
        def resolve_data(self, write_item: Any) -> io.BytesIO:
            stream = io.BytesIO()
            torch.save(bytes(65 * MIB), stream)
            return stream

    class Item:
        index = MetadataIndex("x")

    monkeypatch.setattr(limits, "available_memory", lambda: 256 * MIB)
    check = ObjectCheck(Planner())
    check.resolve_data(Item())  # type: ignore[arg-type]
    with pytest.raises(
        dcpx.SaveError, match=r"'x': the object has more than .*limits=dcpx\.Limits\(object_size=\.\.\.\)"
    ):
        check.report(strict=True)


def test_available_memory():
    assert 0 <= limits.available_memory() < 1 << 50


def test_a_raised_limit_of_the_metadata_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also above what is read by default."""
    dcpx.save({"x": torch.ones(2)}, tmp_path)
    assert load_metadata.__kwdefaults__ is not None
    monkeypatch.setitem(load_metadata.__kwdefaults__, "max_size", 10)
    dcpx.load({"x": torch.zeros(2)}, tmp_path, limits=Limits(metadata_size=1 << 20))
    assert dcpx.verify(tmp_path, limits=Limits(metadata_size=1 << 20)).ok
