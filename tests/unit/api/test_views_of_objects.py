"""Nothing looks into an object's BytesIO once a save has failed: CPython 3.13 complains when it is collected then."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import WriteItem

import dcpx
from dcpx import SaveError


class KeepingPlanner(DefaultSavePlanner):
    """Remembers what it gives for the objects."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[io.BytesIO] = []

    def resolve_data(self, write_item: WriteItem) -> Any:
        data = super().resolve_data(write_item)
        if isinstance(data, io.BytesIO):
            self.given.append(data)
        return data


def fail(progress: Any) -> None:
    if progress.items_done:
        raise ValueError("enough")


class Failing(dcpx.ZStandard):
    """Fails as soon as it is given something."""

    def transform_to(self, output: Any) -> Any:
        stream = super().transform_to(output)

        def write(data: Any) -> int:
            raise ValueError("enough")

        stream.write = write
        return stream


@pytest.mark.parametrize("size", [1000, 200_000])
@pytest.mark.parametrize("pack", [None, dcpx.Pack(), Failing()], ids=["none", "pack", "failing"])
def test_a_failed_save_leaves_no_views(pack: Any, size: int, tmp_path: Path):
    planner = KeepingPlanner()
    state = {f"object {number}": "x" * size for number in range(5)}
    with pytest.raises(SaveError) as caught:  # whose traceback keeps the frames, and what they hold
        dcpx.save(state, tmp_path, pack=pack, planner=planner, progress=fail, threads=1)
    assert caught.value.__traceback__ is not None
    assert planner.given
    for given in planner.given:
        given.write(b"more" * size)  # BufferError where somebody has a view of it
