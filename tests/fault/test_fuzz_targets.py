"""The targets of fuzz/python hold for the inputs that fuzzing begins with."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from dcpx import DcpxError

sys.path.append(str(Path(__file__).parents[2] / "fuzz/python"))

from targets import MAX_LENGTH, TARGETS


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str):
    outcomes: Counter[str] = Counter()
    for seed in TARGETS[name].seeds():
        if len(seed) <= MAX_LENGTH:
            try:
                TARGETS[name].run(seed)
                outcomes["read"] += 1
            except DcpxError as error:
                outcomes[type(error).__name__] += 1
    assert outcomes["read"] > 0, outcomes
